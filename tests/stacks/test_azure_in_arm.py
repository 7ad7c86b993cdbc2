"""The seminar on Azure, made in a model of its resource manager: each request's body, and what it opens to whom."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks import azure, azure_survey, naming
from tests.doubles.arm import KINDS, REFUSED_ADMINS, Arm, RefusedError
from tests.doubles.bodies import body
from tests.doubles.maker import Maker
from tests.doubles.management import a_management
from tests.program import Exported, run

SETTINGS = {
    "cloud": "azure",
    "participants": "6",
    "region": "westeurope",
    "allowed-cidrs": '["192.88.99.0/24", "192.31.196.0/24"]',
    "ends": "2099-03-05 18:00 Europe/Berlin",
}


@pytest.fixture(autouse=True)
def no_management(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody reaches Azure from here; the stand-in hands out no token either."""
    with a_management() as found:
        monkeypatch.setattr(azure_survey, "MANAGEMENT", found.endpoint)
        yield
        assert found.asked == []


@pytest.fixture
def arm(tmp_path: Path) -> Arm:
    return Arm(tmp_path / "azure.json")


def make(arm: Arm, **more: str) -> Exported:
    settings = {**SETTINGS, **{key.replace("_", "-"): value for key, value in more.items()}}
    return run(Maker(arm, "azure-native:"), settings)


def of(arm: Arm, type_: str) -> dict[str, Any]:
    return {id_.rsplit("/", maxsplit=1)[-1]: sent for id_, sent in arm.state.items() if f"/{type_}/" in id_}


def test_every_resource_is_made(arm: Arm) -> None:
    exported = make(arm)
    counts = {type_.rsplit("/", maxsplit=1)[-1]: len(of(arm, type_)) for type_, *_ in KINDS.values() if type_}
    assert counts == {
        "networkSecurityGroups": 1,
        "virtualNetworks": 1,
        "publicIPAddresses": 6,
        "networkInterfaces": 6,
        "virtualMachines": 6,
        "schedules": 6,
    }
    hosts = [seat["host"] for seat in exported.outputs["handover"]["seats"]]
    assert len(set(hosts)) == 6
    assert all(ipaddress.ip_address(host) for host in hosts)


def test_what_is_sent_for_a_spot_machine(arm: Arm) -> None:
    make(arm, participants="1", spot="true", disk_gib="512")
    sent = of(arm, "virtualMachines")["machine-01"]
    assert sent["location"] == "westeurope"
    properties = sent["properties"]
    assert properties["billingProfile"] == {"maxPrice": -1.0}
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Deallocate")
    assert properties["storageProfile"]["osDisk"]["diskSizeGB"] == 512
    assert properties["osProfile"]["linuxConfiguration"]["disablePasswordAuthentication"] is True
    (disk,) = of(arm, "disks").values()
    assert disk["properties"]["deleteOption"] == "Delete"


# What Azure adds to every security group, https://learn.microsoft.com/azure/virtual-network/
# network-security-groups-overview#default-security-rules; a tag stands for the addresses behind it.
DEFAULTS = [
    (65000, "Allow", "*", ["VirtualNetwork"], (0, 65535)),
    (65001, "Allow", "*", ["AzureLoadBalancer"], (0, 65535)),
    (65500, "Deny", "*", ["*"], (0, 65535)),
]
SENDERS = {
    "the venue": "192.88.99.7",
    "the organiser": "192.31.196.200",
    "a stranger": "192.88.100.7",
    "another machine": "10.20.0.9",
    "a load balancer": "168.63.129.16",
}
TAGS = {"VirtualNetwork": {"another machine"}, "AzureLoadBalancer": {"a load balancer"}}


def lets_in(arm: Arm, sender: str, protocol: str, port: int) -> bool:
    """What Azure does: the first rule by priority that fits decides."""
    (group,) = of(arm, "networkSecurityGroups").values()
    rules = list(DEFAULTS)
    for each in (rule["properties"] for rule in group["properties"]["securityRules"]):
        assert (each["direction"], each["sourcePortRange"], each["destinationAddressPrefix"]) == ("Inbound", "*", "*")
        ports = "0-65535" if each["destinationPortRange"] == "*" else each["destinationPortRange"]
        low, _, high = ports.partition("-")
        sources = [each["sourceAddressPrefix"]]
        rules.append((each["priority"], each["access"], each["protocol"], sources, (int(low), int(high or low))))
    for _, access, wanted, sources, (low, high) in sorted(rules, key=lambda rule: rule[0]):
        if wanted in ("*", protocol) and low <= port <= high and any(_is_from(sender, each) for each in sources):
            return access == "Allow"
    raise AssertionError("Azure's last rule fits everything")


def _is_from(sender: str, source: str) -> bool:
    if source in TAGS:
        return sender in TAGS[source]
    return source == "*" or ipaddress.ip_address(SENDERS[sender]) in ipaddress.ip_network(source)


def test_ssh_from_the_named_networks_and_nothing_else(arm: Arm) -> None:
    make(arm)
    open_to = {
        (sender, protocol, port)
        for sender in SENDERS
        for protocol in ("Tcp", "Udp", "Icmp", "Esp", "Ah")
        for port in (*range(1, 1025), 3389, 8000, 8787, 8888, 65535)
        if lets_in(arm, sender, protocol, port)
    }
    assert open_to == {(sender, "Tcp", port) for sender in ("the venue", "the organiser") for port in (22, 443)}


def test_the_group_guards_the_subnet_that_all_machines_are_in(arm: Arm) -> None:
    make(arm)
    (net,) = of(arm, "virtualNetworks").values()
    (subnet,) = net["properties"]["subnets"]
    guard = subnet["properties"]["networkSecurityGroup"]["id"]
    assert guard in arm.state
    for card in of(arm, "networkInterfaces").values():
        (config,) = card["properties"]["ipConfigurations"]
        assert config["properties"]["subnet"]["id"].endswith("/virtualNetworks/network/subnets/machines")


def test_anywhere_is_everywhere(arm: Arm) -> None:
    make(arm, allowed_cidrs="anywhere")
    assert lets_in(arm, "a stranger", "Tcp", 22)
    assert not lets_in(arm, "a stranger", "Tcp", 8000)


def test_as_many_networks_as_may_be_named_fit(arm: Arm) -> None:
    make(arm, allowed_cidrs=",".join([f"11.0.{n}.0/24" for n in range(30)] + [f"2600:{n}::/32" for n in range(1, 31)]))
    (group,) = of(arm, "networkSecurityGroups").values()
    assert len(group["properties"]["securityRules"]) == 121


def test_a_fixed_end_s_zone_is_one_of_windows(arm: Arm) -> None:
    make(arm, ends="2099-03-05T18:00+05:30")
    for schedule in of(arm, "schedules").values():
        assert schedule["properties"]["timeZoneId"] == "UTC"
        assert schedule["properties"]["dailyRecurrence"] == {"time": "1230"}


# Names

ANYTHING = st.text(st.characters(), max_size=120) | st.text("abcxyz019-_. Aé日windowsmicrosoft", max_size=120)


@given(ANYTHING)
def test_whatever_it_is_called_azure_takes_the_name(text: str) -> None:
    name = naming.for_azure("machine", text)
    for kind, (*_, pattern) in KINDS.items():
        assert re.fullmatch(pattern, name), kind
    assert re.fullmatch("[a-z0-9](-?[a-z0-9]+)*", name)  # what every computer may be called, and in lower case
    assert len(name) <= 64
    assert not re.search("microsoft|windows", name)
    assert not name.startswith("login")


@given(ANYTHING, ANYTHING)
def test_what_differs_is_called_differently(one: str, other: str) -> None:
    """Azure compares names without regard to letter case."""
    names = {naming.for_azure("machine", text).lower() for text in (one, other)}
    assert len(names) == len({one, other})


@pytest.mark.parametrize("id_", ["x", "01", "a-b", "x" * 31])
def test_an_ordinary_name_is_left_alone(id_: str) -> None:
    assert naming.for_azure("machine", id_) == f"machine-{id_}"


@pytest.mark.parametrize(
    "text", ["x" * 56, "x" * 57, "x" * 500, "x" * 55 + "-y", "Ada", "名前", "", "-", "microsoft", "wmicrosoftindows"]
)
def test_names_at_the_limit_and_beyond(text: str) -> None:
    name = naming.for_azure("machine", text)
    assert len(name) <= 64
    assert (name == f"machine-{text}") == (text == "x" * 56)


def test_what_is_replaced_in_a_name_leaves_the_rest_to_read() -> None:
    assert naming.for_azure("seminar", "Spring 2027!").startswith("seminar-spring-2027-")


def test_a_seminar_with_the_longest_ids(arm: Arm, tmp_path: Path) -> None:
    roster = tmp_path / "people.csv"
    people = [("x" * 31, "Zoë 日本 𝔘 O'Neil"), ("windows", "Win Dows"), ("a--b", "A"), ("0", "Zero")]
    roster.write_text("\n".join(["id,name", *(f"{id_},{name}" for id_, name in people)]), encoding="utf-8")
    make(arm, participants="0", roster=str(roster))
    assert len(of(arm, "virtualMachines")) == 4
    assert len(of(arm, "schedules")) == 4


def test_the_administrator_is_none_that_azure_refuses() -> None:
    assert azure.ADMIN not in REFUSED_ADMINS
    assert re.fullmatch("[a-z][a-z0-9]{0,31}", azure.ADMIN)


# The double itself says no: otherwise the tests above would prove nothing.


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("PublicIPAddress", {"publicIPAllocationMethod": "Statik"}, "can't be 'Statik'"),
        ("PublicIPAddress", {"sku": {"nme": "Standard"}}, "has no property nme"),
        ("PublicIPAddress", {"resourceGuid": "x"}, "Azure's alone to set"),
        ("PublicIPAddress", {"idleTimeoutInMinutes": "4"}, "is no int"),
        ("PublicIPAddress", {"publicIpAddressName": "a b"}, "InvalidResourceName"),
        ("NetworkInterface", {"ipConfigurations": [{"subnet": {"id": "/none"}}]}, "InvalidResourceReference"),
        ("VirtualMachine", {"evictionPolicy": "Stop"}, "can't be 'Stop'"),
        ("VirtualMachine", {"userData": "eA=="}, "customData is too large"),
        ("GlobalSchedule", {"name": "stop"}, "InvalidScheduleId: stop"),
        ("GlobalSchedule", {"timeZoneId": "Europe/Berlin"}, "InvalidTimeZone"),
        ("NetworkSecurityGroup", {"securityRules": [{"name": "x"}]}, "MissingProperty: access"),
    ],
)
def test_the_double_refuses(tmp_path: Path, kind: str, change: dict[str, Any], said: str) -> None:
    arm = _Remembering(tmp_path / "azure.json")
    make(arm, participants="1")
    token, id_, inputs = arm.made[kind]
    assert arm.update(token, id_, inputs, inputs)
    with pytest.raises((RefusedError, ValueError), match=re.escape(said)):
        arm.update(token, id_, inputs, {**inputs, **change})


class _Remembering(Arm):
    """Remembers, by kind, the last resource that was made."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.made: dict[str, tuple[str, str, dict[str, Any]]] = {}

    def create(self, kind: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        id_, outputs = super().create(kind, inputs)
        self.made[kind.rsplit(":", maxsplit=1)[-1]] = (kind, id_, inputs)
        return id_, outputs


def test_a_body_knows_where_azure_wants_a_property() -> None:
    models = KINDS["azure-native:network:PublicIPAddress"][1]
    inputs = {"location": "westeurope", "sku": {"name": "Standard"}, "publicIPAllocationMethod": "Static"}
    assert body(models, "PublicIPAddress", inputs) == {
        "location": "westeurope",
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static"},
    }
