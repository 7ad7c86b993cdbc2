"""What things are called where people look: tags. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from stacks.ends import as_utc
from stacks.settings import SeminarSettings

MANAGED_BY = "pulumi"


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
