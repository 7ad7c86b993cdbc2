"""The class materials: a folder here, or a git URL, whose content becomes the content of each working directory."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from functools import lru_cache
from pathlib import Path

from provisioning.remote import Remote
from stacks.errors import RequestError
from stacks.folders import PROJECT_ROOT
from stacks.outputs import HandOver

_LEFT_OUT = {".git", ".ipynb_checkpoints", "__pycache__", ".DS_Store"}
_ASK_SECONDS, _SEND_SECONDS, _LAY_SECONDS = 30.0, 600.0, 600.0


def check(handover: HandOver) -> None:
    """Raise RequestError where the materials are a folder that is no longer here."""
    if handover.materials and not handover.materials_are_fetched and not _folder(handover).is_dir():
        raise RequestError(
            f"The materials {handover.materials!r} are no folder here; put it back or change seminar:materials."
        )


def lay(remote: Remote, handover: HandOver) -> bool:
    """Lay the materials into the seat's working directory unless that version lies there. Returns whether it did.

    What the participant has is never overwritten. Raises SeatError.
    """
    if not handover.materials:
        return False
    if handover.materials_are_fetched:
        archive, version, git_url = b"", handover.materials, handover.materials
    else:
        archive, version = _packed(_folder(handover))
        git_url = ""
    parameters = {"id": version, "workdir": handover.workdir, "git_url": git_url}
    if remote.script("materials", {**parameters, "step": "ask"}, seconds=_ASK_SECONDS)["state"] == "unchanged":
        return False
    if archive:
        remote.run('cat >"$HOME/.local/share/seminar/materials.tar.gz"', stdin=archive, seconds=_SEND_SECONDS)
    return bool(remote.script("materials", {**parameters, "step": "lay"}, seconds=_LAY_SECONDS)["state"] == "changed")


def _folder(handover: HandOver) -> Path:
    return PROJECT_ROOT / handover.materials


@lru_cache
def _packed(folder: Path) -> tuple[bytes, str]:
    """The folder as a .tar.gz, and a version that follows from names, content and modes. Packed once for all seats."""

    def cleaned(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if Path(member.name).name in _LEFT_OUT:
            return None
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode |= 0o600
        return member

    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name, filter=cleaned)
    return gzip.compress(raw.getvalue(), mtime=0), hashlib.sha256(raw.getvalue()).hexdigest()
