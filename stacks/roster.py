"""Who takes part: read from a CSV file, or numbered.

Knows nothing of machines. Every fault of a file is reported at once, with its line.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from stacks.errors import SettingsError
from stacks.settings import MOST_PARTICIPANTS, SeminarSettings

COLUMNS = ("id", "name", "email")
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?")  # fits resource names, folders, tags and host names alike
_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+")
_LONGEST_NAME = 200
_JOINERS = "\u200c\u200d"  # Persian and Indic names are spelt with them


@dataclass(frozen=True)
class Participant:
    """A person. `id` never changes; everything of theirs is found by it."""

    id: str
    name: str
    email: str = ""


def enrol(settings: SeminarSettings) -> tuple[Participant, ...]:
    """The participants that the settings name. Raises SettingsError."""
    if settings.roster is None:
        return numbered(settings.participants)
    return read_roster(settings.roster)


def numbered(count: int) -> tuple[Participant, ...]:
    """Participants 01, 02, …: two digits up to 99, so that raising the count from 9 to 10 renames nobody."""
    return tuple(Participant(f"{n:02}", f"Participant {n:02}") for n in range(1, count + 1))


def read_roster(path: Path) -> tuple[Participant, ...]:
    """Read a CSV with a header line: `name`, and optionally `id` and `email`, in any order and upper or lower case.

    UTF-8 with or without a byte order mark; comma, semicolon (Excel in much of Europe) or tab. Empty lines are skipped.
    Raises SettingsError with every fault at once.
    """
    lines = _lines(path)
    if not lines:
        raise SettingsError(f"{path.name} is empty; expected a header line such as id,name,email and a line a person.")
    places = _places(path.name, *lines[0])
    if len(lines) == 1:
        raise SettingsError(f"{path.name} has a header but nobody in it; add a line for each participant.")
    people, faults = _people(path.name, places, lines[1:])
    if len(people) > MOST_PARTICIPANTS:
        faults.append(f"{path.name} has {len(people)} participants; expected at most {MOST_PARTICIPANTS}.")
    if faults:
        raise SettingsError(faults)
    return tuple(people)


def has_ids(path: Path) -> bool:
    """Whether the roster names ids itself. Where it does not, they follow the order of its lines."""
    lines = _lines(path)
    return bool(lines) and "id" in {cell.lower() for cell in lines[0][1]}


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    rows = csv.reader(io.StringIO(_text_of(path), newline=""), delimiter=_delimiter(path), strict=False)
    try:
        lines = [(rows.line_num, [cell.strip() for cell in row]) for row in rows]
    except csv.Error as error:
        raise SettingsError(
            f"{path.name} line {rows.line_num}: {error}; look for a quote that is not closed."
        ) from error
    return [(number, row) for number, row in lines if any(row)]


def _text_of(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(
            f"{path} does not exist; expected a roster. Write it, or set seminar:participants."
        ) from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read ({error.strerror}); expected a CSV file.") from error
    if b"\0" in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):  # csv itself takes it from Python 3.11 on
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise SettingsError(f"{path.name} line {line} has a NUL character; save the file as text, 'CSV UTF-8'.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path.name} line {line} is not UTF-8; in Excel save it as 'CSV UTF-8 (Comma delimited)'."
        ) from error


def _delimiter(path: Path) -> str:
    header = next((line for line in _text_of(path).splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def _places(source: str, number: int, header: list[str]) -> dict[str, int]:
    names = [cell.lower() for cell in header]
    faults = [
        f"{source} line {number}: column {name!r} is not known; expected {', '.join(COLUMNS)}."
        for name in names
        if name and name not in COLUMNS
    ]
    faults += [f"{source} line {number}: column {c} stands there twice." for c in COLUMNS if names.count(c) > 1]
    if "name" not in names:
        faults = [f"{source} line {number} has no column called name; expected a header such as id,name,email."]
    if faults:
        raise SettingsError(faults)
    return {name: names.index(name) for name in names if name}


def _people(
    source: str, places: dict[str, int], lines: list[tuple[int, list[str]]]
) -> tuple[list[Participant], list[str]]:
    people: list[Participant] = []
    faults: list[str] = []
    line_of: dict[str, int] = {}
    for order, (number, row) in enumerate(lines, start=1):
        cells = {name: row[place] if place < len(row) else "" for name, place in places.items()}
        person = Participant(
            id=cells["id"].lower() if "id" in places else f"{order:02}",
            name=cells["name"],
            email=cells.get("email", ""),
        )
        found = _faults_of(person)
        width = max(places.values()) + 1
        if any(row[width:]):
            found.append(f"has {len(row)} columns; expected {width}. Put quotes around a name with a comma.")
        if person.id in line_of:
            found.append(f"has the id {person.id!r} of line {line_of[person.id]}; give each person an id of their own.")
        line_of.setdefault(person.id, number)
        faults += [f"{source} line {number}: {fault}" for fault in found]
        people.append(person)
    return people, faults


def _faults_of(person: Participant) -> list[str]:
    faults = []
    if not _ID.fullmatch(person.id):
        faults.append(f"id {person.id[:40]!r}; expected 1 to 31 of a-z, 0-9 and dash, for example ada.")
    if not person.name:
        faults.append("has no name; write one.")
    elif not all(_stands_in_a_name(sign) for sign in person.name) or len(person.name) > _LONGEST_NAME:
        faults.append(f"name {person.name[:40]!r}; expected at most {_LONGEST_NAME} printable characters.")
    if person.email and not _EMAIL.fullmatch(person.email):
        faults.append(f"email {person.email[:80]!r}; expected an address such as ada@example.org, or nothing.")
    return faults


def _stands_in_a_name(sign: str) -> bool:
    # isprintable() refuses every space but ASCII's, such as the one that Japanese names are typed with.
    return sign.isprintable() or sign in _JOINERS or unicodedata.category(sign) == "Zs"
