"""The class materials: a folder here, or a git URL, whose content becomes the content of each working directory."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from stacks.errors import RequestError
from stacks.folders import PROJECT_ROOT
from stacks.outputs import HandOver

LEFT_OUT = {".git", ".ipynb_checkpoints", "__pycache__", ".DS_Store"}


@dataclass(frozen=True)
class Materials:
    """What should lie on every seat: a `version` ("" for nothing), and the `git_url` to fetch or the `archive`."""

    version: str = ""
    git_url: str = ""
    archive: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, handover: HandOver) -> Materials:
        """The hand-over's materials; a folder is packed. Raises RequestError where it is no longer here."""
        if not handover.materials:
            return cls()
        if handover.materials_are_fetched:
            return cls(handover.materials, git_url=handover.materials)
        folder = PROJECT_ROOT / handover.materials
        if not folder.is_dir():
            raise RequestError(
                f"The materials {handover.materials!r} are no folder here; put it back or change seminar:materials."
            )
        archive, version = _packed(folder)
        return cls(version, archive=archive)


def _packed(folder: Path) -> tuple[bytes, str]:
    """The folder as a .tar.gz, and a version that follows from names, content and modes."""

    def cleaned(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if Path(member.name).name in LEFT_OUT:
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
