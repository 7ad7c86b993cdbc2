"""What would exist, told without an account: of each cloud, and of what the program refuses."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from preview.offline import declared_by
from preview.plan import Plan, plan_of
from stacks.errors import SettingsError
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import SeminarSettings

NOW = datetime(2027, 3, 2, 9, tzinfo=timezone.utc)
SETTINGS = {"participants": "3", "region": "eu-central-1", "allowed-cidrs": "192.88.99.0/24, 2001:db8::/32"}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a preview asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def plan(**given: str) -> Plan:
    named = {key.replace("_", "-"): value for key, value in given.items()}
    settings = SeminarSettings.from_mapping({**SETTINGS, **named}, seminar="spring", now=NOW)
    seats = seat_everyone(enrol(settings))
    return plan_of(settings, seats, declared_by(settings, seats), NOW)


def test_on_aws() -> None:
    found = plan(cloud="aws", size="gpu-small", stable_addresses="true", ends="2027-03-05 18:00 Europe/Berlin")
    assert {kind: found.exists[kind] for kind in ("Instance", "Schedule", "Eip", "Vpc")} == {
        "Instance": 3,
        "Schedule": 3,
        "Eip": 3,
        "Vpc": 1,
    }
    assert [(place.id, place.machine, place.machine_type) for place in found.places] == [
        (id_, id_, "g4dn.xlarge") for id_ in ("01", "02", "03")
    ]
    assert [(need.code, need.needed, need.of_new_account) for need in found.quotas] == [
        ("L-DB2E81BA", 12, 0),
        ("L-0263D0A3", 3, 5),
    ]
    assert {(opening.protocol, opening.ports, opening.source) for opening in found.openings} == {
        ("tcp", port, source) for port in ("22", "443") for source in ("192.88.99.0/24", "2001:db8::/32")
    }
    assert found.ends.startswith("On Friday 2027-03-05 18:00 (2027-03-05T17:00:00Z), in 3 days, AWS stops every")
    assert any("12 vCPUs of On-Demand G and VT are needed and a new account has 0" in each for each in found.warnings)
    assert "pytorch-2.12" in found.image


def test_on_azure() -> None:
    found = plan(cloud="azure", region="westeurope", ends="2027-03-02 18:00 UTC", size="gpu-large")
    assert found.exists["VirtualMachine"] == found.exists["GlobalSchedule"] == 3
    assert {place.machine_type for place in found.places} == {"Standard_NC24ads_A100_v4"}
    assert [(need.code, need.needed) for need in found.quotas] == [
        ("StandardNCADSA100v4Family", 72),
        ("cores", 72),
        ("IPv4StandardSkuPublicIpAddresses", 3),
    ]
    assert {opening.ports for opening in found.openings} == {"22", "443"}
    assert "in 9 hours, and at 18:00 of every day before and after it, Azure stops" in found.ends


def test_a_rehearsal_needs_nothing_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehearsal.sshd.find", lambda: None)
    found = plan(cloud="local")
    assert found.exists == {"LocalMachine": 3, "MachineCredentials": 3, "OrganiserKey": 1}
    assert not found.openings
    assert not found.quotas


def test_what_is_not_known_is_said() -> None:
    found = plan(cloud="aws", machine_type="mystery.metal")
    assert [(need.name, need.needed, need.of_new_account) for need in found.quotas] == [
        ("The family of mystery.metal", None, None)
    ]
    assert plan(cloud="azure", region="westeurope", spot="true").quotas[0].of_new_account is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"machine_type": "t3.large"}, "t3.large is burstable"),
        ({"allowed_cidrs": "anywhere"}, "the whole Internet may try to log in"),
        ({}, "seminar:ends is not set: the machines run, and cost"),
    ],
)
def test_warnings(given: dict[str, str], said: str) -> None:
    assert any(said in warning for warning in plan(cloud="aws", **given).warnings)


def test_without_an_end_nothing_ends() -> None:
    assert plan(cloud="aws").ends.startswith("Nothing ends")


def test_what_the_program_refuses_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"m7g\.large, whose processor is arm64"):
        plan(cloud="aws", machine_type="m7g.large")
    with pytest.raises(SettingsError, match="which is past"):
        plan(cloud="aws", ends="2027-03-01 18:00 UTC")


def test_two_runs_declare_the_same() -> None:
    settings = SeminarSettings.from_mapping({**SETTINGS, "cloud": "aws"}, seminar="spring", now=NOW - timedelta(days=1))
    seats = seat_everyone(enrol(settings))
    once, again = declared_by(settings, seats), declared_by(settings, seats)
    assert {each.key: each for each in once} == {each.key: each for each in again}
    assert "PRIVATE KEY" in str([dict(each.inputs) for each in once])
    assert "PRIVATE KEY" not in str([dict(each.clear) for each in once])
    assert "PRIVATE KEY" not in repr(once)
