"""What a change does to a seminar that is as another revision has it: to its people and its machines. Pure.

Machines are told apart by their ids and never by their places. Nobody asks whether the seminar is up: it is taken so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.declared import Declared
from preview.plan import machines_of
from preview.replacing import replaces
from stacks.seats import Seat
from stacks.settings import SeminarSettings

CREATED, CHANGED, REPLACED, DELETED = "created", "changed in place", "replaced", "deleted"


@dataclass(frozen=True)
class Side:
    """A seminar as one revision has it. `values` are its settings as text."""

    settings: SeminarSettings
    seats: tuple[Seat, ...]
    declared: tuple[Declared, ...]
    values: Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """What becomes of one resource. `because` are the inputs that differ, each as what it was and what it will be."""

    kind: str
    name: str
    what: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeatChange:
    """What becomes of one participant's seat. `before` and `after` are names, None where the seat is not there.

    `machine` is what becomes of the machine, "" for nothing; `moves_from` the seat where the same name sat before.
    """

    id: str
    before: str | None
    after: str | None
    machine: str
    because: tuple[str, ...] = ()
    moves_from: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether somebody loses the machine that they work on: it is made anew, it goes, or another gets it."""
        return self.before is not None and (self.machine in (REPLACED, DELETED) or bool(self.moves_from))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a change does. `settings` are those that differ, by key: before and after; `notes` what to know of it.

    `faults` says why there is nothing to compare with, where there should be.
    """

    ref: str
    commit: str
    is_new: bool = False
    settings: Mapping[str, tuple[str, str]]
    seats: tuple[SeatChange, ...] = ()
    resources: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[SeatChange, ...]:
        """The seats whose people lose their machine."""
        return tuple(seat for seat in self.seats if seat.is_lost)


def compare(old: Side | None, new: Side | None, *, ref: str, commit: str) -> Comparison:
    """Compare two revisions of one seminar, each None where it is not there."""
    resources = changes(old, new)
    return Comparison(
        ref=ref,
        commit=commit,
        is_new=old is None,
        settings=_settings(old.values if old else {}, new.values if new else {}),
        seats=_seats(old, new, {f"{each.kind}::{each.name}": each for each in resources}),
        resources=resources,
        notes=tuple(_notes(old, new)) if old and new else (),
    )


def changes(old: Side | None, new: Side | None) -> tuple[Change, ...]:
    """What becomes of each resource that does not stay as it is, by kind and name."""
    before = {each.key: each for each in old.declared} if old else {}
    after = {each.key: each for each in new.declared} if new else {}
    anew = bool(old and new and _place(old) != _place(new))
    found: list[Change] = []
    replaced: set[str] = set()
    for key, resource in after.items():
        was = before.get(key)
        if resource.is_group or resource.kind.startswith("pulumi:providers:"):
            continue
        if was is None:
            found.append(Change(resource.kind, resource.name, CREATED))
            continue
        differing = _differing(was, resource, replaced)
        is_replaced = (anew and not resource.kind.startswith("pulumi-python:")) or any(
            replaces(resource.kind, name, was.inputs.get(name), resource.inputs.get(name)) for name in differing
        )
        if is_replaced:
            replaced.add(key)
        if differing or is_replaced:
            because = tuple(line for name in differing for line in _told(name, was.clear, resource.clear))
            found.append(Change(resource.kind, resource.name, REPLACED if is_replaced else CHANGED, because))
    gone = [each for key, each in before.items() if key not in after and not each.is_group]
    found += [Change(each.kind, each.name, DELETED) for each in gone if not each.kind.startswith("pulumi:")]
    return tuple(sorted(found, key=lambda change: (change.kind, change.name)))  # registered in any order


def _place(side: Side) -> tuple[str, str]:
    return side.settings.cloud, side.settings.region


def _differing(old: Declared, new: Declared, replaced: set[str]) -> list[str]:
    """The inputs that differ, or are taken from what is made anew, but for those that never change what exists."""
    names = sorted({*old.inputs, *new.inputs} - new.ignored)
    return [
        name
        for name in names
        if old.inputs.get(name) != new.inputs.get(name) or new.references.get(name, frozenset()) & replaced
    ]


def _told(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[str]:
    """An input's change as text, a mapping's part by part. Never a secret's."""
    was, becomes = old.get(name), new.get(name)
    if isinstance(was, Mapping) and isinstance(becomes, Mapping):
        for key in sorted({*was, *becomes}):
            if was.get(key) != becomes.get(key):
                yield from (f"{name}.{part}" for part in _told(key, was, becomes))
    elif was == becomes:
        yield name
    else:
        yield f"{name}: {_short(was)} -> {_short(becomes)}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _settings(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    def shown(key: str, value: str) -> str:
        return "a secret" if key == "password" and value else value

    return {
        key: (shown(key, old.get(key, "")), shown(key, new.get(key, "")))
        for key in sorted({*old, *new})
        if old.get(key, "") != new.get(key, "")
    }


def _seats(old: Side | None, new: Side | None, changed: Mapping[str, Change]) -> tuple[SeatChange, ...]:
    """Every seat to which something happens, those who stay first, in the order of the roster."""
    before = {seat.id: seat for seat in old.seats} if old else {}
    after = {seat.id: seat for seat in new.seats} if new else {}
    were = machines_of(old.declared) if old else {}
    are = machines_of(new.declared) if new else {}
    sat = _only_once(before.values())
    found = []
    for id_ in (*after, *(id_ for id_ in before if id_ not in after)):
        was, becomes = before.get(id_), after.get(id_)
        machine = _machine(were[was.machine] if was else None, are[becomes.machine] if becomes else None, changed)
        moves_from = sat.get(becomes.name, id_) if becomes else id_
        seat = SeatChange(
            id_,
            was.name if was else None,
            becomes.name if becomes else None,
            machine.what if machine else "",
            machine.because if machine else (),
            moves_from if moves_from != id_ else "",
        )
        if seat.machine or seat.before != seat.after:
            found.append(seat)
    return tuple(found)


def _only_once(seats: Iterable[Seat]) -> dict[str, str]:
    """The seat of each name that stands there once: two of one name can't be told apart."""
    known = tuple(seats)
    count = Counter(seat.name for seat in known)
    return {seat.name: seat.id for seat in known if count[seat.name] == 1}


def _machine(was: Declared | None, becomes: Declared | None, changed: Mapping[str, Change]) -> Change | None:
    """What becomes of the machine of a seat. In another cloud it is another."""
    if was and becomes and was.key != becomes.key:
        return Change(becomes.kind, becomes.name, REPLACED, (f"{was.kind} -> {becomes.kind}",))
    there = becomes or was
    return changed.get(there.key) if there else None


def _notes(old: Side, new: Side) -> Iterable[str]:
    was, becomes = old.settings, new.settings
    if _place(old) != _place(new):
        yield (
            f"Another place, {was.cloud} {was.region or '(here)'} -> {becomes.cloud} {becomes.region or '(here)'}: "
            "`pulumi up` refuses it while the seminar is up. After a `pulumi destroy` every machine is made anew, "
            "empty."
        )
        return
    if becomes.cloud == "local":
        return
    for key, says in (("image", was.image != becomes.image), ("spot", was.spot != becomes.spot)):
        if says:
            yield f"seminar:{key} counts for machines made later; those that are there stay as is."
    if was.disk_gib != becomes.disk_gib and becomes.cloud == "azure":
        yield "seminar:disk-gib counts for machines made later; docs/azure.md says how to enlarge a disk that is there."
    if becomes.cloud == "aws" and 0 < becomes.disk_gib < was.disk_gib:
        yield "seminar:disk-gib is smaller, and AWS makes no disk smaller: `pulumi up` will fail."
    if (was.size, was.machine_type) != (becomes.size, becomes.machine_type):
        yield "Another type of machine: each that is there is stopped and started. Notebooks end, files stay."
    if becomes.cloud == "aws" and was.stable_addresses != becomes.stable_addresses:
        yield "seminar:stable-addresses: every machine gets another address, and its participant another pack."
