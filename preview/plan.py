"""What would exist: one seminar's machines, image, quotas, openings and end, as data. Shows nothing. Pure.

Machines and openings are read from what the program declares, the rest from the settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from policies import budget, rules
from policies.budget import Cost, cost_of
from policies.declared import Declared
from policies.openings import Opening, openings_of
from preview.offline import ASSUMED
from preview.quotas import Need, needs, warnings
from stacks import images
from stacks.advice import advice
from stacks.ends import as_utc
from stacks.seats import Seat
from stacks.settings import SeminarSettings

# The resource that is a machine, and its input that names the type.
MACHINES = {
    "aws:ec2/instance:Instance": "instanceType",
    "azure-native:compute:VirtualMachine": "hardwareProfile",
    "pulumi-python:dynamic:LocalMachine": "",
}


@dataclass(frozen=True)
class Place:
    """Where one participant would sit. `machine_type` is the cloud's name of it, or what a rehearsal has."""

    id: str
    name: str
    machine: str
    machine_type: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One seminar. `exists` counts by kind; `ends` and `image` are sentences; `assumed` is what nobody was asked."""

    stack: str
    cloud: str
    region: str
    places: tuple[Place, ...]
    exists: Mapping[str, int]
    image: str
    quotas: tuple[Need, ...]
    openings: tuple[Opening, ...]
    ends: str
    cost: Cost | None
    warnings: tuple[str, ...]
    assumed: str


def plan_of(settings: SeminarSettings, seats: tuple[Seat, ...], declared: tuple[Declared, ...], now: datetime) -> Plan:
    """The plan of what was declared for these settings. Raises SettingsError for a roster that can't be read."""
    machines = machines_of(declared)
    quotas = needs(settings, len(machines))
    return Plan(
        stack=settings.seminar,
        cloud=settings.cloud,
        region=settings.region,
        places=tuple(Place(seat.id, seat.name, seat.machine, type_of(machines[seat.machine])) for seat in seats),
        exists=dict(sorted(Counter(short(each.kind) for each in declared if _stands_alone(each)).items())),
        image=_image(settings),
        quotas=quotas,
        openings=tuple(sorted(opening for each in declared for opening in openings_of(each))),
        ends=what_ends_does(settings, now),
        cost=cost_of(settings, len(machines), _begins(settings, now)),
        warnings=(*advice(settings, now), *warnings(quotas, settings.cloud)),
        assumed=ASSUMED[settings.cloud],
    )


def refusals(settings: SeminarSettings, declared: tuple[Declared, ...], now: datetime) -> tuple[str, ...]:
    """Why `pulumi up` would refuse what was declared: guard rails that it breaks, a budget that it is above."""
    broken = [fault for each in declared for fault in rules.faults_of(each, settings)]
    return (*broken, *budget.faults_of(settings, len(machines_of(declared)), _begins(settings, now)))


def _begins(settings: SeminarSettings, now: datetime) -> datetime:
    """When costs begin: when the machines are meant to be brought up, where that is still to come."""
    return max(now, settings.begins) if settings.begins else now


def machines_of(declared: tuple[Declared, ...]) -> dict[str, Declared]:
    """The machines by their ids, which their names end with: `machines-<id>`, `machine-<id>`."""
    return {each.name.partition("-")[2]: each for each in declared if each.kind in MACHINES}


def type_of(machine: Declared) -> str:
    """What a machine is, by its cloud's name for it."""
    told = machine.inputs.get(MACHINES[machine.kind])
    return str(told.get("vmSize") if isinstance(told, Mapping) else told or "sshd on this computer")


def short(kind: str) -> str:
    """The kind without the package and the module that it is in."""
    return kind.rsplit(":", maxsplit=1)[-1]


def _stands_alone(resource: Declared) -> bool:
    return not resource.is_group and not resource.kind.startswith("pulumi:")


def _image(settings: SeminarSettings) -> str:
    if settings.cloud == "local":
        return "this computer, with the Jupyter of .venv"
    if settings.cloud == "aws":
        image = images.aws_image(settings.image)
        assert image is not None, "settings.py let it through"
        return image.ami or f"{settings.image or images.AWS_DEFAULT}, the newest of its line"
    azure = images.azure_image(settings.image)
    assert azure is not None, "settings.py let it through"
    return f"{azure.publisher}:{azure.offer}:{azure.sku}:{azure.version}"


def what_ends_does(settings: SeminarSettings, now: datetime) -> str:
    """What happens at the seminar's end, in sentences."""
    if settings.cloud == "local":
        return "A rehearsal has no end; `make rehearse-down` ends it."
    if settings.ends is None:
        return "Nothing ends: the machines run, and cost, until `pulumi destroy`."
    moment = f"{settings.ends:%A %Y-%m-%d %H:%M} ({as_utc(settings.ends)}), {_from_now(settings.ends, now)},"
    if settings.cloud == "aws":
        return (
            f"On {moment} AWS stops every machine, each by a schedule of its own, and each powers itself off. Disks "
            "stay, and cost, until `pulumi destroy`."
        )
    return (
        f"On {moment} and at {settings.ends:%H:%M} of every day before and after it, Azure stops every machine, which "
        "then costs nothing. Disks and addresses stay, and cost, until `pulumi destroy`."
    )


def _from_now(moment: datetime, now: datetime) -> str:
    hours = round((moment - now).total_seconds() / 3600)
    if hours < 1:
        return "in less than an hour"
    if hours < 48:
        return f"in {hours} hour{'s' * (hours > 1)}"
    return f"in {hours // 24} days"
