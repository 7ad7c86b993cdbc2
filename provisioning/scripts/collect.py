"""Tell the organiser what a participant's work is, and send what is asked for of it. Changes nothing.

Arguments: the working directory, within the home; the largest size of a file in bytes (0: any); whether to `leave` or
`take` files that are as the organiser gave them; the fingerprint of the work that the organiser has, or a dash.

It answers `unchanged` where the fingerprint is the same, else `survey` with so many bytes of JSON behind it: the work
as it is now. Then it asks for `wants`, a JSON list of numbers of its files, and answers for each file with `data`, and
so many bytes of zlib's behind it, as often as it takes, then `file` (what was read), `again` (it changed while it was
read: what was sent does not count) or `gone`. At last it answers `done`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import zlib
from typing import Any

from provisioning.scripts.lib import (
    OWN,
    PIECE_BYTES,
    RECORD,
    ask,
    digest,
    fail,
    kind,
    raw,
    record,
    same,
    shown,
    tell,
)

MOST_FILES = 200_000
LEVEL = 1  # of zlib
CACHES = {b".ipynb_checkpoints", b"__pycache__", b".cache", b"node_modules"}
CACHE_MARK = b"CACHEDIR.TAG"  # https://bford.info/cachedir/
ENVIRONMENT_MARKS = {b"pyvenv.cfg", b"conda-meta"}
# Of an environment of Python's or conda's: what a participant keeps beside these is work.
ENVIRONMENT = {b"bin", b"conda-meta", b"etc", b"include", b"lib", b"lib64", b"libexec", b"sbin", b"share", b"ssl"}
OURS = {b".seminar.part", b".DS_Store"}


class Survey:
    """The work as it is now."""

    def __init__(self, top: bytes, largest: int, given: dict[bytes, set[str]]) -> None:
        self.top = top
        self.largest = largest
        self.given = given
        self.files: list[dict[str, Any]] = []
        self.folders: list[str] = []
        self.left_out: list[dict[str, Any]] = []
        self.unreadable: list[dict[str, str]] = []
        self.absent = False

    def run(self) -> None:
        waiting = [b""]
        while waiting:
            waiting += reversed(self.folder(waiting.pop()))

    def folder(self, folder: bytes) -> list[bytes]:
        """Look at what is in a folder; returns the folders within it that are to be looked at."""
        try:
            names = sorted(os.listdir(os.path.join(self.top, folder)))
        except OSError as error:
            self.cannot_read(folder, error)
            return []
        if not names and folder:
            self.folders.append(shown(folder))
        environment = not ENVIRONMENT_MARKS.isdisjoint(names)
        below = []
        for base in names:
            name = os.path.join(folder, base)
            try:
                if base not in OURS and self.is_folder(name, base, environment):
                    below.append(name)
            except FileNotFoundError:
                continue  # removed this moment
            except OSError as error:
                self.cannot_read(name, error)
        return below

    def is_folder(self, name: bytes, base: bytes, environment: bool) -> bool:
        """Whether it is a folder to be looked at; takes note of anything else. Raises OSError."""
        place = os.path.join(self.top, name)
        seen = os.lstat(place)
        if stat.S_ISREG(seen.st_mode):
            self.file(name, seen)
        elif stat.S_ISLNK(seen.st_mode):
            self.leave(name, "link", target=shown(os.readlink(place)))
        elif not stat.S_ISDIR(seen.st_mode):
            self.leave(name, kind(seen.st_mode))
        elif base in CACHES or os.path.exists(os.path.join(place, CACHE_MARK)):
            self.leave(name, "cache")
        elif environment and base in ENVIRONMENT:
            self.leave(name, "environment")
        else:
            return True
        return False

    def file(self, name: bytes, seen: os.stat_result) -> None:
        if self.largest and seen.st_size > self.largest:
            self.leave(name, "large", size=seen.st_size)
            return
        file = open_file(self.top, name)
        try:
            seen = os.fstat(file)
            sha256 = digest(file)
        finally:
            os.close(file)
        if sha256 in self.given.get(name, ()):
            self.leave(name, "given", sha256=sha256)
            return
        self.files.append({"name": shown(name), "sha256": sha256, **facts(seen)})
        if len(self.files) > MOST_FILES:
            fail(
                f"there are more than {MOST_FILES} files in {shown(self.top)}; pack those of a data set into one there"
            )

    def leave(self, name: bytes, why: str, **more: Any) -> None:
        self.left_out.append({"name": shown(name), "why": why, **more})

    def cannot_read(self, name: bytes, error: OSError) -> None:
        self.unreadable.append({"name": shown(name) or ".", "why": error.strerror or str(error)})

    def told(self) -> dict[str, Any]:
        told = {
            "files": self.files,
            "folders": self.folders,
            "left_out": self.left_out,
            "unreadable": self.unreadable,
            "absent": self.absent,
        }
        # Without times: a file that was saved as it was is the same work.
        work = [(file["name"], file["sha256"], file["executable"]) for file in self.files]
        settled = json.dumps([work, *(told[key] for key in ("folders", "left_out", "unreadable", "absent"))])
        return {**told, "fingerprint": hashlib.sha256(settled.encode()).hexdigest()}


def open_file(top: bytes, name: bytes) -> int:
    """Open a file to read it, and nothing else: a link is not followed, and a pipe is not waited for."""
    file = os.open(os.path.join(top, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError
    return file


def facts(seen: os.stat_result) -> dict[str, Any]:
    return {"size": seen.st_size, "mtime": int(seen.st_mtime), "executable": bool(seen.st_mode & 0o100)}


def send(top: bytes, number: int, name: bytes) -> None:
    """Send a file. One that changes while it is read is read again, once, and then told as such."""
    for again in (False, True):
        try:
            file = open_file(top, name)
        except OSError as error:
            gone(number, error)
            return
        try:
            before = os.fstat(file)
            sha256, size = send_content(file)
            after = os.fstat(file)
        except OSError as error:
            gone(number, error)
            return
        finally:
            os.close(file)
        changed = size != after.st_size or not same(before, after)
        if changed and not again:
            tell(state="again", file=number)
            continue
        tell(state="file", file=number, changed=changed, sha256=sha256, **{**facts(after), "size": size})
        return


def gone(number: int, error: OSError) -> None:
    removed = isinstance(error, FileNotFoundError)
    tell(state="gone", file=number, removed=removed, why=error.strerror or str(error))


def send_content(file: int) -> tuple[str, int]:
    found, size, packer = hashlib.sha256(), 0, zlib.compressobj(LEVEL)
    waiting = b""
    while True:
        piece = os.read(file, PIECE_BYTES)
        found.update(piece)
        size += len(piece)
        waiting += packer.compress(piece) if piece else packer.flush()
        if len(waiting) >= PIECE_BYTES or not piece:
            tell(state="data", bytes=len(waiting))
            sys.stdout.buffer.write(waiting)
            waiting = b""
        if not piece:
            return found.hexdigest(), size


def main() -> None:
    name, largest, given, known = sys.argv[1:]
    top = os.path.join(os.fsencode(os.environ["HOME"]), raw(name))
    survey = Survey(top, int(largest), record() if given == "leave" else {})
    if os.path.isdir(top):
        survey.run()
    elif any(os.path.exists(trace) for trace in (RECORD, OWN + b"/settings", OWN + b"/materials.id")):
        fail(f"the working directory {name} is gone: it was moved, or removed; see what is there with `fab run ls`")
    else:
        survey.absent = True
    told = survey.told()
    if told["fingerprint"] == known:
        tell(state="unchanged")
        return
    document = json.dumps(told).encode()
    tell(state="survey", bytes=len(document))
    sys.stdout.buffer.write(document)
    for number in json.loads(ask("wants")):
        send(top, number, raw(survey.files[number]["name"]))
    tell(state="done")


if __name__ == "__main__":
    main()
