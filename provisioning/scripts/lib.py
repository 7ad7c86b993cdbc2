"""What every Python program that runs on a seat stands on; its text is sent before the program's own.

On the machine there is Python 3.8 and its standard library, and nothing of the project. Names are bytes as the kernel
has them, so that no locale and no name that is no text has a say. What the organiser says is standard input; what the
organiser hears are lines of JSON and, where announced, bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
import time
from typing import Any, NoReturn

OWN = os.fsencode(os.environ["HOME"]) + b"/.local/share/seminar"
RECORD = OWN + b"/put"  # what the organiser put into the working directory, as sha256sum prints it, a line each
PIECE_BYTES = 262_144
BEAT_SECONDS = 5.0
MIB = 1_048_576
_SUM = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](?:\./)*(.+)\n")  # a line that was cut short has no end

_beaten = time.monotonic()


def tell(**told: Any) -> None:
    """An answer, or a question."""
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    sys.stdout.buffer.flush()


def fail(reason: str) -> NoReturn:
    """The answer where nothing can be done."""
    tell(state="failed", reason=reason)
    sys.exit(0)


def beat() -> None:
    """Let the organiser see now and then that something moves: an empty line is no answer."""
    global _beaten  # noqa: PLW0603 (a program of its own)
    if time.monotonic() > _beaten + BEAT_SECONDS:
        _beaten = time.monotonic()
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


def hear(count: int) -> bytes:
    """So many bytes of what the organiser says. Ends this program where the connection broke off."""
    said = sys.stdin.buffer.read(count)
    if len(said) < count:
        sys.exit(0)
    return said


def ask(name: str) -> bytes:
    """Ask the organiser for something."""
    tell(asks=name)
    return hear(int(sys.stdin.buffer.readline() or sys.exit(0)))


def raw(name: str) -> bytes:
    """A name of the organiser's, as the kernel has it."""
    return name.encode("utf-8", "surrogateescape")


def shown(name: bytes) -> str:
    """A name for the organiser; what is no UTF-8 is a lone surrogate."""
    return name.decode("utf-8", "surrogateescape")


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether nobody wrote to the file between the two looks."""
    return _state(one) == _state(other)


def _state(seen: os.stat_result) -> tuple[int, ...]:
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def digest(file: int) -> str:
    """The sha256 of an open file, from where it stands."""
    found = hashlib.sha256()
    while True:
        piece = os.read(file, PIECE_BYTES)
        if not piece:
            return found.hexdigest()
        found.update(piece)
        beat()


def record() -> dict[bytes, set[str]]:
    """Which versions of each file the organiser put here: name in the working directory -> sha256s."""
    found: dict[bytes, set[str]] = {}
    try:
        with open(RECORD, "rb") as file:
            for line in file:
                told = _SUM.fullmatch(line)
                if told:
                    name = re.sub(rb"\\(.)", _unescaped, told[3]) if told[1] else told[3]
                    found.setdefault(name, set()).add(told[2].decode())
    except OSError:
        pass
    return found


def _unescaped(told: re.Match[bytes]) -> bytes:
    return {b"n": b"\n", b"r": b"\r"}.get(told[1], told[1])


def sum_line(sha256: str, name: bytes) -> bytes:
    """The line that sha256sum prints."""
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"%s%s  %s\n" % (b"\\" if escaped != name else b"", sha256.encode(), escaped)


def open_folder(name: bytes, within: int | None = None) -> int:
    """Open a folder, never through a link where it is within another. Raises OSError."""
    no_link = os.O_NOFOLLOW if within is not None else 0
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | no_link, dir_fd=within)


def kind(mode: int) -> str:
    """What something is, for people."""
    names = ((stat.S_ISLNK, "link"), (stat.S_ISDIR, "folder"), (stat.S_ISREG, "file"), (stat.S_ISFIFO, "pipe"))
    return next((name for matches, name in names if matches(mode)), "device or socket")


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


def free_mib(folder: int) -> int:
    """How many MiB an ordinary user may still write there."""
    seen = os.fstatvfs(folder)
    return seen.f_bavail * seen.f_frsize // MIB
