"""A participant's work, brought to the organiser's computer and kept: collected/<stack>/<id>/. archive.py keeps it.

scripts/collect.py on the machine tells what the work is; what neither the newest archive nor a collection that broke
off has is fetched, file by file, into .part/, and then the archive is written. So a file travels once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, Literal

from provisioning import archive, programs
from provisioning.archive import ArchiveError, File, Kept, Work
from provisioning.remote import Remote, Talk
from stacks.errors import RequestError, SeatError
from stacks.folders import collected_folder, make_private, open_private

LARGEST_MIB = 100
_MOST_MIB = 1_000_000
_MIB = 1_048_576
_MOST_SURVEY_BYTES = 100_000_000  # 200,000 files with long names
_MOST_GROWTH_BYTES = 64 * _MIB  # of a file while it is read
_TRIES = 2  # of the machine, to read a file that changes meanwhile
_NAMED = 5  # names that a sentence has
_LISTED = 10_000  # names that COLLECTED.txt has of each kind


@dataclass(frozen=True)
class Rule:
    """What is left out: files above `largest_mib` (0: none), and what is as the organiser gave it, unless `given`."""

    largest_mib: int = LARGEST_MIB
    given: bool = False

    @classmethod
    def of(cls, largest: str, given: bool) -> Rule:
        """From the text of the options. Raises RequestError."""
        if not largest:
            return cls(given=given)
        if not (largest.isascii() and largest.isdigit() and int(largest) <= _MOST_MIB):
            raise RequestError(
                f"--largest-mib {largest[:40]!r} is no size in MiB; expected 0 (any) or more, such as 500."
            )
        return cls(int(largest), given)


@dataclass(frozen=True)
class Collected:
    """How a collection ended: the archive, how many bytes of files travelled, and whether there is a new archive."""

    outcome: Literal["changed", "unchanged"]
    kept: Kept
    fetched_bytes: int = 0

    @property
    def note(self) -> str:
        """What the organiser should know, as a sentence without its full stop, or ""."""
        work = self.kept.work
        large = [
            f"{programs.legible(each['name'])} ({_mib(each.get('size', 0))})"
            for each in work.left_out
            if each["why"] == "large"
        ]
        changed = [programs.legible(file.name) for file in work.files if file.changed]
        parts = [
            "there is no working directory yet, so that the archive is empty" if work.absent else "",
            _naming("left out for their size", large),
            _naming("changed while read, and kept as read", changed),
        ]
        return "; ".join(part for part in parts if part)


def place(stack: str) -> str:
    """Where the archives are, as the organiser would write it."""
    return os.path.join(os.path.relpath(collected_folder(stack)), "")


def verify(stack: str, seat: str) -> Kept:
    """The newest archive of a seat, proved whole and complete without its machine. Raises ArchiveError."""
    kept = archive.prove(collected_folder(stack) / seat)
    if told := _unread(kept.work):
        raise ArchiveError(f"{kept.path} is not all of the work: {told}.")
    return kept


def collect(remote: Remote, stack: str, workdir: str, rule: Rule) -> Collected:
    """Bring the seat's work here, unless the newest archive has it. May be tried again; what has arrived stays.

    Raises SeatError, also where something could not be read; the rest is kept then.
    """
    folder = collected_folder(stack) / remote.seat.id
    try:
        make_private(folder)
        with _alone(folder):
            try:
                done = _collect(remote, folder, stack, workdir, rule)
            except OSError:
                shutil.rmtree(folder / ".part", ignore_errors=True)
                raise
    except OSError as error:
        there = next(each for each in (folder, *folder.parents) if each.is_dir())
        raise SeatError(
            f"the work can't be kept on this computer ({error.strerror}): {_free_mib(there)} MiB are free for "
            f"{folder}; the archives that were there are as they were"
        ) from error
    except ArchiveError as error:
        raise SeatError(f"what was collected is not whole: {error}") from error
    if told := _unread(done.kept.work):
        raise SeatError(f"{told}; the rest is in {done.kept.path}")
    return done


def _unread(work: Work) -> str:
    named = [f"{programs.legible(each['name'])} ({each['why']})" for each in work.unreadable]
    return _naming("could not be read", named)


def _naming(what: str, names: list[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what}: {', '.join(names[:_NAMED])}{more}" if names else ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with open_private(folder / ".lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SeatError("another run is collecting this seat's work right now; wait until it has ended") from None
        yield


def _collect(remote: Remote, folder: Path, stack: str, workdir: str, rule: Rule) -> Collected:
    try:
        last: Kept | None = archive.newest(folder)
    except ArchiveError:  # none yet, or a damaged one: all of the work is wanted
        last = None
    given = {
        **programs.parameters("collect"),
        "workdir": workdir,
        "largest": str(rule.largest_mib * _MIB),
        "given": "take" if rule.given else "leave",
        "known": (last.work.fingerprint if last else "") or "-",
    }
    with remote.talk("collect", given, seconds=programs.SEAT_SECONDS, quiet_seconds=programs.QUIET_SECONDS) as talk:
        answer = talk.answer()
        if answer["state"] == "unchanged" and last:
            return Collected("unchanged", last)
        work = _survey(talk, int(answer["bytes"]))
        fetch = _Fetch(talk, make_private(folder / ".part"), last, work)
        work = fetch.run()
    about = {
        "seminar": stack,
        "seat": remote.seat.id,
        "name": remote.seat.name,
        "collected": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "workdir": workdir,
        "largest_mib": rule.largest_mib,
        "given": rule.given,
    }
    with fetch.contents() as content:
        kept = archive.write(folder, remote.seat.id, work, content, about=about, text=_text(work, about))
    shutil.rmtree(folder / ".part")
    return Collected("changed", kept, fetch.fetched_bytes)


def _survey(talk: Talk, size: int) -> Work:
    if size > _MOST_SURVEY_BYTES:
        raise SeatError(f"its list of files has {size} bytes, which is too much to be one")
    document = b"".join(talk.read(size))
    try:
        return Work.from_dict(json.loads(document))
    except ValueError as error:
        raise SeatError(f"its list of files can't be used: {error}") from error


class _Fetch:
    """The transfer of what is not here yet, into a folder of files that are named by their checksum."""

    def __init__(self, talk: Talk, part: Path, last: Kept | None, work: Work) -> None:
        self._talk = talk
        self._part = part
        self._last = last
        self._in_last = {file.sha256: file for file in last.work.files} if last else {}
        self._work = work
        self.fetched_bytes = 0

    def run(self) -> Work:
        """Fetch; returns the work as it was read, which may be newer than what was told first."""
        wanted: dict[str, int] = {}
        for number, file in enumerate(self._work.files):
            if not self._is_here(file.sha256):
                wanted.setdefault(file.sha256, number)
        self._refuse_unless_room(wanted)
        offers = {"wants": lambda: json.dumps(list(wanted.values())).encode()}
        read: dict[int, File] = {}
        lost: dict[int, str] = {}  # number -> why it can't be read, "" where it was removed
        for number in wanted.values():
            try:
                read[number] = self._fetch(self._work.files[number], number, offers)
            except _GoneError as error:
                lost[number] = "" if error.removed else str(error)
        if self._talk.answer(offers)["state"] != "done":
            raise SeatError("it sends more than was asked for")
        for number, file in enumerate(self._work.files):
            # Of files that are alike one was fetched; where that one changed on the way, the others were not.
            if number not in read and number not in lost and not self._is_here(file.sha256):
                lost[number] = "it changed while it was read; collect again"
        return self._as_read(read, lost)

    def _is_here(self, sha256: str) -> bool:
        return sha256 in self._in_last or (self._part / sha256).exists()

    def _as_read(self, read: dict[int, File], lost: dict[int, str]) -> Work:
        """The work with what was really read in place of what was told first."""
        files = [read.get(number, file) for number, file in enumerate(self._work.files) if number not in lost]
        unreadable = [{"name": self._work.files[number].name, "why": why} for number, why in lost.items() if why]
        settled = not lost and tuple(files) == self._work.files
        now = replace(
            self._work,
            files=tuple(files),
            unreadable=(*self._work.unreadable, *unreadable),
            fingerprint=self._work.fingerprint if settled else "",
        )
        return Work.from_dict(now.to_dict())  # where each file is in the archive follows from those that are left

    def _refuse_unless_room(self, wanted: dict[str, int]) -> None:
        needed = sum(self._work.files[number].size for number in wanted.values())
        needed += sum(file.size for file in self._work.files)
        free = _free_mib(self._part)
        if needed // _MIB >= free:
            raise SeatError(
                f"its work may need {needed // _MIB + 1} MiB on this computer, and {free} MiB are free in "
                f"{self._part.parent}; free space, or leave more out with --largest-mib"
            )

    def _fetch(self, file: File, number: int, offers: dict[str, Any]) -> File:
        """Fetch one file into the folder. Returns it as it was read."""
        arriving = self._part / "arriving"
        most = 2 * file.size + _MOST_GROWTH_BYTES
        for _ in range(_TRIES):
            summed, size, unpacker = hashlib.sha256(), 0, zlib.decompressobj()
            with open(arriving, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as kept:
                while (answer := self._talk.answer(offers))["state"] == "data":
                    for packed in self._talk.read(int(answer["bytes"])):
                        for piece in _unpacked(unpacker, packed):
                            size += len(piece)
                            if size > most:
                                raise SeatError(
                                    f"{programs.legible(file.name)} grew too fast to be read; collect again"
                                )
                            summed.update(piece)
                            kept.write(piece)
            if answer.get("file") != number:
                raise SeatError("it sends something else than was asked for")
            if answer["state"] == "gone":
                raise _GoneError(str(answer["why"]), removed=bool(answer["removed"]))
            if answer["state"] == "file":
                break
        else:
            raise SeatError("it sends the same file again and again")
        if summed.hexdigest() != answer["sha256"]:
            raise SeatError(f"{programs.legible(file.name)} did not arrive as it was sent", passing=True)
        self.fetched_bytes += size
        arriving.replace(self._part / summed.hexdigest())
        return replace(
            file,
            sha256=summed.hexdigest(),
            size=size,
            mtime=int(answer["mtime"]),
            executable=bool(answer["executable"]),
            changed=bool(answer["changed"]),
        )

    @contextmanager
    def contents(self) -> Iterator[Callable[[str], AbstractContextManager[IO[bytes]]]]:
        """Opens a file's content by its checksum, from where it is here."""
        with archive.opened(self._last.path) if self._last else nullcontext() as old:

            def content(sha256: str) -> AbstractContextManager[IO[bytes]]:
                fetched = self._part / sha256
                return fetched.open("rb") if old is None or fetched.exists() else old.open(self._in_last[sha256].member)

            yield content


class _GoneError(Exception):
    """A file that was told can't be read any more; `removed` where it is simply not there, so that it is no work."""

    def __init__(self, why: str, *, removed: bool) -> None:
        super().__init__(why)
        self.removed = removed


def _unpacked(unpacker: Any, packed: bytes) -> Iterator[bytes]:
    try:
        while packed:
            yield unpacker.decompress(packed, archive.PIECE_BYTES)
            packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise SeatError(f"what it sends is damaged ({error})", passing=True) from error


def _free_mib(folder: Path) -> int:
    return shutil.disk_usage(folder).free // _MIB


def _mib(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"


def _text(work: Work, about: dict[str, Any]) -> str:
    """COLLECTED.txt: what this archive is, and what is not in it."""
    large = f"files above {about['largest_mib']} MiB, " if about["largest_mib"] else ""
    given = "" if about["given"] else " What the organiser gave is left out where nobody changed it."
    lines = [
        f"The work of {about['name']} (seat {about['seat']}) in the seminar {about['seminar']}.",
        f"Collected {about['collected']} from ~/{about['workdir']}: {len(work.files)} files, in work/.",
        "SHA256SUMS has their checksums: unpack, then `sha256sum -c SHA256SUMS`.",
        "",
        f"Left out by rule are {large}caches, the installed part of Python's and conda's environments, links "
        f"and what is no file.{given}",
    ]
    groups: dict[str, list[str]] = {}
    for each in work.left_out:
        more = f" ({_mib(each['size'])})" if "size" in each else f" -> {each['target']}" if "target" in each else ""
        groups.setdefault(_KINDS.get(each["why"], "No file"), []).append(programs.legible(each["name"] + more))
    groups["Could not be read"] = [programs.legible(f"{each['name']} ({each['why']})") for each in work.unreadable]
    groups["Changed while it was read, and is here as it was read"] = [
        programs.legible(file.name) for file in work.files if file.changed
    ]
    groups["Has another name here, for not every system takes its own"] = [
        f"{programs.legible(file.name)} is {file.member}"
        for file in work.files
        if file.member != archive.WORK + file.name
    ]
    for title, names in groups.items():
        if names:
            lines += ["", f"{title}:", *(f"  {name}" for name in names[:_LISTED])]
            lines += [f"  and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return "\n".join([*lines, ""])


_KINDS = {
    "large": "Too large",
    "cache": "Caches",
    "environment": "Installed environments",
    "given": "As the organiser gave it",
    "link": "Links",
}
