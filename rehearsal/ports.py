"""Which ports a machine has: picked when it is made, kept until it is removed.

All seats of a rehearsal share one computer, and it is the participants' laptop too. So each port is the first free one
from the configured number upwards, and no two machines claim the same, of whatever stack.
"""

from __future__ import annotations

import errno
import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.folders import SEMINAR_FOLDER, make_private, open_private, write_private
from stacks.settings import HIGHEST_PORT

CLAIM_FILE = "ports.json"
LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def claim(folder: Path, wanted: dict[str, int]) -> dict[str, int]:
    """The machine's ports by name: those it has, and for a new name the first free one from the number wanted.

    Raises OSError where nothing is free any more.
    """
    with _one_at_a_time():
        mine = read(folder)
        taken = _claimed() | set(mine.values())
        ports = {name: mine[name] for name in wanted if name in mine}
        for name, lowest in wanted.items():
            if name not in ports:
                ports[name] = _first_free(lowest, taken)
                taken.add(ports[name])
        write_private(folder / CLAIM_FILE, json.dumps(ports, sort_keys=True))
        return ports


def read(folder: Path) -> dict[str, int]:
    """The ports that the machine claimed, {} where there are none."""
    try:
        return dict(json.loads((folder / CLAIM_FILE).read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def is_free(port: int) -> bool:
    """Whether nothing listens on the port on loopback, IPv4 and IPv6 (`ssh -L localhost:PORT` takes both)."""
    for family, address in LOOPBACK:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno in _NO_SUCH_ADDRESS:
                continue  # a computer without IPv6
            return False
    return True


_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _first_free(lowest: int, taken: set[int]) -> int:
    for port in range(lowest, HIGHEST_PORT + 1):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no port from {lowest} upwards is free")


def _claimed() -> set[int]:
    return {port for file in SEMINAR_FOLDER.glob(f"*/machines/*/{CLAIM_FILE}") for port in read(file.parent).values()}


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    make_private(SEMINAR_FOLDER)
    with open_private(SEMINAR_FOLDER / "ports.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file closes, however this process ends
        yield
