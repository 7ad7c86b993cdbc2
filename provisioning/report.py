"""What the organiser sees: progress while it runs, a table at the end, JSON for programs. Never a secret."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from provisioning.fleet import SeatResult
from stacks.outputs import HandOverSeat

_MARKS = {"changed": "✓", "unchanged": "✓", "failed": "✗", "interrupted": "–"}
_COLOURS = {"changed": "32", "unchanged": "32", "failed": "31", "interrupted": "33"}  # SGR: green, red, yellow
_DIM = "2"
_GAP = 2  # columns between two others
_FEW = 4  # seats that the progress names
_LEAST_NAME = 12  # columns that a name keeps on a narrow terminal


@contextmanager
def progress(title: str, seats: Sequence[HandOverSeat]) -> Iterator[Callable[[SeatResult], None]]:
    """A live bar on a terminal, with the last few by name; a plain line a seat when piped. Both on standard error."""
    if not sys.stderr.isatty():

        def line(result: SeatResult) -> None:
            print(f"{result.seat.id}: {result.outcome} after {result.seconds:.1f} s", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        left = {seat.id: None for seat in seats}
        failed = 0

        def told() -> str:
            last = f", waiting for {', '.join(left)}" if 0 < len(left) <= _FEW else ""
            return title + (f", [red]{failed} failed[/]" if failed else "") + last

        task = bar.add_task(told(), total=len(seats))

        def step(result: SeatResult) -> None:
            nonlocal failed
            failed += result.outcome == "failed"
            left.pop(result.seat.id, None)
            bar.update(task, advance=1, description=told())

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
    bad = [result for result in results if not result.is_well]
    ordered = [*(result for result in results if result.is_well), *bad]
    rows = [
        (result.seat.name, result.seat.id, _outcome(result), *(make(result) for make in columns.values()))
        for result in ordered
    ]
    colours = [_COLOURS[result.outcome] for result in ordered]
    print(_table(("Participant", "Seat", "Outcome", *columns), rows, colours))
    for result in ordered:
        if "?token=" in str(result.details.get("url")):  # too long for a table, and to be copied
            print(f"{result.seat.id}  {result.details['url']}")
        if note := result.details.get("note"):
            print(f"{_coloured(result.seat.id, '33')}: {harmless(note)}.")
    for result in (result for result in bad if result.reason):
        print(f"{_coloured(result.seat.id, '1')}: {harmless(result.reason)}.")
        for line in harmless(result.evidence).splitlines():
            print(_coloured(f"    {line}", _DIM))
    good, all_ = len(results) - len(bad), len(results)
    print(f"{good} of {all_} seat{'s' * (all_ > 1)} {'is' if 1 in (good, all_) else 'are'} well.")
    if bad:
        print(f"Again for the others: {harmless(again)} --failed")


def address(result: SeatResult) -> str:
    """A column: where the notebook is, without its token."""
    return str(result.details.get("url", "")).partition("/?")[0]


def show_output(results: Sequence[SeatResult]) -> None:
    """Print what a command printed on each seat, under its id. Bytes that are no UTF-8 are shown as such."""
    for result in results:
        how = f"exit {result.details['exit']}" if "exit" in result.details else result.reason
        print(f"== {result.seat.id}: {how}")
        print(harmless(str(result.details.get("output", result.evidence)).rstrip("\n")))


def harmless(text: str) -> str:
    """What a machine printed, without what would steer the organiser's terminal: it is its participant's machine."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def _outcome(result: SeatResult) -> str:
    return f"{_MARKS[result.outcome]} {result.details.get('state', result.outcome)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str]) -> str:
    """The rows in columns; the third column in each row's colour. Names are cut where the terminal is too narrow."""
    widths = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]
    if sys.stdout.isatty():
        over = sum(widths) + _GAP * (len(widths) - 1) + 3 - shutil.get_terminal_size().columns
        widths[0] = max(widths[0] - max(over, 0), min(widths[0], _LEAST_NAME))
    lines = []
    for cells, colour in zip((head, *rows), ("1", *colours), strict=True):
        padded = [_fitted(cell, width) for cell, width in zip(cells, widths, strict=True)]
        padded[2] = _coloured(padded[2], colour)
        lines.append(f"  {(' ' * _GAP).join(padded)}".rstrip())
    rule = "─" * (sum(widths) + _GAP * (len(widths) - 1) + 2)
    return "\n".join(["", lines[0], f" {rule}", *lines[1:], ""])


def _fitted(cell: str, width: int) -> str:
    if _width(cell) > width:
        while _width(cell) >= width:
            cell = cell[:-1]
        cell += "…"
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    """The columns that a text takes on a terminal: two for East Asia's wide letters, none for marks on others."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(letter) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def _coloured(text: str, code: str) -> str:
    """The text in a colour, on a terminal that wants one (https://no-color.org)."""
    return f"\x1b[{code}m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def _as_dict(result: SeatResult) -> dict[str, Any]:
    seen = {"id": result.seat.id, "name": result.seat.name, "outcome": result.outcome}
    if result.reason:
        seen |= {"reason": result.reason, "evidence": result.evidence}
    return {**seen, "seconds": round(result.seconds, 2), **result.details}


def exit_code(results: Sequence[SeatResult]) -> int:
    """0 where every seat is well, else 1."""
    return int(not all(result.is_well for result in results))
