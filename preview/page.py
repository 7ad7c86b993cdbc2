"""A page in sections, and the two ways to write it: for a terminal, and as the Markdown of a pull request.

What came from a change (names, values, file names) is never taken for markup: whoever proposes one writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

_PIPE_COLUMNS = 120  # how wide it is where nobody says


class Data(str):
    """Text that came from the change: shown letter by letter."""

    __slots__ = ()


class Strong(str):
    """Text that must not be overlooked."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """Rows under a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it. `is_long` folds it where that can be unfolded."""

    title: str
    body: tuple[str | Table, ...]
    is_long: bool = False


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The page as GitHub's Markdown."""
    lines = [f"## {_marked_down(title)}", ""]
    for section in sections:
        if section.is_long:
            lines += ["<details>", f"<summary>{_marked_down(section.title)}</summary>", ""]
        elif section.title:
            lines += [f"### {_marked_down(section.title)}", ""]
        listed = len(section.body) > 1
        for part in section.body:
            if isinstance(part, Table):
                lines += ["", *_table_marked_down(part), ""]
            else:
                lines.append(f"- {_marked_down(part)}" if listed else _marked_down(part))
        lines.append("")
        if section.is_long:
            lines += ["</details>", ""]
    return "\n".join(lines)


def literally(lines: Sequence[str]) -> str:
    """Lines as a block of Markdown that nothing in them can end."""
    return "\n".join(["```text", *(_printable(line).replace("`", "'") for line in lines), "```"])


def _table_marked_down(table: Table) -> list[str]:
    rows = [table.head, ("---",) * len(table.head), *(tuple(_marked_down(cell) for cell in row) for row in table.rows)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _marked_down(text: str) -> str:
    if isinstance(text, Data):
        inner = _printable(text).replace("`", "'").replace("|", "\\|")
        return f"`{inner}`" if inner.strip() else ""
    # Code that is ours stays code; what lies between could hold a file's name, and so a tag, a link or a mention.
    parts = _printable(text).split("`")
    if len(parts) % 2 == 0:
        parts = ["'".join(parts)]
    for place in range(0, len(parts), 2):
        parts[place] = "".join(_HARMLESS.get(letter, letter) for letter in parts[place])
    whole = "`".join(parts)
    return f"**{whole}**" if isinstance(text, Strong) and whole else whole


_HARMLESS = {
    **{letter: f"\\{letter}" for letter in "\\*_[]|~#"},
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": "@\u200b",
}


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def print_page(title: str, sections: Sequence[Section]) -> None:
    """Print the page for people; in colours on a terminal that has them."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    def shown(text: str) -> Text:
        return Text(_printable(text), style="bold red" if isinstance(text, Strong) else "", overflow="fold")

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    console.print(Text(_printable(title), style="bold"))
    for section in sections:
        console.print()
        if section.title:
            console.print(Text(_printable(section.title), style="bold cyan"))
        for part in section.body:
            if isinstance(part, Table):
                drawn = RichTable(*part.head, box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
                for row in part.rows:
                    drawn.add_row(*map(shown, row))
                console.print(Padding(drawn, (0, 0, 0, 1), expand=False))
            else:
                console.print(Padding(shown(part), (0, 0, 0, 2), expand=False))
