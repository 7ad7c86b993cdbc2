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
SEAT_SECONDS = 1800.0  # all patience with one seat that has greeted: a first start may install a Jupyter
# sshd closes a connection that does not log in within 120 seconds (LoginGraceTime): one that waited for a worker for so
# long is made anew.
STALE_SECONDS = 60.0
WANTED_DESCRIPTORS = 4096  # two for each seat that is dialled, one for each at work
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
    seat_seconds: float = SEAT_SECONDS,
    done: Callable[[SeatResult], None] = lambda _: None,
) -> list[SeatResult]:
    """Connect to every seat and do the work there; returns a result for each, in the order of the seats.

    A machine has `connect_seconds` to greet, and `seat_seconds` for the work with all its tries. `done` is called in
    this thread as each seat ends. Ctrl-C ends the waiting: seats not done are `interrupted`.
    """
    results: dict[str, SeatResult] = {}
    with Dialler(connect_seconds) as dialler:
        run = _Run(seats, key, work, dialler, seat_seconds)
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

    def __init__(
        self, seats: Sequence[HandOverSeat], key: paramiko.PKey, work: Work, dialler: Dialler, seat_seconds: float
    ) -> None:
        self._seat_seconds = seat_seconds
        self._key = key
        self._work = work
        self._dialler = dialler
        self._waiting = deque(seats)
        self._most_dialled = (_descriptors() - 2 * MOST_AT_ONCE) // 2
        self._began: dict[str, float] = {}
        self._greeted: dict[str, float] = {}  # the first time
        self._tries: dict[str, int] = {}
        self._busy = 0  # lines that were given to the workers and have not ended
        self._workers = 0
        self._lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[SeatResult | Line] = queue.SimpleQueue()  # a line: to be tried again
        self._stopping = False

    def step(self) -> list[SeatResult]:
        """Go on until something ends or moves; returns the results that are there."""
        while self._waiting and len(self._dialler) + self._busy < self._most_dialled:
            seat = self._waiting.popleft()
            self._began[seat.id] = time.monotonic()
            self._dialler.add(seat)
        results = []
        for seat, how in self._dialler.step():
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
                self._dialler.add(ended.seat, pause=self._pause_of(ended))
            else:
                results.append(ended)

    def stop(self) -> None:
        """Let the workers end. Daemons, so that none holds up the end after Ctrl-C."""
        self._stopping = True
        for _ in range(self._workers):
            self._lines.put(None)

    def _pause_of(self, line: Line) -> float:
        tries = self._tries.get(line.seat.id, 0)
        return RETRY_SECONDS[tries - 1] if tries else 0.0

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
        """Do the work over the line. Returns it, closed, where that is to be tried again over another."""
        seat = line.seat
        deadline = self._greeted.setdefault(seat.id, time.monotonic()) + self._seat_seconds
        if time.monotonic() > line.greeted + STALE_SECONDS:
            line.sock.close()
            return line
        try:
            with connect(line, self._key, deadline) as remote:
                outcome, details = self._work(remote)
            return SeatResult(seat, outcome, seconds=self._seconds(seat), details=details)
        except SeatError as error:
            tries = self._tries[seat.id] = self._tries.get(seat.id, 0) + 1
            again = error.passing and tries <= len(RETRY_SECONDS) and time.monotonic() < deadline
            return line if again else self._failed(seat, error)
        except Exception as error:  # a fault of ours: named with its seat, and the other seats go on
            return self._failed(seat, SeatError(f"unexpected {type(error).__name__}: {error}"))

    def _failed(self, seat: HandOverSeat, error: SeatError) -> SeatResult:
        return SeatResult(seat, "failed", str(error), error.evidence, self._seconds(seat))

    def _seconds(self, seat: HandOverSeat) -> float:
        return time.monotonic() - self._began[seat.id]


def _descriptors() -> int:
    """How many descriptors this process may have open, having asked for enough. Windows knows no such limit."""
    try:
        import resource
    except ImportError:
        return WANTED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < WANTED_DESCRIPTORS:
        soft = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
