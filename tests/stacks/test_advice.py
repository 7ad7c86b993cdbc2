"""What an organiser is warned of, and what not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from stacks.advice import advice
from stacks.settings import SeminarSettings

SAFE = SeminarSettings(
    seminar="spring",
    cloud="aws",
    participants=3,
    region="eu-central-1",
    allowed_cidrs=("192.88.99.0/24",),
    ends=datetime(2027, 3, 5, 17, tzinfo=timezone.utc),
)


def test_nothing_to_say() -> None:
    assert advice(SAFE) == ()
    assert advice(SeminarSettings(seminar="spring", participants=3)) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ends": None}, "seminar:ends is not set"),
        ({"allowed_cidrs": ("0.0.0.0/0", "::/0")}, "seminar:allowed-cidrs is anywhere"),
        ({"allowed_cidrs": ("203.0.113.64/26",)}, "seminar:allowed-cidrs has 203.0.113.64/26, a range for examples"),
        ({"allowed_cidrs": ("192.88.99.0/24", "2001:db8:1::/48")}, "seminar:allowed-cidrs has 2001:db8:1::/48"),
        ({"machine_type": "t3.large"}, "t3.large is burstable"),
        ({"spot": True}, "seminar:spot is true"),
    ],
)
def test_a_warning(change: dict[str, object], said: str) -> None:
    (told,) = advice(replace(SAFE, **change))  # type: ignore[arg-type]  # each key is a field of its own type
    assert told.startswith(said)
    assert told.endswith(".")


AZURE = replace(SAFE, cloud="azure", region="westeurope")
END = datetime(2027, 3, 5, 17, tzinfo=timezone.utc)


def test_that_azure_stops_the_machines_on_each_day_before_the_end() -> None:
    assert advice(AZURE, END - timedelta(hours=24)) == ()
    (told,) = advice(AZURE, END - timedelta(hours=25))
    assert told.startswith(
        "seminar:ends: Azure's auto-shutdown is daily, so that every machine is also stopped at 17:00"
    )
    assert advice(SAFE, END - timedelta(days=9)) == ()
    assert advice(replace(AZURE, ends=None), END)[0].startswith("seminar:ends is not set")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine_type": "Standard_B2s"}, "Standard_B2s is burstable"),
        ({"spot": True}, "seminar:spot is true: Azure may stop a machine in the middle of the class, and it stays so"),
    ],
)
def test_a_warning_on_azure(change: dict[str, object], said: str) -> None:
    (told,) = advice(replace(AZURE, **change), END - timedelta(hours=1))  # type: ignore[arg-type]  # as above
    assert told.startswith(said)


def test_a_rehearsal_of_a_cloud_is_warned_of_none_of_it() -> None:
    assert advice(replace(SAFE, cloud="local", ends=None, spot=True, machine_type="t3.large")) == ()


def test_a_roster_without_ids(tmp_path: Path) -> None:
    roster = tmp_path / "people.csv"
    with_roster = SeminarSettings(seminar="spring", roster=roster)
    roster.write_text("name\nAda\n")
    (told,) = advice(with_roster)
    assert told.startswith("people.csv has no column id, so ids follow the order of its lines")
    roster.write_text("id,name\nada,Ada\n")
    assert advice(with_roster) == ()
