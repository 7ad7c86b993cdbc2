"""An archive of a participant's work on the organiser's computer: its format, how it is written, how it is proved.

<id>-20270305T174500Z.zip         work/ with the files, SHA256SUMS, COLLECTED.txt (people), collected.json (programs)
<id>-20270305T174500Z.zip.sha256  the archive's own checksum, as `sha256sum -c` reads it

Both lie in collected/<stack>/<id>/. An archive without its checksum was not finished and does not count. Whatever comes
from a participant is only ever read as a stream; nothing is unpacked here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from provisioning.programs import byte_values
from stacks.errors import SeminarError
from stacks.folders import write_private

FORMAT = 1
WORK = "work/"
PIECE_BYTES = 262_144
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r".+-(\d{8}T\d{6}Z)\.zip")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LEVEL = 1  # of zlib
_ZIP64_BYTES = 1 << 30  # from here on with zip's large fields, which old programs don't know
_OLDEST, _NEWEST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # what a zip can date


class ArchiveError(SeminarError):
    """An archive is not whole, or there is none."""


@dataclass(frozen=True)
class File:
    """A file of the work. `name` is as on the machine, `member` where it is in the archive; `changed`: while read."""

    name: str
    member: str
    sha256: str
    size: int
    mtime: int
    executable: bool
    changed: bool = False


@dataclass(frozen=True)
class Work:
    """What a seat's work was at one moment.

    `left_out` has mappings with `name`, `why` (cache, environment, large, given, link, pipe, …) and what belongs to it;
    `unreadable` with `name` and `why`. `fingerprint` is "" where something changed while it was read. `absent` is true
    where there was no working directory yet.
    """

    files: tuple[File, ...]
    folders: tuple[str, ...]
    left_out: tuple[Mapping[str, Any], ...]
    unreadable: tuple[Mapping[str, str], ...]
    fingerprint: str
    absent: bool

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Work:
        """Read what a machine told, or an archive says. Raises ValueError where it is not what it should be."""
        try:
            taken: set[str] = set()
            files = tuple(
                File(
                    name=_relative(file["name"]),
                    member=_member(file["name"], taken),
                    sha256=_sha256(file["sha256"]),
                    size=_count(file["size"]),
                    mtime=int(file["mtime"]),
                    executable=bool(file["executable"]),
                    changed=bool(file.get("changed", False)),
                )
                for file in told["files"]
            )
            return cls(
                files=files,
                folders=tuple(_relative(name) for name in told["folders"]),
                left_out=tuple(
                    {**each, "name": str(each["name"]), "why": str(each["why"])} for each in told["left_out"]
                ),
                unreadable=tuple({"name": str(each["name"]), "why": str(each["why"])} for each in told["unreadable"]),
                fingerprint=str(told["fingerprint"]),
                absent=bool(told["absent"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"a part is missing or of another kind ({error})") from error

    def to_dict(self) -> dict[str, Any]:
        """What stands in collected.json."""
        return {
            "files": [
                {
                    "name": file.name,
                    "sha256": file.sha256,
                    "size": file.size,
                    "mtime": file.mtime,
                    "executable": file.executable,
                    "changed": file.changed,
                }
                for file in self.files
            ],
            "folders": list(self.folders),
            "left_out": [dict(each) for each in self.left_out],
            "unreadable": [dict(each) for each in self.unreadable],
            "fingerprint": self.fingerprint,
            "absent": self.absent,
        }


@dataclass(frozen=True)
class Kept:
    """An archive that was proved whole, in as far as the function that returns it says."""

    path: Path
    sha256: str
    work: Work


def _relative(name: str) -> str:
    parts = name.split("/")
    if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"a name leads elsewhere ({name[:80]!r})")
    return name


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError("a checksum is none")
    return text


def _count(number: int) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError("a size is none")
    return number


def _member(name: str, taken: set[str]) -> str:
    """Where a file is in the archive: what other systems take as a path, or can't show, is told byte by byte (%0a)."""
    told = WORK + "".join(letter if _is_harmless(letter) else _escaped(letter) for letter in name)
    while told in taken:  # a file that is really named so
        told += "~"
    taken.add(told)
    return told


def _is_harmless(letter: str) -> bool:
    return letter not in '\\:*?"<>|' and (letter.isprintable() or letter == " ")


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02x}" for byte in byte_values(letter))


def write(
    folder: Path,
    seat: str,
    work: Work,
    content: Callable[[str], AbstractContextManager[IO[bytes]]],
    *,
    about: Mapping[str, Any],
    text: str,
) -> Kept:
    """Write the archive, prove it, and put it into the folder; `content` opens a file's by its checksum.

    `about` goes into its collected.json, `text` is COLLECTED.txt. Raises OSError where it can't be written,
    ArchiveError where it is not what it should be.
    """
    name = f"{seat}-{_stamp(folder)}.zip"
    part = folder / f".{name}.part"
    try:
        with open(part, "wb", opener=lambda path, flags: os.open(path, flags | os.O_EXCL, 0o600)) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
                for each in work.files:
                    large = each.size >= _ZIP64_BYTES
                    with content(each.sha256) as source, archive.open(_info(each), "w", force_zip64=large) as member:
                        _copy(source, member)
                for empty in work.folders:
                    archive.writestr(zipfile.ZipInfo(_member(empty, set()) + "/"), "")
                sums = "".join(f"{file.sha256}  {file.member}\n" for file in work.files)
                archive.writestr("SHA256SUMS", sums)
                archive.writestr("COLLECTED.txt", text)
                archive.writestr("collected.json", json.dumps({"format": FORMAT, **about, **work.to_dict()}, indent=1))
            file.flush()
            os.fsync(file.fileno())
        kept = prove_content(part)
        write_private(folder / f"{name}.sha256", f"{kept.sha256}  {name}\n")
        os.replace(part, folder / name)
        _sync(folder)
        return Kept(folder / name, kept.sha256, kept.work)
    finally:
        part.unlink(missing_ok=True)


def _info(file: File) -> zipfile.ZipInfo:
    try:
        dated = min(max(time.gmtime(file.mtime)[:6], _OLDEST), _NEWEST)
    except (OverflowError, ValueError, OSError):
        dated = _OLDEST
    info = zipfile.ZipInfo(file.member, dated)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o100755 if file.executable else 0o100644) << 16
    return info


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while piece := source.read(PIECE_BYTES):
        target.write(piece)


def _stamp(folder: Path) -> str:
    """The time, in UTC; later than that of every archive there, whatever the clock says."""
    now = datetime.now(timezone.utc)
    for path in archives(folder)[-1:]:
        told = _NAME.fullmatch(path.name)
        assert told is not None  # as archives() chose it
        now = max(now, datetime.strptime(told[1] + "+0000", _STAMP + "%z") + timedelta(seconds=1))
    return now.strftime(_STAMP)


def _sync(folder: Path) -> None:
    """Let the names in the folder be on disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def archives(folder: Path) -> list[Path]:
    """The finished archives in a seat's folder, the newest last."""
    found = [path for path in folder.glob("*.zip") if _NAME.fullmatch(path.name)]
    finished = [path for path in found if path.with_name(path.name + ".sha256").exists()]
    return sorted(finished, key=lambda path: path.name[-len("20270305T174500Z.zip") :])


def newest(folder: Path) -> Kept:
    """The newest archive, its bytes proved by its checksum. Raises ArchiveError where there is none that is whole."""
    found = archives(folder)
    if not found:
        raise ArchiveError(f"There is no archive in {folder}; `fab collect` makes one.")
    path = found[-1]
    with _readable(path):
        told = path.with_name(path.name + ".sha256").read_text(encoding="ascii", errors="replace").split()
        sha256 = _sum_of(path)
        if told[:1] != [sha256]:
            raise ArchiveError(f"{path} is damaged: its checksum is not the one beside it; run `fab collect` again.")
        with opened(path) as archive:
            return Kept(path, sha256, _work_of(archive, path))


def prove(folder: Path) -> Kept:
    """The newest archive, proved whole: its own checksum, and each file in it. Raises ArchiveError."""
    kept = newest(folder)
    with _readable(kept.path):
        prove_content(kept.path)
    return kept


def prove_content(path: Path) -> Kept:
    """Read an archive through: each file must be what its list says, and none be missing or more.

    Raises ArchiveError, or OSError where it can't be read.
    """
    sha256 = _sum_of(path)
    with opened(path) as archive:
        work = _work_of(archive, path)
        wanted = {file.member: file for file in work.files}
        members = [name for name in archive.namelist() if name.startswith(WORK) and not name.endswith("/")]
        if sorted(members) != sorted(wanted):
            raise ArchiveError(f"{path} has other files than its list says.")
        for name in members:
            found, size = hashlib.sha256(), 0
            with archive.open(name) as member:
                while size <= wanted[name].size and (piece := member.read(PIECE_BYTES)):
                    found.update(piece)
                    size += len(piece)
            if found.hexdigest() != wanted[name].sha256:
                raise ArchiveError(f"{path} is damaged: {name} is not what was collected.")
    return Kept(path, sha256, work)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive to be read. Raises ArchiveError, also for what is found wrong with it on the way."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"{path} is damaged ({error}); run `fab collect` again.") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(f"{path} can't be read ({error.strerror}).") from error


def _work_of(archive: zipfile.ZipFile, path: Path) -> Work:
    try:
        told = json.loads(archive.read("collected.json"))
        if told["format"] != FORMAT:
            raise ArchiveError(f"{path} has format {told['format']!r}; this version reads {FORMAT}.")
        return Work.from_dict(told)
    except (ValueError, TypeError) as error:
        raise ArchiveError(f"{path} is damaged ({error}); run `fab collect` again.") from error


def _sum_of(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            found.update(piece)
    return found.hexdigest()
