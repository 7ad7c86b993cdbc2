"""The price list and the budget: what machines cost until the end, and when that is too much or not known."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from policies import budget, prices
from stacks import sizes
from stacks.folders import PROJECT_ROOT
from stacks.settings import SeminarSettings

NOW = datetime(2027, 3, 5, 8, tzinfo=timezone.utc)
DAY = SeminarSettings(
    seminar="spring",
    cloud="aws",
    participants=25,
    region="eu-central-1",
    size="gpu-small",
    ends=NOW + timedelta(hours=8),
    budget=500,
)


def test_a_day_costs_what_the_page_says() -> None:
    cost = budget.cost_of(DAY, 25, NOW)
    assert cost is not None
    assert (cost.hourly, cost.total) == (Decimal("16.450"), Decimal("131.60"))
    assert "131.60" in (PROJECT_ROOT / "docs/aws.md").read_text()


def test_prices_are_those_of_the_pages() -> None:
    pages = {cloud: (PROJECT_ROOT / f"docs/{cloud}.md").read_text() for cloud in ("aws", "azure")}
    for (cloud, _), told in prices._PRICES.items():
        for machine_type, dollars in told.items():
            row = re.search(rf"\| {re.escape(machine_type)} \|.*\b{dollars}\b", pages[cloud])
            assert row, f"{machine_type} for {dollars}"
            assert sizes.in_catalogue(machine_type)


@pytest.mark.parametrize(
    ("change", "machines", "said"),
    [
        ({}, 25, None),
        ({"budget": 132}, 25, None),
        (
            {"budget": 131},
            25,
            r"25 machines of type g4dn\.xlarge for 0\.658 an hour cost up to 131\.60 in the 8\.0",
        ),
        ({"budget": 0}, 500, None),
        ({"cloud": "local", "budget": 1}, 25, None),
        ({"ends": None}, 25, "seminar:ends is not set: what runs without an end costs without one"),
        (
            {"region": "eu-west-3"},
            25,
            "what g4dn.xlarge costs in eu-west-3 is not known here; expected seminar:price",
        ),
        ({"machine_type": "g6.xlarge"}, 25, "what g6.xlarge costs"),
        ({"region": "eu-west-3", "price_per_hour": Decimal("0.7")}, 25, None),
        ({"price_per_hour": Decimal("2.6")}, 25, "for 2.6 an hour cost up to 520.00"),
    ],
)
def test_above_and_below(change: dict[str, Any], machines: int, said: str | None) -> None:
    faults = budget.faults_of(replace(DAY, **change), machines, NOW)
    if said is None:
        assert faults == ()
    else:
        assert len(faults) == 1
        assert re.search(said, faults[0]), faults[0]
        assert faults[0].startswith("Pulumi.spring.yaml: seminar:budget is ")


def test_it_fits_from_the_moment_that_is_told() -> None:
    tight = replace(DAY, budget=100)
    (fault,) = budget.faults_of(tight, 25, NOW)
    told = re.search(r"no earlier than (\S+)Z", fault)
    assert told
    later = datetime.fromisoformat(told[1]).replace(tzinfo=timezone.utc)
    assert later < tight.ends if tight.ends else False
    assert budget.faults_of(tight, 25, later) == ()
    assert budget.faults_of(tight, 25, later - timedelta(minutes=1))


def test_after_the_end_nothing_is_counted() -> None:
    cost = budget.cost_of(DAY, 25, NOW + timedelta(days=1))
    assert cost is not None
    assert cost.total == 0
