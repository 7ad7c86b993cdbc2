"""Which seats there are and how to open them: reads the hand-over from the stack's outputs."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stacks.errors import HandOverError, RequestError
from stacks.folders import SEMINAR_FOLDER, engine_of, state_file
from stacks.outputs import HandOver, HandOverSeat, Secrets

CONNECT_SECONDS = 10.0  # what a machine that is up has to answer; a first boot takes minutes
LONGEST_WAIT_SECONDS = 3600
STACK_VARIABLE = "PULUMI_STACK"


class NothingUpError(RequestError):
    """No stack was named, and none is up."""


@dataclass(frozen=True)
class Inventory:
    """A seminar as fab sees it; `seats` are those asked for, `connect_seconds` what a machine has to answer."""

    stack: str
    handover: HandOver
    secrets: Secrets
    seats: tuple[HandOverSeat, ...]
    connect_seconds: float = CONNECT_SECONDS


def load(stack: str = "", only: str = "", wait: str = "") -> Inventory:
    """Read the stack's hand-over, and choose the seats that `only` names ("ada,bose", "" for all).

    `wait` is the text of the option of that name. Raises RequestError: no such stack, nothing up, a wrong passphrase,
    an unknown participant, no number of seconds.
    """
    connect_seconds = seconds(wait)
    stack = stack or default_stack()
    outputs = _outputs(stack)
    if not outputs.get("handover") or not outputs.get("secrets"):
        raise RequestError(f"The stack {stack!r} has no hand-over yet; run `pulumi up` (or `make rehearse`) first.")
    handover, secrets = HandOver.from_dict(outputs["handover"]), Secrets.from_dict(outputs["secrets"])
    if missing := [seat.id for seat in handover.seats if seat.id not in secrets.seats]:
        raise HandOverError(f"The hand-over has no secrets for {', '.join(missing)}; run `pulumi up` again.")
    return Inventory(stack, handover, secrets, choose(handover.seats, only), connect_seconds)


def choose(seats: tuple[HandOverSeat, ...], only: str) -> tuple[HandOverSeat, ...]:
    """The seats whose ids stand in `only`, separated by commas; all for "". Raises RequestError."""
    wanted = [word.strip().lower() for word in only.split(",") if word.strip()]
    if not wanted:
        if only.strip():
            raise RequestError(f"--only {only!r} names nobody; expected ids such as {seats[0].id}.")
        return seats
    known = [seat.id for seat in seats]
    faults = []
    for word in wanted:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1) or known[:3]
            faults.append(f"There is no participant {word!r} in this seminar; did you mean {', '.join(near)}?")
    if faults:
        raise RequestError(faults)
    return tuple(seat for seat in seats if seat.id in wanted)


def seconds(wait: str) -> float:
    """The seconds that a machine has to answer, from the text of --wait. Raises RequestError."""
    if not wait:
        return CONNECT_SECONDS
    if not wait.isascii() or not wait.isdigit() or not 1 <= int(wait) <= LONGEST_WAIT_SECONDS:
        raise RequestError(
            f"--wait {wait[:40]!r} is no number of seconds that can be waited for; expected 1 to "
            f"{LONGEST_WAIT_SECONDS}, for example 300."
        )
    return float(wait)


def default_stack() -> str:
    """The stack meant where none is named: PULUMI_STACK, the only one that is up, the one that Pulumi selected.

    Raises RequestError where that leaves none.
    """
    if named := os.environ.get(STACK_VARIABLE, ""):
        return named
    up = [file.parent.name for file in SEMINAR_FOLDER.glob("*/state.json")]
    stored = [file.stem for file in SEMINAR_FOLDER.glob(".pulumi/stacks/seminar/*.json")]
    known = sorted({*up, *stored})
    if len(known) == 1:
        return known[0]
    from provisioning import pulumi_cli

    if selected := pulumi_cli.selected_stack():
        return selected
    if known:
        raise RequestError(f"Several seminars are up ({', '.join(known)}); name one with --stack.")
    raise NothingUpError(
        "No seminar is up; `make rehearse` brings up one on this computer, `pulumi up` one in a cloud."
    )


def _outputs(stack: str) -> Mapping[str, Any]:
    if engine_of(stack) == "in-process":
        try:
            return dict(json.loads(state_file(stack).read_text(encoding="utf-8"))["outputs"])
        except (OSError, ValueError, KeyError) as error:
            raise RequestError(f"{state_file(stack)} can't be read ({error}); run `make rehearse` again.") from error
    from provisioning import pulumi_cli

    if pulumi_cli.find() is None and engine_of(stack) is None:
        raise RequestError(f"There is no seminar {stack!r}; `make rehearse` brings up the rehearsal.")
    return pulumi_cli.outputs(stack)
