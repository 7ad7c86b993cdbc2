"""Put the organiser's files into the working directory; what is the participant's own stays as it is.

A file is the participant's own where its content is none that the organiser ever put under that name (RECORD). Beside
such a one the new version gets a name of its own. Argument: the working directory, within the home.

It asks for `files`, a JSON document: `folders` (names) and `files` (name, sha256, size, executable). It answers with
the numbers of the files that it wants, gets each as eight bytes that say how long it is and so many of zlib's, and
answers how it went.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from typing import Any

from provisioning.scripts.lib import (
    MIB,
    NO_ROOM,
    PIECE_BYTES,
    RECORD,
    ask,
    digest,
    fail,
    free_mib,
    hear,
    open_folder,
    raw,
    record,
    same,
    shown,
    sum_line,
    tell,
)

PART = b".seminar.part"  # one name for what is half-written: the next run takes what a killed one left
MOST_NAMED = 100
MOST_BESIDE = 99
MARGIN_MIB = 1


class InTheWay(Exception):  # noqa: N818
    """Something stands where a folder should be, and can't be gone through."""


class Push:
    def __init__(self, workdir: int, wanted: dict[str, Any]) -> None:
        self.workdir = workdir
        self.files = wanted["files"]
        self.folders = wanted["folders"]
        self.record = record()
        self.sent = 0
        self.made = 0
        self.unchanged = 0
        self.beside: list[tuple[str, str]] = []
        self.in_the_way: list[str] = []

    def run(self) -> None:
        for name in self.folders:
            try:
                os.close(self.folder(raw(name).split(b"/")))
            except InTheWay as error:
                self.in_the_way.append(str(error))
        wants = [number for number, file in enumerate(self.files) if self.is_wanted(file)]
        self.refuse_unless_room([self.files[number] for number in wants])
        tell(state="wants", files=wants)
        for number in wants:
            self.take(self.files[number])
        obstacles = sorted(set(self.in_the_way))
        tell(
            state="done",
            sent=self.sent,
            made=self.made,
            unchanged=self.unchanged,
            beside=self.beside[:MOST_NAMED],
            beside_count=len(self.beside),
            in_the_way=obstacles[:MOST_NAMED],
            blocked=len(self.in_the_way),
        )

    def folder(self, parts: list[bytes]) -> int:
        """Open a folder of the working directory, made where it is missing. Links are not followed."""
        here = os.dup(self.workdir)
        for depth, part in enumerate(parts):
            try:
                try:
                    below = open_folder(part, here)
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=here)
                    self.made += 1
                    below = open_folder(part, here)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise InTheWay(shown(b"/".join(parts[: depth + 1]))) from error
                raise
            finally:
                os.close(here)
            here = below
        return here

    def is_wanted(self, file: dict[str, Any]) -> bool:
        """Whether it must travel. Counts what lies there already."""
        *above, base = raw(file["name"]).split(b"/")
        try:
            folder = self.folder(above)
        except InTheWay as error:
            self.in_the_way.append(str(error))
            return False
        try:
            name, there, _ = self.settle(folder, above, base, file["sha256"])
            if not there:
                return True
            self.unchanged += 1
            if name != base:
                self.beside.append((file["name"], shown(b"/".join((*above, name)))))
            elif file["sha256"] not in self.record.get(raw(file["name"]), ()):
                self.note(raw(file["name"]), file["sha256"])
            return False
        finally:
            os.close(folder)

    def settle(
        self, folder: int, above: list[bytes], base: bytes, sha256: str
    ) -> tuple[bytes, bool, os.stat_result | None]:
        """Under which name the version belongs, whether it lies there already, and what lies there now."""
        names = candidates(base)
        while True:
            name = next(names)
            seen, found = look(folder, name)
            if seen is None or found == sha256:
                return name, seen is not None, seen
            if found in self.record.get(b"/".join((*above, name)), ()):
                return name, False, seen

    def refuse_unless_room(self, files: list[dict[str, Any]]) -> None:
        needed = sum(file["size"] for file in files) // MIB
        free = free_mib(self.workdir)
        if files and free < needed + MARGIN_MIB:
            fail(
                f"the files need {needed + MARGIN_MIB} MiB and {free} MiB are free on the machine; nothing was put. "
                "Free space there, then run this again"
            )

    def take(self, file: dict[str, Any]) -> None:
        """Write a file beside its place, and put it there once it is whole."""
        *above, base = raw(file["name"]).split(b"/")
        folder = self.folder(above)
        try:
            self.receive(folder, file)
            # Again, for the participant may have saved meanwhile.
            name, there, seen = self.settle(folder, above, base, file["sha256"])
            while not there:
                # Under its own name as well: the participant may put the one beside in the place of theirs.
                for each in {base, name}:
                    self.note(b"/".join((*above, each)), file["sha256"])
                if unchanged_since(folder, name, seen):
                    os.rename(PART, name, src_dir_fd=folder, dst_dir_fd=folder)
                    break
                name, there, seen = self.settle(folder, above, base, file["sha256"])
            self.sent += 1
            if name != base:
                self.beside.append((file["name"], shown(b"/".join((*above, name)))))
        finally:
            remove(folder, PART)
            os.close(folder)

    def receive(self, folder: int, file: dict[str, Any]) -> None:
        remove(folder, PART)
        part = os.open(PART, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        try:
            found = hashlib.sha256()
            left = int.from_bytes(hear(8), "big")
            unpacker = zlib.decompressobj()
            while left:
                packed = hear(min(left, PIECE_BYTES))
                left -= len(packed)
                while packed:
                    piece = unpacker.decompress(packed, PIECE_BYTES)
                    packed = unpacker.unconsumed_tail
                    found.update(piece)
                    write_all(part, piece)
            piece = unpacker.flush()
            found.update(piece)
            write_all(part, piece)
            if found.hexdigest() != file["sha256"]:
                fail(f"{file['name']} did not arrive as it is there; run this again")
            os.fchmod(part, 0o755 if file["executable"] else 0o644)
        finally:
            os.close(part)

    def note(self, name: bytes, sha256: str) -> None:
        """Remember, before it is there, that this version is the organiser's."""
        if sha256 in self.record.setdefault(name, set()):
            return
        with open(RECORD, "ab") as file:
            file.write(sum_line(sha256, name))
        self.record[name].add(sha256)


def candidates(base: bytes) -> Iterator[bytes]:
    """The name, and those beside it: Begin.ipynb, Begin.new.ipynb, Begin.new-2.ipynb."""
    yield base
    stem, dot, ending = base.rpartition(b".")
    if not stem:
        stem, dot, ending = base, b"", b""
    for number in range(1, MOST_BESIDE + 1):
        mark = b".new" if number == 1 else b".new-%d" % number
        yield stem + mark + dot + ending
    fail(f"{MOST_BESIDE} versions of {shown(base)} lie in the working directory; remove some there")


def look(folder: int, name: bytes) -> tuple[os.stat_result | None, str]:
    """What lies there, and its sha256; "" for what is no file that can be read. None where there is nothing."""
    try:
        seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(seen.st_mode):
            return seen, ""
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None, ""
    except PermissionError:
        return seen, ""
    try:
        return os.fstat(file), digest(file)
    finally:
        os.close(file)


def unchanged_since(folder: int, name: bytes, seen: os.stat_result | None) -> bool:
    try:
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return seen is None
    return seen is not None and same(now, seen)


def remove(folder: int, name: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def main() -> None:
    os.umask(0o022)
    name = sys.argv[1]
    place = os.path.join(os.fsencode(os.environ["HOME"]), raw(name))
    try:
        os.makedirs(place, 0o755, exist_ok=True)
        workdir = open_folder(place)
    except OSError:
        fail(f"the working directory {name} can't be made; something else has that name, or the disk is full")
    push = Push(workdir, json.loads(ask("files")))
    try:
        push.run()
    except InTheWay as error:
        fail(f"something was put in the way meanwhile: {error}; run this again")
    except OSError as error:
        if error.errno not in NO_ROOM:
            fail(f"a file can't be put on the machine ({error.strerror}: {error.filename!r}); {push.sent} were put")
        fail(
            f"{name} can't be written on the machine ({error.strerror}): {free_mib(workdir)} MiB are free, and all of "
            f"it must be writable. {push.sent} files were put; free space there, then run this again"
        )


if __name__ == "__main__":
    main()
