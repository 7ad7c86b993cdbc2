"""The `fab` tasks: thin, typed, with an example each. The work is in verbs.py and the rooms behind it.

Everything but the decorator is imported when a task runs, so that `fab --list` costs little.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from invoke import Context, Exit, task

if TYPE_CHECKING:
    from provisioning.fleet import SeatResult
    from provisioning.inventory import Inventory

_STACK = "the seminar's stack, for example rehearsal; the one that is up, if left out"
_ONLY = "participants' ids, for example ada,bose; everyone, if left out"
_JSON = "print JSON for programs"
_WAIT = "seconds that a machine has to answer, for example 300 for machines that still boot; 10, if left out"
_FAILED = "only the seats that were not well when this task last ran on them"
_COMMON = {"only": _ONLY, "stack": _STACK}
_FLEET = {**_COMMON, "failed": _FAILED, "wait": _WAIT, "json": _JSON}


@contextmanager
def _borders() -> Iterator[None]:
    """Turn our exceptions into a sentence and an exit code: 1 (a seat failed), 2 (the request was wrong)."""
    from stacks.errors import SeminarError

    try:
        yield
    except SeminarError as error:
        raise Exit("\n".join(error.faults), code=error.exit_code) from error
    except KeyboardInterrupt as error:
        raise Exit("Interrupted; running this again goes on from here.", code=1) from error


def _load(
    stack: str, only: str, *, task: str = "", failed: bool = False, wait: str = "", json: bool = False
) -> Inventory:
    """The seats that are meant; with `failed`, those that were not well when the task last ran on them."""
    from provisioning import inventory

    found = inventory.load(stack, only, wait)
    if failed:
        from provisioning import last_run

        seats = last_run.failed(found.stack, task, found.seats)
        if not seats:
            if json:
                from provisioning import report

                report.show(found.stack, [], {}, as_json=True, again="")
            raise Exit(f"Nobody failed when `fab {task}` last ran; without --failed it runs on everyone.", code=0)
        found = replace(found, seats=seats)
    return found


def _gib(mib: int | None) -> str:
    return "" if mib is None else f"{mib / 1024:.{0 if mib >= 10240 else 1}f} GiB"


def _kernels(details: Mapping[str, Any]) -> str:
    """As "2, 1 busy" or "2, idle 12 min"."""
    count, busy, idle = (details.get(name) for name in ("kernels", "busy", "idle_minutes"))
    if count is None:
        return ""
    return f"{count}, {busy} busy" if busy else f"{count}, idle {idle} min" if idle else str(count)


def _number(text: str, option: str, least: int, most: int) -> int:
    """An option's number. Raises RequestError."""
    from stacks.errors import RequestError

    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise RequestError(f"--{option} {text[:40]!r} is no number that fits; expected {least} to {most}.")
    return int(text)


def _detail(name: str) -> Callable[[SeatResult], str]:
    """A column: what a seat's result tells under this name, "" where that is unknown."""

    def told(result: SeatResult) -> str:
        value = result.details.get(name)
        return "" if value is None else str(value)

    return told


def _end(code: int) -> None:
    if code:
        raise Exit(code=code)


@task(
    help={
        "stack": _STACK,
        "yes": "let `pulumi up` make machines without asking",
        "wait": "seconds that a machine has to answer; 600, if left out",
        "no-board": "end when the packs are written",
        "no-browser": "leave the browser alone",
    }
)
def begin(
    _: Context, *, stack: str = "", yes: bool = False, wait: str = "", no_board: bool = False, no_browser: bool = False
) -> None:
    """The morning in one go: machines, notebooks, packs, board. Again, it goes on. Example: fab begin --stack spring"""
    with _borders():
        from provisioning import beginning

        _end(beginning.begin(stack, yes=yes, wait=wait, board=not no_board, browser=not no_browser))


@task(help={**_FLEET, "token": "let a token in the URL guard the seats instead of the password"})
def start_notebook(
    _: Context,
    *,
    only: str = "",
    failed: bool = False,
    stack: str = "",
    token: bool = False,
    wait: str = "",
    json: bool = False,
) -> None:
    """Set each seat's password, start its Jupyter and prove a login. Example: fab start-notebook --only ada,bose"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only, task="start-notebook", failed=failed, wait=wait, json=json)
        results = verbs.start_notebook(inventory, token=token)
        columns = {"Notebook": report.address}
        again = f"fab start-notebook{' --token' if token else ''} --stack {inventory.stack}"
        report.show(inventory.stack, results, columns, as_json=json, again=again)
        _end(report.exit_code(results))


@task(help=_FLEET)
def stop_notebook(
    _: Context, only: str = "", failed: bool = False, stack: str = "", wait: str = "", json: bool = False
) -> None:
    """End each seat's Jupyter; files stay. Example: fab stop-notebook --only ada"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only, task="stop-notebook", failed=failed, wait=wait, json=json)
        results = verbs.stop_notebook(inventory)
        again = f"fab stop-notebook --stack {inventory.stack}"
        report.show(inventory.stack, results, {}, as_json=json, again=again)
        _end(report.exit_code(results))


@task(help=_FLEET)
def status(
    _: Context, only: str = "", failed: bool = False, stack: str = "", wait: str = "", json: bool = False
) -> None:
    """Show how each seat is: Jupyter, password, tunnels, kernels, disk, memory. Example: fab status --json"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only, task="status", failed=failed, wait=wait, json=json)
        results = verbs.status(inventory)
        columns = {
            "Tunnels": _detail("tunnels"),
            "Kernels": lambda result: _kernels(result.details),
            "Disk": lambda result: _gib(result.details.get("free_mib")),
            "Memory": lambda result: _gib(result.details.get("memory_free_mib")),
        }
        if any(result.details.get("gpu") for result in results):
            columns["GPU"] = _detail("gpu")
        if any(result.details.get("password") != "yes" for result in results if result.is_well):
            columns["Password"] = _detail("password")
        report.show(inventory.stack, results, columns, as_json=json, again=f"fab status --stack {inventory.stack}")
        _end(report.exit_code(results))


@task(help=_FLEET)
def restart_notebook(
    _: Context, only: str = "", failed: bool = False, stack: str = "", wait: str = "", json: bool = False
) -> None:
    """End each seat's Jupyter, kernels with it, and start it as it was. Example: fab restart-notebook --only ada"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only, task="restart-notebook", failed=failed, wait=wait, json=json)
        results = verbs.restart_notebook(inventory)
        again = f"fab restart-notebook --stack {inventory.stack}"
        report.show(inventory.stack, results, {}, as_json=json, again=again)
        _end(report.exit_code(results))


@task(help={**_COMMON, "lines": "how many lines of each; 40, if left out", "wait": _WAIT, "json": _JSON})
def logs(_: Context, only: str = "", stack: str = "", lines: str = "", wait: str = "", json: bool = False) -> None:
    """Show the last lines of each seat's Jupyter's log. Example: fab logs --only ada --lines 100"""
    with _borders():
        from provisioning import report, verbs

        wanted = _number(lines, "lines", 1, 10_000) if lines else 40
        inventory = _load(stack, only, wait=wait)
        results = verbs.logs(inventory, lines=wanted)
        if json:
            report.show(inventory.stack, results, {}, as_json=True, again="")
        else:
            report.show_output(results)
        _end(report.exit_code(results))


@task(help={**_COMMON, "every": "seconds between two looks at a seat; 5, if left out", "wait": _WAIT})
def watch(_: Context, only: str = "", stack: str = "", every: str = "", wait: str = "") -> None:
    """Show how each seat is, live, those in need first; Ctrl-C ends. Example: fab watch --every 10"""
    with _borders():
        from provisioning import watch as watching
        from provisioning.live import EVERY_SECONDS

        seconds = _number(every, "every", 1, 3600) if every else EVERY_SECONDS
        watching.show(_load(stack, only, wait=wait), every=seconds)


@task(help={**_COMMON, "generate": "make a new password for each seat instead of asking for one", "json": _JSON})
def set_password(_: Context, only: str = "", stack: str = "", generate: bool = False, json: bool = False) -> None:
    """Give seats a new password and log every older session out. Example: fab set-password --only ada"""
    with _borders():
        from provisioning import passwords, report, verbs

        inventory = _load(stack, only)
        passwords.keep(inventory.stack, inventory.seats, None if generate else passwords.ask())
        inventory = _load(inventory.stack, only)
        results = verbs.set_password(inventory)
        columns = {"Password in": _detail("password")}
        again = f"The state has the new passwords already. fab start-notebook --stack {inventory.stack}"
        report.show(inventory.stack, results, columns, as_json=json, again=again)
        _end(report.exit_code(results))


@task(help={**_FLEET, "command": "a shell command, run in each home; or put it behind --, as in the example"})
def run(
    _: Context,
    command: str = "",
    *,
    only: str = "",
    failed: bool = False,
    stack: str = "",
    wait: str = "",
    json: bool = False,
) -> None:
    """Run a command on each seat and show what it prints. Example: fab run --only ada -- df -h ."""
    with _borders():
        from provisioning import report, verbs
        from stacks.errors import RequestError

        if not command:
            raise RequestError("`fab run` was given no command; for example: fab run -- df -h .")
        inventory = _load(stack, only, task="run", failed=failed, wait=wait, json=json)
        results = verbs.run(inventory, command)
        if not json:
            report.show_output(results)
        columns = {"Exit": _detail("exit")}
        again = f"fab run --command {shlex.quote(command)} --stack {inventory.stack}"
        report.show(inventory.stack, results, columns, as_json=json, again=again)
        _end(report.exit_code(results))


@task(
    positional=["path"],
    help={
        **_FLEET,
        "path": "a file, or a folder whose content is put, for example week-2",
        "to": "where in the working directory to put it, for example week-2; right into it, if left out",
    },
)
def push(
    _: Context,
    path: str,
    *,
    to: str = "",
    only: str = "",
    failed: bool = False,
    stack: str = "",
    wait: str = "",
    json: bool = False,
) -> None:
    """Put a file, or a folder's content, on each seat; edits of the participant's own stay. Example: fab push week-2"""
    with _borders():
        import sys

        from provisioning import push as pushing
        from provisioning import report, verbs

        selection = pushing.select(path, to)
        inventory = _load(stack, only, task="push", failed=failed, wait=wait, json=json)
        if selection.left_out:
            print(f"Not put: {', '.join(selection.left_out)}.", file=sys.stderr)
        results = verbs.push_files(inventory, selection)
        columns = {name: _detail(name.lower()) for name in ("Sent", "Unchanged")}
        columns["Beside"] = _detail("beside_count")
        again = f"fab push {shlex.quote(path)}{f' --to {shlex.quote(to)}' if to else ''} --stack {inventory.stack}"
        report.show(inventory.stack, results, columns, as_json=json, again=again)
        _end(report.exit_code(results))


_RULE = {
    "largest-mib": "leave out files that are larger, in MiB, for example 500; 100, if left out, and 0 for no limit",
    "given": "take along what the organiser gave and nobody changed",
}


@task(help={**_FLEET, **_RULE})
def collect(
    _: Context,
    *,
    only: str = "",
    failed: bool = False,
    largest_mib: str = "",
    given: bool = False,
    stack: str = "",
    wait: str = "",
    json: bool = False,
) -> None:
    """Bring each participant's work here, as archives with checksums. Example: fab collect --only ada"""
    with _borders():
        from provisioning import collect as collecting
        from provisioning import report, verbs

        rule = collecting.Rule.of(largest_mib, given)
        inventory = _load(stack, only, task="collect", failed=failed, wait=wait, json=json)
        results = verbs.collect_work(inventory, rule)
        options = (f" --largest-mib {largest_mib}" if largest_mib else "") + (" --given" if given else "")
        again = f"fab collect{options} --stack {inventory.stack}"
        report.show(inventory.stack, results, verbs.COLLECTED, as_json=json, again=again)
        if not json:
            print(f"The archives are in {collecting.place(inventory.stack)}.")
        _end(report.exit_code(results))


@task(
    help={
        **_RULE,
        "without": "participants' ids whose work may be lost, for example ada,bose; nobody's, if left out",
        "yes": "do not ask",
        "stack": _STACK,
        "wait": _WAIT,
    }
)
def end(
    _: Context,
    *,
    without: str = "",
    yes: bool = False,
    largest_mib: str = "",
    given: bool = False,
    stack: str = "",
    wait: str = "",
) -> None:
    """End the seminar: collect everyone's work, prove it whole, destroy the machines. Example: fab end --without ada"""
    with _borders():
        from provisioning import collect as collecting
        from provisioning import ending

        rule = collecting.Rule.of(largest_mib, given)
        _end(ending.end(stack, without, yes=yes, wait=wait, rule=rule))


@task(help={**_COMMON, "only": "one participant's id, for example ada", "no-browser": "leave the browser alone"})
def tunnel(_: Context, only: str = "", stack: str = "", no_browser: bool = False) -> None:
    """Open a tunnel to one seat on a free local port, and the browser; reconnects. Example: fab tunnel --only ada"""
    with _borders():
        from provisioning import tunnel as tunnels
        from stacks.errors import RequestError

        inventory = _load(stack, only)
        if len(inventory.seats) != 1:
            ids = ", ".join(seat.id for seat in inventory.seats[:5])
            raise RequestError(f"A tunnel leads to one seat; name it with --only, for example one of {ids}.")
        seat = inventory.seats[0]
        tunnels.hold(seat, inventory.secrets.seats[seat.id], browser=not no_browser)


@task(help={**_COMMON, "failed": _FAILED, "json": _JSON})
def packs(_: Context, only: str = "", failed: bool = False, stack: str = "", json: bool = False) -> None:
    """Write a zip for each participant, and say whose must be sent. Example: fab packs --only ada"""
    with _borders():
        import sys

        from provisioning import last_run, report
        from provisioning import packs as makers

        inventory = _load(stack, only, task="packs", failed=failed)
        results = makers.write(inventory)
        last_run.keep(inventory.stack, "packs", results)
        columns = {"Send": _detail("send")}
        report.show(inventory.stack, results, columns, as_json=json, again=f"fab packs --stack {inventory.stack}")
        for line in [*makers.to_send(results), *makers.remove_strangers(inventory)]:
            print(line, file=sys.stderr if json else sys.stdout)
        _end(report.exit_code(results))


@task(help=_COMMON)
def handout(_: Context, only: str = "", stack: str = "") -> None:
    """Make a page of cards to print and cut, a card per participant. Example: fab handout"""
    with _borders():
        from provisioning import handout as cards

        made = cards.write(_load(stack, only))
        print(f"The cards are in {made.page}" + (f" and {made.pdf}." if made.pdf else "."))
        if made.pdf is None:
            print("There is no PDF, for this computer has no Chromium, Chrome or Edge: open that file and print it.")
        for line in made.left_out:
            print(line)
        _end(int(bool(made.left_out)))


@task(
    help={
        **_COMMON,
        "every": "seconds between two looks at a seat; 5, if left out",
        "wait": _WAIT,
        "port": "the port of this computer, for example 8700; the first free one from there, if left out",
        "no-browser": "leave the browser alone",
    }
)
def board(
    _: Context,
    *,
    only: str = "",
    stack: str = "",
    every: str = "",
    wait: str = "",
    port: str = "",
    no_browser: bool = False,
) -> None:
    """Show how each seat is, live, on a page for this computer alone, until Ctrl-C. Example: fab board"""
    with _borders():
        from provisioning import board as boards
        from provisioning.live import EVERY_SECONDS

        seconds = _number(every, "every", 2, 3600) if every else EVERY_SECONDS
        wanted = _number(port, "port", 1, 65535) if port else None
        boards.hold(_load(stack, only, wait=wait), port=wanted, every_seconds=seconds, browser=not no_browser)
