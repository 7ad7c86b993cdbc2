"""`python -m rehearsal up|down`, which is what `make rehearse` and `make rehearse-down` run."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable

from provisioning import inventory, passwords, pulumi_cli
from rehearsal import cli_engine, engine, ports, sshd
from rehearsal.stackfile import StackFile
from stacks.clients import tunnel_command, url
from stacks.errors import SeatError, SeminarError, SettingsError
from stacks.folders import PROJECT_ROOT, REHEARSAL, engine_of, make_private, stack_folder
from stacks.roster import enrol

STACK = REHEARSAL


def up(participants: str, *, machines_only: bool) -> int:
    """Bring the rehearsal up; start its notebooks, prove them, say what to type next. Returns the exit code."""
    stack_file = StackFile.load(STACK, PROJECT_ROOT / f"Pulumi.{STACK}.yaml")
    if participants:
        stack_file = stack_file.numbered(participants)
    settings = stack_file.settings()
    if settings.cloud != "local":
        raise SettingsError(
            f"Pulumi.{STACK}.yaml: seminar:cloud is {settings.cloud!r}; expected local: a rehearsal is on this "
            "computer. Make the machines of a cloud with `pulumi up`."
        )
    people = len(enrol(settings))
    if sshd.find() is None:
        raise SeminarError(sshd.MISSING)
    make_private(stack_folder(STACK))
    with _Stage(f"Bringing up {people} machines") as step:
        if _uses_cli():
            counts = cli_engine.up(STACK, stack_file, step)
        else:
            stack_file.refuse_encrypted()
            stack_file.write()
            counts = engine.up(STACK, stack_file, step)
    print(", ".join(f"{count} {what}" for what, count in counts.items() if count) + ".", flush=True)
    if machines_only:
        return 0
    if code := _fab("start-notebook", "--stack", STACK):
        return code
    seats = inventory.load(STACK)
    first = seats.seats[0]
    answer = _proved(lambda: prove(first.id))
    print(f"Proved for {first.id}: the tunnel command, the login, and a kernel that computed 6 * 7 = {answer}.")
    _show(seats)
    return 0


def prove(seat_id: str) -> str:
    """Prove one seat the whole way. Raises SeatError."""
    from rehearsal.proof import prove_whole_way

    seats = inventory.load(STACK, seat_id)
    return prove_whole_way(seats.seats[0], seats.secrets.seats[seat_id])


def down(stack: str = STACK) -> int:
    """End everything that the rehearsal started and remove what it made. Returns the exit code."""
    holder = engine_of(stack)
    with _Stage("Ending the rehearsal") as step:
        if holder == "in-process":
            engine.destroy(stack, step)
        elif holder == "cli":
            cli_engine.destroy(stack, StackFile.read(stack), step)
        sshd.remove_all(stack)  # what a run that was killed left behind
    shutil.rmtree(stack_folder(stack), ignore_errors=True)
    ports.forget()
    if left := sshd.left(stack):
        raise SeminarError(
            f"Processes of the rehearsal still run: {', '.join(map(str, left))}; end them, or run this again."
        )
    print("The rehearsal is gone." if holder else "There was no rehearsal.")
    return 0


def _uses_cli() -> bool:
    """Which engine: the one that has the rehearsal already, else the CLI where there is one. Says so."""
    holder = engine_of(STACK)
    if holder == "in-process" or (holder is None and pulumi_cli.find() is None):
        why = "without the Pulumi CLI" if pulumi_cli.find() is None else "without the Pulumi CLI, as it was begun"
        how = " (`make pulumi` installs it)" if pulumi_cli.find() is None else " (`make rehearse-down` ends that)"
        print(f"Running {why}{how}.", flush=True)
        return False
    print("Running with the Pulumi CLI.", flush=True)
    return True


def _fab(*words: str) -> int:
    fab = [sys.executable, "-m", "fabric", *words]
    return subprocess.run(fab, cwd=PROJECT_ROOT, check=False).returncode


def _proved(look: Callable[[], str]) -> str:
    try:
        answer = look()
    except SeatError as error:
        raise SeminarError(f"One seat was tried the whole way and failed: {error}. {error.evidence}".strip()) from error
    if answer != "42":
        raise SeminarError(f"One seat was tried the whole way: its kernel computed 6 * 7 = {answer!r}.")
    return answer


def _show(seats: inventory.Inventory) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print()
    for seat in seats.seats:
        console.print(f"[bold]{escape(seat.name)}[/] (seat {seat.id})", soft_wrap=True)
        console.print(f"  tunnel    {escape(tunnel_command(seat))}", soft_wrap=True)
        console.print(f"  notebook  {url(seat)}", soft_wrap=True)
        console.print(f"  password  in {escape(passwords.where(STACK, seat))}", soft_wrap=True)
    first = seats.seats[0].id
    console.print("\nType next:", style="bold")
    for command, why in (
        (". .venv/bin/activate", "so that fab is found"),
        (f"fab tunnel --only {first}", "be that participant: the tunnel and the browser"),
        ("fab status", "how every seat is"),
        ("make rehearse-down", "end it all"),
    ):
        console.print(f"  {command:<28}{why}", soft_wrap=True)


class _Stage:
    """A live count on a terminal, one line when piped."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._count = 0

    def __enter__(self) -> Callable[[str, str], None]:
        print(f"{self._title} …", flush=True)
        return self._step

    def _step(self, name: str, what: str) -> None:
        self._count += 1
        if sys.stdout.isatty():
            print(f"\r\x1b[K{self._count}: {name} {what}", end="", flush=True)

    def __exit__(self, *_: object) -> None:
        if sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)


def main() -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description="The seminar on this computer.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    bring_up = verbs.add_parser("up", help="bring it up and prove it")
    bring_up.add_argument(
        "--participants", default="", help="so many numbered ones in place of the roster, for example 50"
    )
    bring_up.add_argument("--machines-only", action="store_true", help="leave the notebooks alone")
    take_down = verbs.add_parser("down", help="end it and remove what it made")
    take_down.add_argument("--stack", default=STACK, help="the stack, where it is another than the rehearsal's own")
    asked = parser.parse_args()
    try:
        if asked.verb == "up":
            return up(asked.participants, machines_only=asked.machines_only)
        return down(asked.stack)
    except SeminarError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted; running this again goes on from here.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
