"""What the machines of a seminar cost until its end, against its budget. Pure.

The most that they can cost: every machine runs the whole time, on demand. Disks, addresses and traffic come to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal

from policies.prices import Price, price_of
from stacks import sizes
from stacks.ends import as_utc
from stacks.settings import SeminarSettings

_CENT = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """US dollars; None where that is not known. `begins` and `ends` are what is counted between."""

    machines: int
    price: Price | None
    begins: datetime
    ends: datetime | None
    budget: int

    @property
    def hourly(self) -> Decimal | None:
        """All machines, for an hour."""
        return None if self.price is None else self.price.dollars * self.machines

    @property
    def hours(self) -> Decimal | None:
        if self.ends is None:
            return None
        return max(Decimal((self.ends - self.begins).total_seconds()) / 3600, Decimal(0))

    @property
    def total(self) -> Decimal | None:
        """All machines until the end, in whole cents, not too little."""
        if self.hourly is None or self.hours is None:
            return None
        return (self.hourly * self.hours).quantize(_CENT, ROUND_UP)


def cost_of(settings: SeminarSettings, machines: int, begins: datetime) -> Cost | None:
    """What so many machines cost from `begins` on, or None in a rehearsal, which costs nothing."""
    if settings.cloud == "local":
        return None
    return Cost(machines=machines, price=price_of(settings), begins=begins, ends=settings.ends, budget=settings.budget)


def faults_of(settings: SeminarSettings, machines: int, begins: datetime) -> tuple[str, ...]:
    """Why the seminar can't be brought up at `begins` within its budget; nothing where it has none, or keeps it."""
    cost = cost_of(settings, machines, begins)
    if cost is None or not cost.budget:
        return ()
    where = f"Pulumi.{settings.seminar}.yaml: seminar:budget is {cost.budget} US dollars"
    if cost.ends is None:
        return (f"{where} and seminar:ends is not set: what runs without an end costs without one. Set seminar:ends.",)
    kind = sizes.machine_type(settings.cloud, settings.size, settings.machine_type)
    if cost.price is None or cost.total is None or cost.hours is None or cost.hourly is None:
        return (
            f"{where}, and what {kind} costs in {settings.region} is not known here; expected seminar:price-per-hour, "
            f"the US dollars of one machine for an hour (docs/{settings.cloud}.md says where to look).",
        )
    if cost.total <= cost.budget:
        return ()
    fits = cost.ends - timedelta(hours=float(cost.budget / cost.hourly))
    return (
        f"{where}, and {machines} machines of type {kind} for {cost.price.dollars} an hour cost up to {cost.total} in "
        f"the {cost.hours:.1f} hours from {as_utc(begins)} to {as_utc(cost.ends)}; expected an earlier end, fewer or "
        f"smaller machines, `pulumi up` and seminar:begins no earlier than {as_utc(fits + timedelta(seconds=1))}, or "
        "a larger budget.",
    )
