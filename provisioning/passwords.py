"""A new password for a seat: into the stack's state first, then onto the machine.

In that order, so that a run which is cut short is finished by the next `fab start-notebook`.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from provisioning import pulumi_cli
from stacks.clients import PASSWORD_FILE
from stacks.errors import EngineError, RequestError
from stacks.folders import PROJECT_ROOT, engine_of, stack_file
from stacks.outputs import NEW_PASSWORDS_VARIABLE, HandOverSeat
from stacks.values import Secret, password_fault

_UP_SECONDS = 1800.0


def ask(prompt: Callable[[str], str] = getpass.getpass) -> Secret:
    """Ask for a password twice without echo; from a pipe, read its first line. Raises RequestError."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = prompt("New password: ")
        if prompt("Once more: ") != password:
            raise RequestError("The two passwords differ; nothing was changed. Run this again.")
    if fault := password_fault(password):
        raise RequestError(f"The password {fault[0]}; expected {fault[1]}. Nothing was changed.")
    return Secret(password)


def keep(stack: str, seats: Sequence[HandOverSeat], password: Secret | None) -> None:
    """Put the password (None: a new one for each seat) into the stack's state, and nothing else of the stack changes.

    Raises EngineError or RequestError.
    """
    wanted = {seat.id: str(password) if password is not None else "" for seat in seats}
    variables = {NEW_PASSWORDS_VARIABLE: json.dumps(wanted)}
    if engine_of(stack) == "in-process":
        _keep_in_process(stack, variables)
        return
    if not any(seat.files for seat in seats):  # machines of a cloud, whose plugin this computer may not have yet
        variables[pulumi_cli.WITHOUT_PLUGINS] = os.environ.get(pulumi_cli.WITHOUT_PLUGINS, "false")
    words = ["up", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack, "--target-dependents"]
    for machine in sorted({seat.machine for seat in seats}):
        words += ["--target", f"**::credentials-{machine}"]
    pulumi_cli.run(*words, "--config-file", str(stack_file(stack)), seconds=_UP_SECONDS, **variables)


def _keep_in_process(stack: str, variables: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rehearsal.engine", "up", stack],
            cwd=PROJECT_ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_UP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"The stack {stack!r} did not take the password within {_UP_SECONDS:.0f} seconds.") from None
    if done.returncode:
        raise EngineError(done.stderr.strip().splitlines()[-5:] or "The engine failed without a word.")


def where(stack: str, seat: HandOverSeat) -> str:
    """Where the organiser finds the seat's password; the password itself is not printed."""
    if seat.files:
        return os.path.relpath(os.path.join(seat.files, PASSWORD_FILE))
    return f"pulumi stack output secrets --show-secrets --stack {stack}"
