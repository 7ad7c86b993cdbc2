"""One function over all seats: side by side, each on its own; a bad seat costs nobody else anything."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import paramiko

from provisioning.remote import Remote, connect
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

MOST_AT_ONCE = 64  # threads; above that two cores only wait longer
RETRY_SECONDS = (1.0, 2.0, 4.0)  # pauses before trying again what waiting may heal: a machine that still boots

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


def over(
    seats: Sequence[HandOverSeat],
    key: paramiko.PKey,
    work: Work,
    *,
    done: Callable[[SeatResult], None] = lambda _: None,
) -> list[SeatResult]:
    """Connect to every seat and do the work there; returns a result for each, in the order of the seats.

    `done` is called in this thread as each seat ends. Ctrl-C ends the waiting: seats not done are `interrupted`.
    """
    waiting: queue.SimpleQueue[HandOverSeat] = queue.SimpleQueue()
    for seat in seats:
        waiting.put(seat)
    ended: queue.SimpleQueue[SeatResult] = queue.SimpleQueue()
    stopping = threading.Event()

    def worker() -> None:
        while not stopping.is_set():
            try:
                seat = waiting.get_nowait()
            except queue.Empty:
                return
            ended.put(_one(seat, key, work, stopping))

    for _ in range(min(len(seats), MOST_AT_ONCE)):
        threading.Thread(target=worker, daemon=True).start()  # daemons: none holds up the end after Ctrl-C
    results: dict[str, SeatResult] = {}
    try:
        while len(results) < len(seats):
            result = ended.get()
            results[result.seat.id] = result
            done(result)
    except KeyboardInterrupt:
        stopping.set()
        for seat in seats:
            if seat.id not in results:
                reason = "was not finished; run this again to finish it"
                results[seat.id] = SeatResult(seat, "interrupted", reason)
    return [results[seat.id] for seat in seats]


def _one(seat: HandOverSeat, key: paramiko.PKey, work: Work, stopping: threading.Event) -> SeatResult:
    began = time.monotonic()
    for pause in (*RETRY_SECONDS, None):
        try:
            with connect(seat, key) as remote:
                outcome, details = work(remote)
            return SeatResult(seat, outcome, seconds=time.monotonic() - began, details=details)
        except SeatError as error:
            if error.passing and pause is not None and not stopping.wait(pause):
                continue
            return SeatResult(seat, "failed", str(error), error.evidence, time.monotonic() - began)
        except Exception as error:  # a fault of ours: named with its seat, and the other seats go on
            return SeatResult(
                seat, "failed", f"unexpected {type(error).__name__}: {error}", "", time.monotonic() - began
            )
    raise AssertionError("the last round returns")
