"""What things are called where people look: tags, and names where a cloud wants them of us. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from stacks.ends import as_utc
from stacks.settings import SeminarSettings

MANAGED_BY = "pulumi"

# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules: of all that is named here,
# virtual machines and networks take the least, 64. Letter case counts for nothing there.
AZURE_LONGEST = 64
# Nowhere in a name: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/
# error-reserved-resource-name
_AZURE_REFUSES = re.compile("microsoft|windows")


def tags(settings: SeminarSettings, name: str, participants: Iterable[str] = ()) -> dict[str, str]:
    """The tags of one resource. Keys fit AWS' metadata address, which takes no space and no slash in them.

    People's names are left out: tags are read by whoever may look at the account.
    """
    told = {"Name": f"{settings.seminar}-{name}", "seminar": settings.seminar, "managed-by": MANAGED_BY}
    if ids := " ".join(participants):
        told["participant"] = ids
    if settings.ends is not None:
        told["ends"] = as_utc(settings.ends)
    return told


def for_azure(kind: str, text: str) -> str:
    """A name that Azure takes, for a resource and for a computer: `<kind>-<text>` wherever that is one already.

    What Azure would not take is left out, and the text's hash keeps the name apart from others. `kind` is of a to z.
    """
    wanted = f"{kind}-{text}"
    kept = re.sub("[^a-z0-9]+", "-", wanted.lower())
    while _AZURE_REFUSES.search(kept):
        kept = _AZURE_REFUSES.sub("", kept)
    if kept == wanted and len(kept) <= AZURE_LONGEST and not kept.endswith("-"):
        return kept
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept[: AZURE_LONGEST - 1 - len(mark)].rstrip('-')}-{mark}"
