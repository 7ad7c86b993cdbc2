"""The morning in one go: machines, notebooks, packs, board. Each step finds what is done already, and does the rest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from provisioning import engines, inventory, last_run, packs, report, verbs
from provisioning.fleet import SeatResult
from stacks.errors import EngineError
from stacks.folders import REHEARSAL

FIRST_WAIT = "600"  # seconds that a machine has to answer: a cloud's boots in minutes


def begin(stack: str, *, yes: bool, wait: str, board: bool, browser: bool) -> int:
    """Make the machines, start the notebooks, write the packs, show the board until Ctrl-C. Returns the exit code.

    A seat that fails is named and holds up nobody: the others get their packs, and the board shows it. Raises
    SeminarError.
    """
    connect_seconds = inventory.seconds(wait or FIRST_WAIT)
    stack = stack or _meant()
    _step(1, f"The machines of {stack}")
    code = _make(stack, yes=yes)

    _step(2, "Their notebooks")
    found = inventory.load(stack)
    results = verbs.start_notebook(replace(found, connect_seconds=connect_seconds))
    report.show(
        stack, results, {"Notebook": report.address}, as_json=False, again=f"fab start-notebook --stack {stack}"
    )
    if _stopped(results):
        return 1

    _step(3, "A pack for each participant")
    packed = packs.write(found)
    last_run.keep(stack, "packs", packed)
    for line in [*packs.to_send(packed), *packs.remove_strangers(found)]:
        print(line)
    code = max(code, report.exit_code(results), report.exit_code(packed))
    for result in packed:
        if not result.is_well:
            print(f"{result.seat.id}: {result.reason}.")
    if _stopped(packed):
        return 1

    _step(4, "The board")
    if not board:
        print(f"`fab board --stack {stack}` shows it.")
        return code
    from provisioning import board as boards
    from provisioning.live import EVERY_SECONDS

    boards.hold(found, every_seconds=EVERY_SECONDS, browser=browser)
    return code


def _make(stack: str, *, yes: bool) -> int:
    """Make the machines; returns the exit code. Those that are there are gone on with, where some could not be made."""
    try:
        engines.make(stack, yes=yes)
    except EngineError as error:
        print(f"{error} Now on with those that are there.", flush=True)
        return error.exit_code
    return 0


def _meant() -> str:
    """The stack where none was named: the one that is up or selected, else the rehearsal, which costs nothing."""
    try:
        return inventory.default_stack()
    except inventory.NothingUpError:
        print(f"No seminar was named and none is up: this is the {REHEARSAL}, on this computer.", flush=True)
        return REHEARSAL


def _step(number: int, title: str) -> None:
    sys.stderr.flush()
    print(f"\n{number}/4  {title}", flush=True)


def _stopped(results: Sequence[SeatResult]) -> bool:
    """Whether Ctrl-C was pressed meanwhile; says how to go on."""
    if all(result.outcome != "interrupted" for result in results):
        return False
    print("Interrupted; running this again goes on from here.")
    return True
