"""The end of a seminar: everyone's work is collected and proved whole, and only then the machines are destroyed.

1. Collect from every seat. Nothing is disturbed by it, so that a refusal costs nobody anything.
2. Ask, unless told not to.
3. Stop the notebooks, collect what changed since, and prove every archive by reading it.
4. Mark that the destruction begins (end_mark.py), destroy, and look whether anything is left.

Cut short anywhere, the next run goes on. A machine that the destruction has taken can't be collected from any more: its
work counts as collected where the mark names its archive and that is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provisioning import collect, end_mark, engines, inventory, pulumi_cli, report, verbs
from provisioning.archive import ArchiveError
from provisioning.end_mark import Mark, SeatEnd
from provisioning.fleet import SeatResult
from provisioning.inventory import Inventory
from stacks.errors import EngineError, RequestError
from stacks.folders import engine_of, packs_folder, stack_file, stack_folder

_PROVERS = 4  # archives that are read side by side


def end(stack: str, without: str, *, yes: bool, wait: str, rule: collect.Rule) -> int:
    """End the seminar. Returns the exit code: 0 where it has ended, 1 where some seat's work is not here.

    `without` names the participants whose work may be lost. Raises SeminarError where not all was destroyed.
    """
    try:
        found = inventory.load(stack, "", wait)
    except RequestError as error:
        mark = _mark_of(stack, error)
        if mark is None:
            raise
        return _without_hand_over(mark, error, yes=yes)
    if not yes:
        _refuse_without_terminal()
    given_up = {seat.id for seat in inventory.choose(found.handover.seats, without)} if without else set()

    results = verbs.collect_work(found, rule)
    _show(found.stack, results)
    well = [result.seat for result in results if result.is_well]
    earlier = _proved_earlier(end_mark.read(found.stack), results)
    here = {*earlier, *(seat.id for seat in well)}
    if _refused(found, results, here, given_up):
        return 1
    _ask(found.stack, len(found.seats), [seat.id for seat in found.seats if seat.id not in here], yes=yes)

    results = verbs.stop_and_collect(replace(found, seats=tuple(well)), rule)
    if not all(result.is_well for result in results):
        _show(found.stack, results)
    proved = {**earlier, **_proved(found.stack, results)}
    if _refused(found, results, proved, given_up):
        print(f"The notebooks were stopped; `fab start-notebook --stack {found.stack}` starts them again.")
        return 1
    lost = tuple(seat.id for seat in found.seats if seat.id not in proved)
    seats = {seat.id: SeatEnd(seat.host_key, proved[seat.id]) for seat in found.seats if seat.id in proved}
    return _destroy(Mark(found.stack, "destroying", "rehearsal" if _is_here(found) else "cli", seats, lost).keep())


def _mark_of(stack: str, error: RequestError) -> Mark | None:
    """The mark of the stack that is meant, where it has no hand-over any more."""
    if named := stack or os.environ.get(inventory.STACK_VARIABLE, ""):
        return end_mark.read(named)
    marks = end_mark.known() if isinstance(error, inventory.NothingUpError) else []
    return end_mark.read(marks[0]) if len(marks) == 1 else None


def _without_hand_over(mark: Mark, error: RequestError, *, yes: bool) -> int:
    """The stack has no hand-over: it has ended, or its end was cut short late."""
    gone = _is_gone(mark)
    if mark.state == "ended":
        if not gone:
            raise error
        print(f"The seminar {mark.stack} has ended already, at {mark.at}: {_archives(mark)}.")
        return 0
    if not yes and not gone:
        _refuse_without_terminal()
    for id_, seat in mark.seats.items():
        if collect.verify(mark.stack, id_).sha256 != seat.sha256:
            raise ArchiveError(f"The newest archive of {id_} is not the one that was proved; nothing was destroyed.")
    print(f"The end of {mark.stack} was cut short at {mark.at}, while it was destroyed: {_archives(mark)}.")
    if not gone:
        _ask(mark.stack, len(mark.seats) + len(mark.given_up), mark.given_up, yes=yes)
    return _destroy(mark)


def _proved(stack: str, results: Sequence[SeatResult]) -> dict[str, str]:
    """The seats that are well and whose newest archive is whole, with its sha256. The others say why."""

    def prove(result: SeatResult) -> str | ArchiveError:
        try:
            return collect.verify(stack, result.seat.id).sha256
        except ArchiveError as error:
            return error

    well = [result for result in results if result.is_well]
    with ThreadPoolExecutor(_PROVERS) as pool:
        how = dict(zip([result.seat.id for result in well], pool.map(prove, well), strict=True))
    for id_, fault in how.items():
        if isinstance(fault, ArchiveError):
            print(f"{id_}: {fault}")
    return {id_: sha256 for id_, sha256 in how.items() if isinstance(sha256, str)}


def _proved_earlier(mark: Mark | None, results: Sequence[SeatResult]) -> dict[str, str]:
    """The seats that are not well for their machine is going already, and whose proved archive is whole."""
    found = {}
    for result in results:
        if mark is None or result.is_well or not mark.has(result.seat):
            continue
        with contextlib.suppress(ArchiveError):
            sha256 = collect.verify(mark.stack, result.seat.id).sha256
            if sha256 == mark.seats[result.seat.id].sha256:
                found[result.seat.id] = sha256
                print(f"{result.seat.id}: its machine is going already; its work was proved at {mark.at}, and is here.")
    return found


def _refused(found: Inventory, results: Sequence[SeatResult], here: Iterable[str], given_up: set[str]) -> bool:
    """Whether some work is missing that nobody gave up; says whose, and that nothing was destroyed."""
    if any(result.outcome == "interrupted" for result in results):
        print("Interrupted; nothing was destroyed, and running this again goes on from here.")
        return True
    missing = {seat.id for seat in found.seats} - {*here}
    if not missing - given_up:
        return False
    print(
        f"Nothing was destroyed, for this work is not here: {', '.join(sorted(missing))}. Mend that and run this "
        f"again; or give it up: fab end --stack {found.stack} --without {','.join(sorted(missing | given_up))}"
    )
    return True


def _show(stack: str, results: Sequence[SeatResult]) -> None:
    report.show(stack, results, verbs.COLLECTED, as_json=False, again=f"fab collect --stack {stack}")


def _refuse_without_terminal() -> None:
    if not sys.stdin.isatty():
        raise RequestError(
            "`fab end` destroys the machines and asks first, but has no terminal to ask on; say --yes if it is meant."
        )


def _ask(stack: str, machines: int, lost: Sequence[str], *, yes: bool) -> None:
    """Let the organiser type the seminar's name. Raises RequestError where it is another."""
    without = f" The work of {', '.join(lost)} is lost with them." if lost else ""
    print(f"This stops the notebooks and destroys the {machines} machines of {stack} with all their files.{without}")
    if yes:
        return
    try:
        typed = input(f"Type the seminar's name, {stack}, to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != stack:
        raise RequestError(f"Came {typed.strip()[:40]!r}; expected {stack}. Nothing was destroyed.")


def _is_here(found: Inventory) -> bool:
    """Whether the machines are a rehearsal's that this project's own engines hold."""
    return engine_of(found.stack) is not None and all(seat.files for seat in found.handover.seats)


def _destroy(mark: Mark) -> int:
    """Destroy what there is, look whether anything is left, and say so. Raises EngineError."""
    if mark.engine == "rehearsal":
        words = [sys.executable, "-m", "rehearsal", "down", "--stack", mark.stack]
        engines.run(words, os.environ, "destroyed")
    elif not _is_gone(mark):
        binary = pulumi_cli.find()
        assert binary is not None  # or `_is_gone` could not have asked it
        words = ["destroy", "--stack", mark.stack, "--config-file", str(stack_file(mark.stack))]
        options = ["--yes", "--skip-preview", "--suppress-outputs", "--non-interactive", "--color", "never"]
        engines.run([binary, *words, *options], engines.with_plugins(), "destroyed")
    if not _is_gone(mark):
        raise EngineError(f"Something of {mark.stack} is left; run `fab end --stack {mark.stack}` again.")
    replace(mark, state="ended").keep()
    told = {
        "rehearsal": "No process of its machines runs any more, and their folder is gone",
        "cli": "The stack has no resources any more; how to look in the account itself, and to forget the stack, is in "
        "docs/aws.md and docs/azure.md",
    }
    print(f"{told[mark.engine]}.")
    print(f"The seminar {mark.stack} has ended: {_archives(mark)}.")
    if packs_folder(mark.stack).exists():
        print(f"Packs and cards are still in {os.path.relpath(packs_folder(mark.stack))}/; they open nothing any more.")
    return 0


def _archives(mark: Mark) -> str:
    lost = f"; given up: {', '.join(mark.given_up)}" if mark.given_up else ""
    return f"the archives of {len(mark.seats)} participants are in {collect.place(mark.stack)}{lost}"


def _is_gone(mark: Mark) -> bool:
    """Whether nothing is left of the stack, as far as this computer can know."""
    if mark.engine == "rehearsal":
        return engine_of(mark.stack) is None and not stack_folder(mark.stack).exists()
    stacks = json.loads(pulumi_cli.run("stack", "ls", "--json"))
    if mark.stack not in {str(each["name"]).rpartition("/")[2] for each in stacks}:
        return True
    exported = json.loads(pulumi_cli.run("stack", "export", "--stack", mark.stack))
    return not exported["deployment"].get("resources")
