"""The results as a table: seconds, their ratio to the baseline, the goal, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.timing import Times

_HEAD = ("seconds", "median", "min", "max", "ratio", "goal", "met")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line. A baseline has no `baseline` and no `goal`."""

    name: str
    times: Times
    baseline: Times | None = None
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.times.median / self.baseline.median if self.baseline else None

    @property
    def is_met(self) -> bool:
        return self.ratio is None or self.goal is None or self.ratio <= self.goal

    def cells(self) -> tuple[str, ...]:
        """The line's text, column by column."""
        figures = (self.times.median, min(self.times.seconds), max(self.times.seconds))
        seconds = [f"{figure:.3f}" for figure in figures]
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        goal = "" if self.goal is None else f"<= {self.goal}"
        return (self.name, *seconds, ratio, goal, ("yes" if self.is_met else "NO") if goal else "")


def render(rows: Iterable[Row]) -> str:
    """The table in Markdown, its columns lined up for a terminal too."""
    lines = [_HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])
    return "\n".join(_line(cells, widths) for cells in (lines[0], rule, *lines[1:]))


def _line(cells: Iterable[str], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
