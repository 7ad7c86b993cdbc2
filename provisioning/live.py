"""All seats, live: each is looked at every few seconds over a connection that stays open, and judged in words.

A thread a seat, which sleeps most of the time: a machine that hangs keeps nobody else from being seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import paramiko

from provisioning import remote
from provisioning.dial import Dialler, Line
from provisioning.inventory import Inventory
from provisioning.looking import Seen, looks
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

Light = Literal["green", "amber", "red"]

EVERY_SECONDS = 5.0
_AGAIN_SECONDS = 5.0  # before a machine that could not be asked is dialled again
_REFUSED_SECONDS = 30.0  # where it refused: a changed host key, another key; waiting heals that seldom
_STEP_SECONDS = 0.5  # the longest that a thread which dials does not hear `stop`
_LEAST_DISK_MIB, _LITTLE_DISK_MIB = 100, 1024
_LITTLE_MEMORY = 0.05  # of the whole
_IDLE_MINUTES = 10


@dataclass(frozen=True)
class Sight:
    """How a seat was when it was last looked at. `reason` says it in words; `facts` are looking.Seen's.

    green: its participant is at work. amber: something wants an eye. red: the participant can't work.
    """

    seat: HandOverSeat
    light: Light
    reason: str
    evidence: str = ""
    at: float = field(default_factory=time.time)  # seconds since the epoch
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Watch:
    """Looks at every seat of an inventory until it is stopped. Used as a context."""

    def __init__(
        self, inventory: Inventory, *, every: float = EVERY_SECONDS, seen: Callable[[Sight], None] = lambda _: None
    ) -> None:
        """`every` in seconds. `seen` is called after each look, in the seat's own thread."""
        key = remote.read_key(inventory.secrets.organiser_key)
        self._seats = [_Seat(seat, inventory, key, every, self._keep) for seat in inventory.seats]
        self._seen = seen
        self._sights: dict[str, Sight] = {}

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        for seat in self._seats:
            seat.start()

    def stop(self) -> None:
        """End all connections. Returns soon, also where a machine hangs."""
        for seat in self._seats:
            seat.stop()

    def sights(self) -> list[Sight]:
        """The newest of each seat that was seen, in the order of the roster."""
        return [self._sights[seat.id] for seat in self._seats if seat.id in self._sights]

    def look_now(self, seat_id: str) -> None:
        """Look at a seat at once, for example when its Jupyter was started anew."""
        for seat in self._seats:
            if seat.id == seat_id:
                seat.hurry()

    def _keep(self, sight: Sight) -> None:
        self._sights[sight.seat.id] = sight
        self._seen(sight)


class _Seat:
    """One seat and its thread."""

    def __init__(
        self,
        seat: HandOverSeat,
        inventory: Inventory,
        key: paramiko.PKey,
        every: float,
        seen: Callable[[Sight], None],
    ) -> None:
        self.id = seat.id
        self._seat = seat
        self._secrets = inventory.secrets.seats[seat.id]
        self._connect_seconds = inventory.connect_seconds
        self._key = key
        self._every = every
        self._seen = seen
        self._wanted = threading.Event()  # a look, sooner than planned
        self._stopping = False
        self._connection: remote.Remote | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"watch {self.id}", daemon=True).start()

    def stop(self) -> None:
        self._stopping = True
        self._wanted.set()
        if connection := self._connection:
            connection.close()

    def hurry(self) -> None:
        self._wanted.set()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._stay()
            except SeatError as error:
                if not self._stopping:
                    self._seen(Sight(self._seat, "red", str(error), error.evidence))
                    self._pause(_AGAIN_SECONDS if error.passing else _REFUSED_SECONDS)
            except Exception as error:  # a fault of ours: named with its seat, and looked past
                self._seen(Sight(self._seat, "red", f"unexpected {type(error).__name__}: {error}"))
                self._pause(_REFUSED_SECONDS)

    def _stay(self) -> None:
        """Look until the connection breaks off, which is a SeatError, or the watch is stopped."""
        line = self._dial()
        if line is None:
            return
        with remote.connect(line, self._key, deadline=float("inf")) as connection:
            self._connection = connection
            try:
                for seen in looks(connection, self._secrets):
                    light, reason = judge(seen)
                    self._seen(Sight(self._seat, light, reason, seen.evidence, facts=seen.facts))
                    self._pause(self._every)
                    if self._stopping:
                        return
            finally:
                self._connection = None

    def _dial(self) -> Line | None:
        """None where the watch is stopped meanwhile. Raises SeatError."""
        with Dialler(self._connect_seconds) as dialler:
            dialler.add(self._seat)
            while not self._stopping:
                for _, how in dialler.step(_STEP_SECONDS):
                    if isinstance(how, SeatError):
                        raise how
                    return how
        return None

    def _pause(self, seconds: float) -> None:
        self._wanted.wait(seconds)
        self._wanted.clear()


def judge(seen: Seen) -> tuple[Light, str]:
    """How a seat is doing, for someone who looks at fifty: a light, and the reason in words."""
    facts = seen.facts
    free, memory_free, memory = facts["free_mib"], facts["memory_free_mib"], facts["memory_mib"]
    full = free is not None and free < _LEAST_DISK_MIB
    if seen.fault or facts["state"] == "stopped" or full:
        told = (
            "the notebook is not started" if facts["state"] == "stopped" else f"the disk is full, {free} MiB are free"
        )
        return "red", seen.fault or told
    eyes = [seen.note] if seen.note else []
    if free is not None and free < _LITTLE_DISK_MIB:
        eyes.append(f"little disk is left, {free} MiB")
    if memory and memory_free is not None and memory_free < _LITTLE_MEMORY * memory:
        eyes.append(f"little memory is left, {memory_free} MiB")
    if facts["password"] in ("no", "other"):
        eyes.append("its password is not the stack's")
    if facts["tunnels"] == 0:
        eyes.append("nobody is connected")
    if eyes:
        return "amber", "; ".join(eyes)
    if facts["busy"]:
        return "green", "a kernel is at work"
    if facts["kernels"] == 0:
        return "green", "no notebook is open"
    idle = facts["idle_minutes"]
    return "green", f"nothing ran for {idle} minutes" if idle is not None and idle >= _IDLE_MINUTES else "at work"
