"""A plan in sections, for people. What is in them is decided in plan.py; how they are written in page.py."""

from __future__ import annotations

from collections import Counter

from policies.budget import Cost
from preview.page import Data, Section, Table
from preview.plan import Plan
from stacks import access, sizes
from stacks.ends import as_utc

_PLACES = {"local": "on this computer", "aws": "on AWS", "azure": "on Azure"}


def title_of(plan: Plan) -> str:
    people = len(plan.places)
    where = f" in {plan.region}" if plan.region else ""
    return f"{plan.stack}: {people} participant{'s' * (people != 1)} {_PLACES[plan.cloud]}{where}"


def of_plan(plan: Plan) -> list[Section]:
    """The whole plan."""
    found = [_machines(plan), _image(plan), *_quotas(plan), _openings(plan), Section("The end", (plan.ends,))]
    if plan.cost:
        found.append(Section("Cost of the machines", (_cost(plan.cost),)))
    if plan.warnings:
        found.insert(0, Section("Warnings", plan.warnings))
    if plan.assumed:
        found.append(Section("Not asked", (plan.assumed,)))
    return [*found, _who(plan)]


def _machines(plan: Plan) -> Section:
    types = Counter(place.machine_type for place in plan.places)
    told = ", ".join(f"{count} of {name}{_size(name)}" for name, count in types.items())
    kinds = ", ".join(f"{count} {kind}" for kind, count in plan.exists.items())
    in_all = sum(plan.exists.values())
    return Section("What would exist", (f"Machines: {told}.", f"In all {in_all} resources: {kinds}."))


def _size(machine_type: str) -> str:
    known = sizes.in_catalogue(machine_type)
    if known is None:
        return ""
    gpu = f", {known.gpu}" if known.gpu else ""
    return f" ({known.vcpus} vCPUs, {known.memory_gib} GiB of memory{gpu})"


def _image(plan: Plan) -> Section:
    return Section("Image", (Data(plan.image),))


def _quotas(plan: Plan) -> list[Section]:
    if not plan.quotas:
        return []
    rows = tuple(
        (need.name, need.code, _number(need.needed), need.unit, _number(need.of_new_account)) for need in plan.quotas
    )
    return [Section("Quota", (Table(("Quota", "Code", "Needed", "Unit", "Of a new account"), rows),))]


def _cost(cost: Cost) -> str:
    if cost.price is None:
        return "What one machine costs for an hour is not known here; set seminar:price-per-hour."
    price = f"{cost.price.dollars} US dollars an hour ({cost.price.source})"
    said = f"{cost.machines} machines at {price}: {cost.hourly:.2f} an hour"
    if cost.total is None:
        return f"{said}, without an end."
    told = f"{said}, at most {cost.total:,} from {as_utc(cost.begins)} to the end"
    return f"{told}, of {cost.budget:,} in seminar:budget." if cost.budget else f"{told}. seminar:budget is not set."


def _openings(plan: Plan) -> Section:
    if not plan.openings:
        return Section("Who may come in", ("Nobody from outside: SSH listens on loopback.",))
    sources: dict[str, list[str]] = {}
    for opening in plan.openings:
        sources.setdefault(opening.source, []).append(f"{opening.protocol} {opening.ports}")
    rows = tuple((_everyone(source), ", ".join(dict.fromkeys(ports))) for source, ports in sources.items())
    return Section("Who may come in", (Table(("From", "To"), rows),))


def _everyone(source: str) -> str:
    return f"{source} (the whole Internet)" if access.is_open_to_all((source,)) else source


def _who(plan: Plan) -> Section:
    rows = tuple((Data(place.name), Data(place.id), place.machine_type) for place in plan.places)
    return Section(f"Who sits where ({len(rows)})", (Table(("Participant", "Seat", "Machine"), rows),), is_long=True)


def _number(count: int | None) -> str:
    return "unknown" if count is None else str(count)
