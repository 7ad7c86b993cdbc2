"""The seats behind the board: how each is, and what may be asked of it. Its own thread is the loop's.

The watch looks from threads of its own; what it saw is handed to the loop. What is asked of a seat runs beside, over a
connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provisioning import fleet, notebook, remote
from provisioning.board_tiles import Job, Tile, text, tile
from provisioning.inventory import Inventory
from provisioning.live import Sight, Watch
from stacks.outputs import HandOverSeat

LOG_LINES = 200
_TICK_SECONDS = 1.0
_LATE_SECONDS = 20.0  # at least; a machine that does not answer is told after 10
_LATE_LOOKS = 3
_MOST_AT_ONCE = 8  # logs that are fetched side by side


class Board:
    """All tiles, newest first of each seat. Made, entered and used in a loop; used as an asynchronous context."""

    def __init__(self, inventory: Inventory, *, every_seconds: float) -> None:
        self._inventory = inventory
        self._key = remote.read_key(inventory.secrets.organiser_key)
        self._seats = {seat.id: seat for seat in inventory.seats}
        self._late_seconds = max(_LATE_SECONDS, _LATE_LOOKS * every_seconds)
        self._loop = asyncio.get_running_loop()
        self._watch = Watch(inventory, every=every_seconds, seen=self._saw_from_a_thread)
        self._sights: dict[str, Sight] = {}
        self._jobs: dict[str, Job] = {}
        self._listeners: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(_MOST_AT_ONCE)
        self.closing = False
        self.tiles: dict[str, Tile] = {}
        for seat in inventory.seats:
            self._refresh(seat)

    async def __aenter__(self) -> Board:
        self._watch.start()
        self._begin(self._notice_lateness())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Tell everybody who listens that it is over, and end all connections."""
        self.closing = True
        self._wake()
        self._watch.stop()
        for task in self._tasks:
            task.cancel()

    @property
    def seminar(self) -> str:
        return self._inventory.handover.seminar

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever a tile has changed, or the board closes."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    def saw(self, sight: Sight) -> None:
        """A seat was looked at."""
        self._sights[sight.seat.id] = sight
        self._refresh(sight.seat)

    async def log(self, seat_id: str) -> tuple[str, str]:
        """The last lines of the seat's log, and "" or why they can't be had. Raises KeyError for an unknown seat."""
        seat = self._seats[seat_id]
        async with self._few:
            result = await self._on(seat, lambda at: ("unchanged", {"log": notebook.logs(at, lines=LOG_LINES)}))
        secrets = self._inventory.secrets.seats[seat_id]
        return text(str(result.details.get("log", "")), secrets), text(result.reason, secrets)

    def restart(self, seat_id: str) -> bool:
        """Begin to restart the seat's notebook; the tile's job says how it goes. False where that is under way.

        Raises KeyError for an unknown seat.
        """
        seat = self._seats[seat_id]
        job = self._jobs.get(seat_id)
        if job and job.state == "running":
            return False
        self._jobs[seat_id] = Job("running", "restarting the notebook")
        self._refresh(seat)
        self._begin(self._restart(seat))
        return True

    async def _restart(self, seat: HandOverSeat) -> None:
        secrets = self._inventory.secrets.seats[seat.id]

        def work(at: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
            started = notebook.start(at, self._inventory.handover, secrets, guard="as it is", anew=True)
            return started.outcome, {"note": started.note}

        result = await self._on(seat, work)
        if result.is_well:
            note = f"; {result.details['note']}" if result.details["note"] else ""
            self._jobs[seat.id] = Job("done", f"the notebook runs again, and its participant can log in{note}")
        else:
            self._jobs[seat.id] = Job("failed", f"the notebook was not restarted: {result.reason}", result.evidence)
        self._refresh(seat)
        self._watch.look_now(seat.id)

    async def _on(self, seat: HandOverSeat, work: fleet.Work) -> fleet.SeatResult:
        """Do the work on one seat, in a thread that Ctrl-C does not wait for."""
        done: asyncio.Future[fleet.SeatResult] = self._loop.create_future()

        def told(result: fleet.SeatResult) -> None:
            if not done.done():  # the board closes
                done.set_result(result)

        def run() -> None:
            results = fleet.over((seat,), self._key, work, connect_seconds=self._inventory.connect_seconds)
            self._tell(lambda: told(results[0]))

        threading.Thread(target=run, name=f"work on {seat.id}", daemon=True).start()
        return await done

    async def _notice_lateness(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for sight in self._sights.values():
                self._refresh(sight.seat)

    def _refresh(self, seat: HandOverSeat) -> None:
        sight, job = self._sights.get(seat.id), self._jobs.get(seat.id)
        late = sight is not None and time.time() - sight.at > self._late_seconds
        new = tile(seat, self._inventory.secrets.seats[seat.id], sight, job, late=late)
        if new != self.tiles.get(seat.id):
            self.tiles[seat.id] = new
            self._wake()

    def _wake(self) -> None:
        for event in self._listeners:
            event.set()

    def _saw_from_a_thread(self, sight: Sight) -> None:
        self._tell(lambda: self.saw(sight))

    def _tell(self, what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self._loop.call_soon_threadsafe(what)

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself would forget it
        task.add_done_callback(self._tasks.discard)
