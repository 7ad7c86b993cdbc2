"""A comparison in sections, for people: what comes first is who loses a machine. The facts are compare.py's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from preview.compare import DELETED, REPLACED, Comparison, SeatChange
from preview.page import Data, Section, Strong, Table
from preview.plan import short


def of_comparison(found: Comparison) -> list[Section]:
    """The whole comparison."""
    against = f"{found.ref} ({found.commit[:10]})"
    if found.faults:
        why = (f"The settings of {against} can't be read, so that nothing is compared:", *map(Data, found.faults))
        return [Section("Not compared", why)]
    parts = [_verdict(found, against), *_settings(found), *_people(found), *_machines(found), *_resources(found)]
    if found.notes:
        parts.insert(1, Section("To know", found.notes))
    return parts


def _verdict(found: Comparison, against: str) -> Section:
    title = f"Against {against}"
    if found.is_new:
        return Section(title, ("This seminar is new.",))
    if not found.lost:
        nothing = not (found.settings or found.seats or found.resources)
        return Section(title, ("Nothing changes." if nothing else "Nobody who has a machine loses it.",))
    count = len(found.lost)
    who = ", ".join(seat.id for seat in found.lost[:10]) + (" and others" if count > 10 else "")
    said = f"{count} running seat{'s' * (count > 1)} would be lost to whoever sits there, with all files: {who}."
    return Section(title, (Strong(said),))


def _settings(found: Comparison) -> list[Section]:
    if not found.settings or found.is_new:
        return []
    rows = tuple(
        (f"seminar:{key}", Data(before or "(not set)"), Data(after or "(not set)"))
        for key, (before, after) in found.settings.items()
    )
    return [Section("Settings", (Table(("Setting", "Before", "After"), rows),))]


def _people(found: Comparison) -> list[Section]:
    rows = [
        (
            Strong(what) if seat.is_lost else what,
            Data(seat.id),
            Data(seat.before or ""),
            Data(seat.after or ""),
        )
        for seat in found.seats
        if (what := _happens_to(seat)) and not found.is_new
    ]
    if not rows:
        return []
    table = Table(("What", "Seat", "Before", "After"), tuple(rows))
    return [Section("Who joins, leaves, changes", (table,), is_long=len(rows) > _MANY)]


_MANY, _FEW = 12, 3  # how many are shown without being asked for, and how many of more than those


def _happens_to(seat: SeatChange) -> str:
    """What becomes of a person, "" for nothing."""
    if seat.before is None:
        return "joins"
    if seat.after is None:
        return "leaves"
    if seat.moves_from:
        return f"sat at {seat.moves_from}, gets another's machine"
    return "has another name" if seat.before != seat.after else ""


def _machines(found: Comparison) -> list[Section]:
    touched = [seat for seat in found.seats if seat.machine]
    if not touched:
        return []
    counts = Counter(seat.machine for seat in touched)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    rows: list[tuple[str, ...]] = [
        (Data(seat.after or seat.before or ""), Data(seat.id), _marked(seat.machine), Data("; ".join(seat.because)))
        for seat in found.lost
        if seat.machine
    ]
    others = _grouped((seat.machine, seat.because, seat.id) for seat in touched if not seat.is_lost)
    rows += [("", Data(ids), _marked(what), Data("; ".join(because))) for (what, because), ids in others.items()]
    table = Table(("Participant", "Seat", "Machine", "Why"), tuple(rows))
    return [Section(f"Machines: {told}", (table,))]


def _marked(what: str) -> str:
    return Strong(what) if what in (REPLACED, DELETED) else what


def _grouped(each: Iterable[tuple[str, tuple[str, ...], str]]) -> dict[tuple[str, tuple[str, ...]], str]:
    """What many have in common once, with their names."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for what, because, name in each:
        found.setdefault((what, because), []).append(name)
    return {key: _some(names) for key, names in found.items()}


def _some(names: list[str]) -> str:
    if len(names) <= _MANY:
        return ", ".join(names)
    return f"{', '.join(names[:_FEW])} and {len(names) - _FEW} more"


def _resources(found: Comparison) -> list[Section]:
    if not found.resources:
        return []
    counts = Counter(change.what for change in found.resources)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    grouped = _grouped((f"{short(each.kind)} {each.what}", each.because, each.name) for each in found.resources)
    rows = tuple(
        (kind_and_what, Data(names), Data("; ".join(because))) for (kind_and_what, because), names in grouped.items()
    )
    return [Section(f"Resources: {told}", (Table(("What", "Which", "Why"), rows),), is_long=True)]
