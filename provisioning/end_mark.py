"""How far the end of a seminar has come: collected/<stack>/end.json, beside the archives that it speaks of.

Written before anything is destroyed, so that a run which was cut short is gone on with where machines may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from stacks.folders import COLLECTED_FOLDER, collected_folder, make_private, write_private
from stacks.outputs import HandOverSeat

Engine = Literal["rehearsal", "cli"]  # what destroys it: `python -m rehearsal down`, or the Pulumi CLI


@dataclass(frozen=True)
class SeatEnd:
    """A seat whose work was proved whole: on which machine it was, and the archive's sha256."""

    host_key: str
    sha256: str


@dataclass(frozen=True)
class Mark:
    """The seats whose archives were proved, those that were given up, and whether all is destroyed."""

    stack: str
    state: Literal["destroying", "ended"]
    engine: Engine
    seats: Mapping[str, SeatEnd]
    given_up: tuple[str, ...]
    at: str = ""

    def keep(self) -> Mark:
        """Write it, with the time. Raises OSError."""
        kept = replace(self, at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
        make_private(collected_folder(self.stack))
        write_private(_file(self.stack), json.dumps(asdict(kept), indent=2) + "\n")
        return kept

    def has(self, seat: HandOverSeat) -> bool:
        """Whether the work of this seat, on this machine, was proved before its destruction began."""
        return self.state == "destroying" and seat.id in self.seats and self.seats[seat.id].host_key == seat.host_key


def read(stack: str) -> Mark | None:
    """The stack's mark, or None where none was ever made, or it can't be read."""
    try:
        told = json.loads(_file(stack).read_text(encoding="utf-8"))
        seats = {id_: SeatEnd(**each) for id_, each in told["seats"].items()}
        return Mark(**{**told, "seats": seats, "given_up": tuple(told["given_up"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def known() -> list[str]:
    """The stacks that have a mark."""
    return sorted(file.parent.name for file in COLLECTED_FOLDER.glob("*/end.json"))


def withdraw(stack: str, seats: list[str]) -> None:
    """These seats are at work again: what was proved of them may be old. Raises OSError."""
    mark = read(stack)
    if mark and mark.state == "destroying" and not mark.seats.keys().isdisjoint(seats):
        left = {id_: seat for id_, seat in mark.seats.items() if id_ not in seats}
        write_private(_file(stack), json.dumps(asdict(replace(mark, seats=left)), indent=2) + "\n")


def _file(stack: str) -> Path:
    return collected_folder(stack) / "end.json"
