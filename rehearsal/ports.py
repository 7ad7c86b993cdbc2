"""Which ports a machine has: picked when it is made, kept until it is removed.

All seats of a rehearsal share one computer, and it is the participants' laptop too. So each port is the first free one
from the configured number upwards, and no two machines of this user claim the same, of whatever stack or checkout.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.folders import SEMINAR_FOLDER, open_private, write_private
from stacks.loopback import is_free
from stacks.reading import HIGHEST_PORT

CLAIM_FILE = "ports.json"


def claim(folder: Path, wanted: dict[str, int]) -> dict[str, int]:
    """The machine's ports by name: those it has, and for a new name the first free one from the number wanted.

    Raises OSError where nothing is free any more.
    """
    with _one_at_a_time():
        mine = read(folder)
        checkouts = _checkouts()
        if SEMINAR_FOLDER not in checkouts:
            _list_checkouts([*checkouts, SEMINAR_FOLDER])
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


def _first_free(lowest: int, taken: set[int]) -> int:
    for port in range(lowest, HIGHEST_PORT + 1):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no port from {lowest} upwards is free")


def forget() -> None:
    """Take this checkout off the user's list once it has no machines left."""
    with _one_at_a_time():
        if not list(SEMINAR_FOLDER.glob(f"*/machines/*/{CLAIM_FILE}")):
            _list_checkouts([folder for folder in _checkouts() if folder != SEMINAR_FOLDER])


def _claimed() -> set[int]:
    files = [file for folder in _checkouts() for file in folder.glob(f"*/machines/*/{CLAIM_FILE}")]
    return {port for file in files for port in read(file.parent).values()}


def _list_file() -> Path:
    """The `.seminar` folders of this user's checkouts, a line each. A port is taken long before its Jupyter listens."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "seminar-rehearsals"


def _checkouts() -> list[Path]:
    try:
        return [Path(line) for line in _list_file().read_text(encoding="utf-8").splitlines() if Path(line).is_dir()]
    except FileNotFoundError:
        return []


def _list_checkouts(folders: list[Path]) -> None:
    if folders:
        write_private(_list_file(), "".join(f"{folder}\n" for folder in folders))
    else:
        _list_file().unlink(missing_ok=True)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    _list_file().parent.mkdir(parents=True, exist_ok=True)
    with open_private(_list_file().with_suffix(".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file closes, however this process ends
        yield
