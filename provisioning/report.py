"""What the organiser sees: progress while it runs, a table at the end, JSON for programs. Never a secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from provisioning.fleet import SeatResult

_MARKS = {
    "changed": "[green]✓[/] {}",
    "unchanged": "[green]✓[/] {}",
    "failed": "[red]✗[/] {}",
    "interrupted": "[yellow]–[/] {}",
}


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[SeatResult], None]]:
    """A live bar on a terminal, a plain line a seat when piped; both on standard error."""
    if not sys.stderr.isatty():

        def line(result: SeatResult) -> None:
            print(f"{result.seat.id}: {result.outcome} after {result.seconds:.1f} s", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        failed = 0

        def step(result: SeatResult) -> None:
            nonlocal failed
            failed += result.outcome == "failed"
            bar.update(task, advance=1, description=title + (f", [red]{failed} failed[/]" if failed else ""))

        yield step


def show(
    stack: str,
    results: Sequence[SeatResult],
    columns: Mapping[str, Callable[[SeatResult], str]],
    *,
    as_json: bool,
    again: str,
) -> None:
    """Print a row a seat, failures last with their reasons, and the command that does only those again (`again`)."""
    if as_json:
        print(
            json.dumps(
                {"stack": stack, "seats": [_as_dict(result) for result in results]}, ensure_ascii=False, indent=2
            )
        )
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=False)
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("Participant", "Seat", "Outcome", *columns):
        name = title == "Participant"
        table.add_column(title, overflow="fold", no_wrap=not name, min_width=12 if name else None)
    bad = [result for result in results if result.outcome in ("failed", "interrupted")]
    for result in [*[result for result in results if result not in bad], *bad]:
        cells = [escape(make(result)) for make in columns.values()]
        mark = _MARKS[result.outcome].format(result.details.get("state", result.outcome))
        table.add_row(escape(result.seat.name), escape(result.seat.id), mark, *cells)
    console.print(table)
    for result in results:
        if "url" in result.details and "?token=" in result.details["url"]:  # too long for a table, and to be copied
            console.print(f"{escape(result.seat.id)}  {escape(result.details['url'])}", soft_wrap=True)
    for result in bad:
        console.print(f"[bold]{escape(result.seat.id)}[/]: {escape(result.reason)}.", soft_wrap=True)
        for line in result.evidence.splitlines():
            console.print(f"    {escape(line)}", style="dim", soft_wrap=True)
    good, all_ = len(results) - len(bad), len(results)
    told = f"{good} of {all_} seat{'s' * (all_ > 1)} {'is' if good == 1 else 'are'} well."
    console.print(told, soft_wrap=True)
    if bad:
        console.print(
            f"Again for the others: {again} --only {','.join(result.seat.id for result in bad)}", soft_wrap=True
        )


def _as_dict(result: SeatResult) -> dict[str, Any]:
    seen = {"id": result.seat.id, "name": result.seat.name, "outcome": result.outcome}
    if result.reason:
        seen |= {"reason": result.reason, "evidence": result.evidence}
    return {**seen, "seconds": round(result.seconds, 2), **result.details}


def exit_code(results: Sequence[SeatResult]) -> int:
    """0 where every seat is well, else 1."""
    return int(any(result.outcome in ("failed", "interrupted") for result in results))
