"""One function over all seats: side by side, each on its own; a bad seat costs nobody else anything.

One thread, the caller's, dials all machines and gathers what ends; a worker is taken up only by a seat whose machine
has greeted. So a dead machine holds up nothing but its own result.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import paramiko

from provisioning.dial import Dialler, Line
from provisioning.remote import Remote, connect
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

MOST_AT_ONCE = 64  # workers; above that two cores only wait longer
MOST_DIALLED = 128  # machines that have not greeted yet: a descriptor each, two while both ports are tried
SPARE = 16  # machines dialled ahead, so that no worker waits for a round trip
YOUNG_SECONDS = 2.0  # a machine that has not greeted by then is not counted on
SEAT_SECONDS = 1800.0  # all patience with one seat that has greeted: a first start may install a Jupyter
RETRY_SECONDS = (1.0, 2.0, 4.0)  # pauses before the work is tried again after the connection broke off

Outcome = Literal["changed", "unchanged", "failed", "interrupted"]
Work = Callable[[Remote], tuple[Outcome, dict[str, Any]]]


@dataclass(frozen=True)
class SeatResult:
    """How one seat ended. `details` is the verb's own and may hold what only the organiser should see."""

    seat: HandOverSeat
    outcome: Outcome
    reason: str = ""
    evidence: str = ""
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_well(self) -> bool:
        return self.outcome in ("changed", "unchanged")


def over(
    seats: Sequence[HandOverSeat],
    key: paramiko.PKey,
    work: Work,
    *,
    connect_seconds: float,
    done: Callable[[SeatResult], None] = lambda _: None,
) -> list[SeatResult]:
    """Connect to every seat and do the work there; returns a result for each, in the order of the seats.

    A machine has `connect_seconds` to greet. `done` is called in this thread as each seat ends. Ctrl-C ends the
    waiting: seats not done are `interrupted`.
    """
    results: dict[str, SeatResult] = {}
    with Dialler(connect_seconds) as dialler:
        run = _Run(seats, key, work, dialler)
        try:
            while len(results) < len(seats):
                for result in run.step():
                    results[result.seat.id] = result
                    done(result)
        except KeyboardInterrupt:
            for seat in seats:
                if seat.id not in results:
                    reason = "was not finished; run this again to finish it"
                    results[seat.id] = SeatResult(seat, "interrupted", reason)
        finally:
            run.stop()
    return [results[seat.id] for seat in seats]


class _Run:
    """One pass over the seats: who waits, who is dialled, who is at work."""

    def __init__(self, seats: Sequence[HandOverSeat], key: paramiko.PKey, work: Work, dialler: Dialler) -> None:
        self._key = key
        self._work = work
        self._dialler = dialler
        self._waiting = deque(seats)
        self._began: dict[str, float] = {}
        self._tries: dict[str, int] = {}
        self._busy = 0  # lines that were given to the workers and have not ended
        self._workers = 0
        self._lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[SeatResult | Line] = queue.SimpleQueue()  # a line: to be tried again
        self._stopping = False

    def step(self) -> list[SeatResult]:
        """Go on until something ends or moves; returns the results that are there."""
        for _ in range(self._room()):
            seat = self._waiting.popleft()
            self._began[seat.id] = time.monotonic()
            self._dialler.add(seat)
        results = []
        for seat, how in self._dialler.step(YOUNG_SECONDS if self._waiting else None):
            if isinstance(how, Line):
                self._give(how)
            else:
                results.append(self._failed(seat, how))
        while True:
            try:
                ended = self._ended.get_nowait()
            except queue.Empty:
                return results
            self._busy -= 1
            if isinstance(ended, Line):
                self._dialler.add(ended.seat, pause=RETRY_SECONDS[self._tries[ended.seat.id]])
                self._tries[ended.seat.id] += 1
            else:
                results.append(ended)

    def stop(self) -> None:
        """Let the workers end. Daemons, so that none holds up the end after Ctrl-C."""
        self._stopping = True
        for _ in range(self._workers):
            self._lines.put(None)

    def _room(self) -> int:
        """How many more to dial now: as many as the workers will soon have hands for, dead machines not counted."""
        hands = MOST_AT_ONCE + SPARE - self._busy - self._dialler.younger_than(YOUNG_SECONDS)
        return max(min(hands, MOST_DIALLED - len(self._dialler), len(self._waiting)), 0)

    def _give(self, line: Line) -> None:
        self._lines.put(line)
        self._busy += 1
        if self._workers < min(self._busy, MOST_AT_ONCE):
            self._workers += 1
            threading.Thread(target=self._worker, daemon=True).start()

    def _worker(self) -> None:
        while (line := self._lines.get()) is not None and not self._stopping:
            self._ended.put(self._one(line))
            self._dialler.wake()
        if line is not None:
            line.sock.close()

    def _one(self, line: Line) -> SeatResult | Line:
        seat = line.seat
        tries = self._tries.setdefault(seat.id, 0)
        try:
            with connect(line, self._key, time.monotonic() + SEAT_SECONDS) as remote:
                outcome, details = self._work(remote)
            return SeatResult(seat, outcome, seconds=self._seconds(seat), details=details)
        except SeatError as error:
            return line if error.passing and tries < len(RETRY_SECONDS) else self._failed(seat, error)
        except Exception as error:  # a fault of ours: named with its seat, and the other seats go on
            return self._failed(seat, SeatError(f"unexpected {type(error).__name__}: {error}"))

    def _failed(self, seat: HandOverSeat, error: SeatError) -> SeatResult:
        return SeatResult(seat, "failed", str(error), error.evidence, self._seconds(seat))

    def _seconds(self, seat: HandOverSeat) -> float:
        return time.monotonic() - self._began[seat.id]
