"""Who was not well when a task last ran on them, so that `--failed` means just those."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from provisioning.fleet import SeatResult
from stacks.folders import make_private, stack_folder, write_private
from stacks.outputs import HandOverSeat


def failed(stack: str, task: str, seats: Sequence[HandOverSeat]) -> tuple[HandOverSeat, ...]:
    """Those of the seats that failed, or were not finished, when the task last ran on them."""
    known = _read(stack).get(task, [])
    return tuple(seat for seat in seats if seat.id in known)


def keep(stack: str, task: str, results: Sequence[SeatResult]) -> None:
    """Remember how a run of the task ended. What can't be written is said, and costs the run nothing."""
    remembered = _read(stack)
    ran = {result.seat.id for result in results}
    others = [seat for seat in remembered.get(task, []) if seat not in ran]
    remembered[task] = sorted([*others, *(result.seat.id for result in results if not result.is_well)])
    try:
        make_private(stack_folder(stack))
        write_private(_file(stack), json.dumps(remembered, indent=2) + "\n")
    except OSError as error:
        print(f"{_file(stack)} can't be written ({error.strerror}): --failed will not know this run.", file=sys.stderr)


def _file(stack: str) -> Path:
    return stack_folder(stack) / "failed.json"


def _read(stack: str) -> dict[str, list[str]]:
    try:
        read = json.loads(_file(stack).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    lists = read.items() if isinstance(read, dict) else ()
    return {task: [seat for seat in seats if isinstance(seat, str)] for task, seats in lists if isinstance(seats, list)}
