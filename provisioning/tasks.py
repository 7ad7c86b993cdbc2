"""The `fab` tasks: thin, typed, with an example each. The work is in verbs.py and the rooms behind it.

Everything but the decorator is imported when a task runs, so that `fab --list` costs little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke import Context, Exit, task

if TYPE_CHECKING:
    from provisioning.inventory import Inventory

_STACK = "the seminar's stack, for example rehearsal; the one that is up, if left out"
_ONLY = "participants' ids, for example ada,bose; everyone, if left out"
_JSON = "print JSON for programs"
_COMMON = {"only": _ONLY, "stack": _STACK}


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


def _load(stack: str, only: str) -> Inventory:
    from provisioning import inventory

    return inventory.load(stack, only)


def _gib(mib: str | None) -> str:
    return f"{int(mib) / 1024:.1f} GiB" if mib else ""


def _end(code: int) -> None:
    if code:
        raise Exit(code=code)


@task(help={**_COMMON, "token": "let a token in the URL guard the seats instead of the password", "json": _JSON})
def start_notebook(_: Context, only: str = "", stack: str = "", token: bool = False, json: bool = False) -> None:
    """Set each seat's password, start its Jupyter and prove a login. Example: fab start-notebook --only ada,bose"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only)
        results = verbs.start_notebook(inventory, token=token)
        columns = {"Notebook": lambda result: str(result.details.get("url", "")).partition("/?")[0]}
        again = f"fab start-notebook{' --token' if token else ''} --stack {inventory.stack}"
        report.show(inventory.stack, results, columns, as_json=json, again=again)
        _end(report.exit_code(results))


@task(help={**_COMMON, "json": _JSON})
def stop_notebook(_: Context, only: str = "", stack: str = "", json: bool = False) -> None:
    """End each seat's Jupyter; files stay. Example: fab stop-notebook --only ada"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only)
        results = verbs.stop_notebook(inventory)
        again = f"fab stop-notebook --stack {inventory.stack}"
        report.show(inventory.stack, results, {}, as_json=json, again=again)
        _end(report.exit_code(results))


@task(help={**_COMMON, "json": _JSON})
def status(_: Context, only: str = "", stack: str = "", json: bool = False) -> None:
    """Show how each seat is: SSH, Jupyter, password, disk. Changes nothing. Example: fab status --json"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only)
        results = verbs.status(inventory)
        columns = {
            "Since": lambda result: str(result.details.get("since", ""))[5:],  # without the year
            "Password": lambda result: str(result.details.get("password", "")),
            "Disk free": lambda result: _gib(result.details.get("free_mib")),
        }
        report.show(inventory.stack, results, columns, as_json=json, again=f"fab status --stack {inventory.stack}")
        _end(report.exit_code(results))


@task(help={**_COMMON, "generate": "make a new password for each seat instead of asking for one", "json": _JSON})
def set_password(_: Context, only: str = "", stack: str = "", generate: bool = False, json: bool = False) -> None:
    """Give seats a new password and log every older session out. Example: fab set-password --only ada"""
    with _borders():
        from provisioning import passwords, report, verbs

        inventory = _load(stack, only)
        passwords.keep(inventory.stack, inventory.seats, None if generate else passwords.ask())
        inventory = _load(inventory.stack, only)
        results = verbs.set_password(inventory)
        columns = {"Password in": lambda result: str(result.details.get("password", ""))}
        again = f"The state has the new passwords already. fab start-notebook --stack {inventory.stack}"
        report.show(inventory.stack, results, columns, as_json=json, again=again)
        _end(report.exit_code(results))


@task(positional=["command"], help={**_COMMON, "command": "a shell command, run in each home", "json": _JSON})
def run(_: Context, command: str, only: str = "", stack: str = "", json: bool = False) -> None:
    """Run a command on each seat and show what it prints. Example: fab run "df -h ." --only ada"""
    with _borders():
        from provisioning import report, verbs

        inventory = _load(stack, only)
        results = verbs.run(inventory, command)
        if not json:
            for result in results:
                print(f"== {result.seat.id}: exit {result.details.get('exit', '-')} {result.reason}".rstrip())
                print(result.details.get("output", result.evidence).rstrip("\n"))
        else:
            report.show(inventory.stack, results, {}, as_json=True, again="")
        _end(report.exit_code(results))


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
