"""The seats in the terminal, live: a table of all, those in need first; where it is piped, a line for each change."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from provisioning.inventory import Inventory
from provisioning.live import Light, Sight, Watch
from provisioning.report import harmless

if TYPE_CHECKING:
    from rich.table import Table

_REFRESH_SECONDS = 0.5
_MARKS: dict[Light, str] = {"red": "✗", "amber": "!", "green": "✓"}
_STYLES: dict[Light, str] = {"red": "red", "amber": "yellow", "green": "green"}
_NEED: tuple[Light, ...] = ("red", "amber", "green")
_LATE = 3  # looks missed before a seat's age is told


def show(inventory: Inventory, *, every: float) -> None:
    """Show the seats until Ctrl-C, each looked at again after so many seconds."""
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _table(inventory, every)
        else:
            _lines(inventory, every)


def _lines(inventory: Inventory, every: float) -> None:
    told: dict[str, str] = {}

    def seen(sight: Sight) -> None:
        line = f"{sight.seat.id}: {sight.light}, {harmless(sight.reason)}"
        if told.get(sight.seat.id) != line:
            told[sight.seat.id] = line
            print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    with Watch(inventory, every=every, seen=seen):
        while True:
            time.sleep(_REFRESH_SECONDS)


def _table(inventory: Inventory, every: float) -> None:
    from rich.live import Live

    with Watch(inventory, every=every) as watch, Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(_drawn(inventory, watch.sights(), every, live.console.size.height), refresh=True)
            time.sleep(_REFRESH_SECONDS)


def _drawn(inventory: Inventory, sights: Sequence[Sight], every: float, height: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    counts = {light: sum(sight.light == light for sight in sights) for light in _NEED}
    missing = len(inventory.seats) - len(sights)
    head = f"{inventory.stack}: {counts['red']} need help, {counts['amber']} to look at, {counts['green']} well"
    head += f", {missing} not seen yet" if missing else ""
    table = Table(box=box.SIMPLE_HEAD, title=f"{head}. Ctrl-C ends.", title_justify="left", title_style="bold")
    for name in ("Participant", "Seat", "How"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    ordered = sorted(sights, key=lambda sight: _NEED.index(sight.light))  # stable: then as in the roster
    room = max(height - 6, 1)
    for sight in ordered[:room]:
        age = time.time() - sight.at
        late = f" (seen {age:.0f} s ago)" if age > _LATE * every else ""
        how = Text(f"{_MARKS[sight.light]} {harmless(sight.reason)}{late}", _STYLES[sight.light])
        table.add_row(sight.seat.name, sight.seat.id, how, *(make(sight.facts) for make in _COLUMNS.values()))
    if len(ordered) > room:
        table.caption = f"and {len(ordered) - room} more, better off; a taller window shows them"
    return table


def _of(facts: Any, name: str, divisor: int = 1) -> str:
    value = facts.get(name)
    return "" if value is None else str(value // divisor)


_COLUMNS: dict[str, Callable[[Any], str]] = {
    "Tunnels": lambda facts: _of(facts, "tunnels"),
    "Kernels": lambda facts: _of(facts, "kernels"),
    "Busy": lambda facts: _of(facts, "busy"),
    "Idle min": lambda facts: _of(facts, "idle_minutes"),
    "Disk GiB": lambda facts: _of(facts, "free_mib", 1024),
    "Mem GiB": lambda facts: _of(facts, "memory_free_mib", 1024),
    "GPU": lambda facts: facts.get("gpu") or "",
}
