"""A seat's Jupyter: start, stop, its log.

Jupyter is told its password by the hash alone, in the file that `jupyter server password` writes. Started is only what
a login proved (login.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from provisioning.login import prove
from provisioning.materials import Materials
from provisioning.remote import NotServedError, Remote
from stacks.folders import PROJECT_ROOT
from stacks.outputs import HandOver, SeatSecrets

# Where a machine's jupyter is looked for, in this order, before its PATH: AWS' Deep Learning AMI, Azure's DSVM.
JUPYTER_CANDIDATES = (
    "/opt/pytorch/bin/jupyter",
    "/anaconda/envs/py38_default/bin/jupyter",
    "/anaconda/bin/jupyter",
)
# Where a Python is looked for to install a Jupyter on, where the machine has none: with the image's torch first.
PYTHON_CANDIDATES = (
    "/opt/pytorch/bin/python",
    "/anaconda/envs/py38_default/bin/python",
    "/anaconda/envs/azureml_py310_sdkv2/bin/python",
    "python3",
)
# Folders whose environments become kernels: Anaconda's on the DSVM.
ENVIRONMENTS = ("/anaconda/envs",)
REQUIREMENTS = PROJECT_ROOT / "requirements-rehearsal.txt"  # the very versions that every rehearsal runs
BOOT_SECONDS, INSTALL_SECONDS = 300, 600
START_SECONDS = 240  # fifty Jupyters that start at once on two cores need a good part of it
MATERIALS_SECONDS = 600.0
SHORT_SECONDS = 30.0
MOST_CLOCK_SECONDS = 120  # a machine's clock may differ so much from this computer's, which may be wrong itself

Outcome = Literal["changed", "unchanged"]
Guard = Literal["password", "token", "as it is"]  # what a participant needs to get in; "as it is": what it was last


@dataclass(frozen=True)
class Started:
    """How a start ended. `token` is "" where a password guards the seat; never show it in logs.

    `note` is a sentence about something that is wrong and in nobody's way yet, or "".
    """

    outcome: Outcome
    running: bool = True
    token: str = field(default="", repr=False)
    note: str = ""


def start(
    remote: Remote,
    handover: HandOver,
    secrets: SeatSecrets,
    *,
    materials: Materials | None = None,
    guard: Guard = "password",
    only_running: bool = False,
    anew: bool = False,
) -> Started:
    """Lay the materials and start the seat's Jupyter behind its guard, or leave alone what is right.

    A Jupyter that has started is proved; one that ran already and fails the proof is started anew. With `only_running`
    a stopped one is left alone; with `anew` one that is right is started anew as well. Raises SeatError.
    """
    laid = materials or Materials()
    parameters = {
        "materials": laid.version,
        "git_url": laid.git_url,
        "candidates": "\n".join(JUPYTER_CANDIDATES),
        "pythons": "\n".join(PYTHON_CANDIDATES),
        "environments": "\n".join(ENVIRONMENTS),
        "boot_seconds": str(BOOT_SECONDS),
        "interface": handover.interface,
        "workdir": handover.workdir,
        "port": str(remote.seat.notebook_port),
        "mode": guard,
        "password_hash": str(secrets.password_hash),
        "seconds": str(START_SECONDS),
        "only_running": "yes" if only_running else "no",
        "anew": "yes" if anew else "no",
    }
    offers = {"materials": lambda: laid.archive, "requirements": REQUIREMENTS.read_bytes}
    longest = BOOT_SECONDS + MATERIALS_SECONDS + INSTALL_SECONDS + START_SECONDS + SHORT_SECONDS
    with remote.talk("start", parameters, seconds=longest) as talk:
        answer = talk.answer(offers)
        if answer["state"] == "stopped":
            return Started("unchanged", running=False)
        try:
            login = prove(remote, secrets, token=answer["token"])
        except NotServedError:
            if answer["state"] == "changed":
                raise
            talk.say(b"anew\n")  # it runs and does not work
            answer = talk.answer(offers)
            login = prove(remote, secrets, token=answer["token"])
    changed = answer["state"] == "changed" or answer["laid"] == "yes"
    return Started("changed" if changed else "unchanged", token=answer["token"], note=clock_note(login.clock))


def clock_note(clock: datetime | None) -> str:
    """What is wrong with the machine's clock, as a sentence; "" where nothing is."""
    ahead = (clock - datetime.now(timezone.utc)).total_seconds() if clock else 0.0
    if abs(ahead) <= MOST_CLOCK_SECONDS:
        return ""
    size = next(f"{abs(ahead) / each:.0f} {unit}" for each, unit in _UNITS if abs(ahead) >= each)
    return f"its clock is {size} {'ahead' if ahead > 0 else 'behind'}; certificates and the dates of files go wrong"


_UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"))


def stop(remote: Remote) -> Outcome:
    """End the seat's Jupyter and its kernels; files stay. Raises SeatError."""
    return "changed" if remote.script("stop", {}, seconds=SHORT_SECONDS)["state"] == "changed" else "unchanged"


def logs(remote: Remote, *, lines: int) -> str:
    """The last lines of the log of the seat's Jupyter, "" where it never ran. Raises SeatError."""
    return str(remote.script("logs", {"lines": str(lines)}, seconds=SHORT_SECONDS)["log"])
