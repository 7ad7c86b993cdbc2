"""How a seat is: the machine, who is connected, Jupyter and its kernels. Changes nothing.

One exec and one login serve for as long as the connection does: each further look costs a line there and back, and one
request to Jupyter.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from provisioning.login import Login, kernels, prove
from provisioning.notebook import SHORT_SECONDS, clock_note
from provisioning.remote import NotServedError, Remote
from stacks.errors import SeatError
from stacks.outputs import SeatSecrets

_NUMBERS = ("free_mib", "disk_mib", "memory_free_mib", "memory_mib", "tunnels")
_GPU_LINE = 3  # numbers: per cent at work, MiB used, MiB of all
_MIB = 1024


@dataclass(frozen=True)
class Seen:
    """How a seat was. `fault` is why its participant can't work, as a sentence, or ""; `note` what else is wrong.

    `facts`, each None where unknown: state (running, stopped, died), since (a moment), password (yes: the stack's;
    token, no, or other: set by hand), free_mib and disk_mib of the home's disk, memory_free_mib and memory_mib of the
    machine, tunnels (SSH connections that only forward, or have a terminal), kernels, busy (kernels that compute),
    idle_minutes (of the last kernel that did something), gpu (words).
    """

    facts: dict[str, Any]
    fault: str = ""
    evidence: str = ""
    note: str = ""


def looks(remote: Remote, secrets: SeatSecrets) -> Generator[Seen, None, None]:
    """A look for each that is asked for, over one exec. Raises SeatError where the machine can't be asked any more."""
    jupyter = _Jupyter(remote, secrets)
    with remote.talk("status", {"password_hash": str(secrets.password_hash)}, seconds=SHORT_SECONDS) as talk:
        while True:
            yield _seen(talk.answer(), jupyter)
            talk.allow(SHORT_SECONDS)
            talk.say(b"look\n")


def _seen(answer: dict[str, Any], jupyter: _Jupyter) -> Seen:
    facts: dict[str, Any] = {"state": answer["state"], "since": None, "password": answer["password"]}
    facts |= {name: int(answer[name]) if answer[name] else None for name in _NUMBERS}
    facts |= {"kernels": None, "busy": None, "idle_minutes": None, "gpu": _gpu(answer["gpus"])}
    if answer["state"] == "died":
        return Seen(facts, "Jupyter has died; `fab start-notebook` starts it", answer.get("log", ""))
    if answer["state"] != "running":
        return Seen(facts)
    if answer["since"]:
        facts["since"] = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(int(answer["since"])))
    if answer["password"] not in ("yes", "token"):
        return Seen(facts)  # whoever set it by hand knows how to log in; we don't
    try:
        facts |= jupyter.ask(answer["pid"], answer["token"])
    except SeatError as error:
        if error.passing:
            raise  # the connection is gone
        return Seen(facts, str(error), error.evidence)
    return Seen(facts, note=jupyter.note)


class _Jupyter:
    """The login to a seat's Jupyter, kept while it lasts."""

    def __init__(self, remote: Remote, secrets: SeatSecrets) -> None:
        self._remote = remote
        self._secrets = secrets
        self._login: Login | None = None
        self._pid = ""
        self.note = ""

    def ask(self, pid: str, token: str) -> dict[str, Any]:
        """What its kernels do. Raises NotServedError; a SeatError where the connection breaks off."""
        if self._login is None or pid != self._pid:
            self._login = prove(self._remote, self._secrets, token=token)
            self._pid = pid
            self.note = clock_note(self._login.clock)
        try:
            found = kernels(self._remote, self._login)
        except NotServedError:
            self._login = None  # it may be over; the next look logs in
            raise
        idle = None if found.idle_seconds is None else int(found.idle_seconds // 60)
        return {"kernels": found.count, "busy": found.busy, "idle_minutes": 0 if found.busy else idle}


def _gpu(lines: str) -> str | None:
    """The GPUs in words, as "35 %, 3.1 of 15.0 GiB"; None where there is none, or it can't be asked."""
    told = []
    for line in lines.splitlines():
        numbers = [each.strip() for each in line.split(",")]
        if len(numbers) == _GPU_LINE and all(each.isdigit() for each in numbers):
            busy, used, all_ = map(int, numbers)
            told.append(f"{busy} %, {used / _MIB:.1f} of {all_ / _MIB:.1f} GiB")
    return "; ".join(told) or None
