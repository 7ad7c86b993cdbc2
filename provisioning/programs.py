"""The Python programs that run on a seat: their text, and what every one of them is told."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

from provisioning.notebook import PYTHON_CANDIDATES

QUIET_SECONDS = 120.0  # nothing at all has moved for so long: the transfer is stuck
SEAT_SECONDS = 6 * 3600.0  # a gigabyte at 50 KB/s
_FROM_LIB = re.compile(r"^from provisioning\.scripts\.lib import (\([^)]*\)|.*)\n", re.MULTILINE)


def parameters(name: str) -> dict[str, str]:
    """What scripts/NAME.sh needs to run scripts/NAME.py."""
    return {"program": _program(name), "pythons": "\n".join(PYTHON_CANDIDATES)}


@lru_cache
def _program(name: str) -> str:
    """The program with lib.py before it, in place of its import: on the machine there is no project."""
    folder = resources.files("provisioning") / "scripts"
    lib, own = ((folder / f"{each}.py").read_text(encoding="utf-8") for each in ("lib", name))
    future = "from __future__ import annotations\n"
    return future + lib.replace(future, "") + _FROM_LIB.sub("", own).replace(future, "")


def legible(name: str) -> str:
    """A name that a machine told, as text that can be printed anywhere: what can't be is told byte by byte."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in name)


def byte_values(letter: str) -> bytes:
    """What a letter of a machine's name is on the machine. A machine may tell what is no name at all."""
    try:
        return letter.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return letter.encode("utf-8", "surrogatepass")


def _escaped(letter: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in byte_values(letter))
