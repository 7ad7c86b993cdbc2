"""Files of the organiser's into every seat's working directory; scripts/push.py does the work there.

Every file is read once for its checksum, and packed once when the first seat wants it; all seats are sent the same
packed bytes, from a file, so that memory does not grow with the seats or the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from provisioning import programs
from provisioning.materials import LEFT_OUT
from provisioning.remote import Remote
from stacks.errors import RequestError, SeatError
from stacks.folders import make_private, stack_folder

MOST_FILES = 20_000
_PIECE_BYTES = 262_144
_NAMED = 5  # names that a sentence has
_LEVEL = 1  # of zlib: most of what it can, in a quarter of the time


@dataclass(frozen=True)
class Item:
    """A file to put: its name in the working directory, and where it is here."""

    name: str
    source: Path
    sha256: str
    size: int
    executable: bool


@dataclass(frozen=True)
class Selection:
    """What is to be put. `left_out` are sentences' parts: what was passed over, and why."""

    files: tuple[Item, ...]
    folders: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def manifest(self) -> bytes:
        """What scripts/push.py asks for."""
        files = [
            {"name": file.name, "sha256": file.sha256, "size": file.size, "executable": file.executable}
            for file in self.files
        ]
        return json.dumps({"folders": self.folders, "files": files}).encode()


def select(path: str, to: str = "") -> Selection:
    """What `path` means: a file, or a folder's content, to be put into the folder `to` of the working directory.

    Links within a folder are not followed and not put. Raises RequestError with every fault at once.
    """
    within = _target(to)
    source = Path(path)
    try:
        source.stat()
    except FileNotFoundError:
        raise RequestError(f"{path!r} is not here; expected a file or a folder, for example 02-trees.ipynb.") from None
    except OSError as error:
        raise RequestError(f"{path!r} can't be read ({error.strerror}); expected a file or a folder.") from error
    found = _Found()
    found.folder(within)
    if source.is_dir():
        _walk(source, within, found)
    else:
        found.add(source, f"{within}/{source.name}" if within else source.name)
    if len(found.files) > MOST_FILES:
        raise RequestError(
            f"{path!r} has {len(found.files)} files; at most {MOST_FILES} are put. Pack them into one file first."
        )
    if not found.faults and not found.files and not source.is_dir():
        raise RequestError(f"{path!r} is neither a file nor a folder; expected one of them.")
    if found.faults:
        raise RequestError(found.faults)
    return Selection(tuple(found.files), tuple(found.folders), tuple(found.left_out))


def _target(to: str) -> str:
    parts = [part for part in to.split("/") if part not in ("", ".")]
    if to.startswith("/") or ".." in parts or "\0" in to:
        raise RequestError(f"--to {to!r} leads out of the working directory; expected a folder in it, such as week-2.")
    return "/".join(parts)


@dataclass
class _Found:
    files: list[Item] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def folder(self, name: str) -> None:
        if name and self._is_text(name):
            self.folders.append(name)

    def add(self, source: Path, name: str) -> None:
        if not source.is_file():
            self.left_out.append(f"{programs.legible(str(source))} (no file)")
        elif self._is_text(name):
            try:
                with source.open("rb") as file:
                    sha256, size = _summed(file)
                    executable = bool(os.fstat(file.fileno()).st_mode & 0o100)
                self.files.append(Item(name, source, sha256, size, executable))
            except OSError as error:
                self.faults.append(f"{str(source)!r} can't be read ({error.strerror}); nothing was put.")

    def _is_text(self, name: str) -> bool:
        try:
            name.encode()
        except UnicodeEncodeError:
            self.faults.append(
                f"{os.fsencode(name)!r} is a name that is no UTF-8; rename the file, then run this again."
            )
            return False
        return True


def _walk(folder: Path, within: str, found: _Found) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        found.faults.append(f"{str(folder)!r} can't be read ({error.strerror}); nothing was put.")
        return
    for entry in entries:
        name = f"{within}/{entry.name}" if within else entry.name
        if entry.name in LEFT_OUT:
            continue
        if entry.is_symlink():
            found.left_out.append(f"{programs.legible(entry.path)} (a link)")
        elif entry.is_dir():
            found.folder(name)
            _walk(Path(entry.path), name, found)
        else:
            found.add(Path(entry.path), name)


def _summed(file: Any) -> tuple[str, int]:
    summed, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE_BYTES):
        summed.update(piece)
        size += len(piece)
    return summed.hexdigest(), size


class Packed:
    """The files as they travel: each packed once, when it is first wanted, into one file that is nobody else's.

    Used as a context. Raises RequestError where this computer has no place for it.
    """

    def __init__(self, stack: str) -> None:
        self._lock = threading.Lock()
        folder = stack_folder(stack)
        try:
            self._file = tempfile.TemporaryFile(dir=make_private(folder))  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise RequestError(f"{folder} can't be written ({error.strerror}), where the files are packed.") from error
        self._end = 0
        self._places: dict[str, tuple[int, int]] = {}  # sha256 -> where it begins, and how long it is

    def __enter__(self) -> Packed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def pieces(self, item: Item) -> Iterator[bytes]:
        """How long it is in eight bytes, and then it. Raises SeatError where this computer can't give it."""
        with self._lock:
            if item.sha256 not in self._places:
                self._pack(item)
            begin, length = self._places[item.sha256]
        yield length.to_bytes(8, "big")
        for offset in range(begin, begin + length, _PIECE_BYTES):
            yield os.pread(self._file.fileno(), min(_PIECE_BYTES, begin + length - offset), offset)

    def _pack(self, item: Item) -> None:
        begin = end = self._end
        summed, packer = hashlib.sha256(), zlib.compressobj(_LEVEL)
        try:
            with item.source.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    summed.update(piece)
                    end = self._write(packer.compress(piece), end)
            end = self._write(packer.flush(), end)
        except OSError as error:
            raise SeatError(
                f"{str(item.source)!r} can't be packed on this computer ({error.strerror}): it must be there, and "
                f"{stack_folder('')} needs room for it"
            ) from error
        if summed.hexdigest() != item.sha256:
            raise SeatError(f"{str(item.source)!r} was changed on this computer meanwhile; run this again")
        self._places[item.sha256] = begin, end - begin
        self._end = end

    def _write(self, data: bytes, offset: int) -> int:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[written:], offset + written
        return offset


@dataclass(frozen=True)
class Put:
    """How a push ended on one seat. `beside`: the participant's own file, and the new version's name."""

    sent: int
    unchanged: int
    made: int
    beside: tuple[tuple[str, str], ...]
    beside_count: int

    @property
    def outcome(self) -> Literal["changed", "unchanged"]:
        return "changed" if self.sent or self.made else "unchanged"

    @property
    def note(self) -> str:
        """What the organiser should know, as a sentence without its full stop, or ""."""
        if not self.beside:
            return ""
        named = ", ".join(f"{own} (the new one is {new})" for own, new in self.beside[:_NAMED])
        more = f", and {self.beside_count - _NAMED} more" if self.beside_count > _NAMED else ""
        return f"left alone, for they are the participant's own: {named}{more}"


def put(remote: Remote, workdir: str, selection: Selection, manifest: bytes, packed: Packed) -> Put:
    """Put the files that the seat lacks. A connection that broke off may try again: what is there stays.

    Raises SeatError, also where something stands in the way of some files; the others are put then.
    """
    given = {**programs.parameters("push"), "workdir": workdir}
    limits = {"seconds": programs.SEAT_SECONDS, "quiet_seconds": programs.QUIET_SECONDS}
    with remote.talk("push", given, **limits) as talk:
        wants = talk.answer({"files": lambda: manifest})
        for number in wants["files"]:
            for piece in packed.pieces(selection.files[number]):
                talk.say(piece)
        done = talk.answer()
    if blocked := done["in_the_way"]:
        raise SeatError(
            f"{done['blocked']} files or folders were not put, for there is no folder where one is needed: "
            f"{', '.join(map(programs.legible, blocked[:_NAMED]))}; "
            f"{done['sent']} files were put and {done['unchanged']} were there"
        )
    beside = tuple((programs.legible(own), programs.legible(new)) for own, new in done["beside"])
    return Put(done["sent"], done["unchanged"], done["made"], beside, done["beside_count"])
