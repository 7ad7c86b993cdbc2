"""The guard rails: what the program declares keeps them all, and each way to break one is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from typing import Any

import pytest

from policies import rules
from policies.declared import Declared
from preview import replacing
from preview.offline import declared_by
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import SeminarSettings

NOW = datetime(2027, 3, 2, tzinfo=timezone.utc)
SETTINGS = {
    "participants": "1",
    "allowed-cidrs": "192.88.99.0/24, 2001:db8::/32",
    "ends": "2027-03-05 18:00 UTC",
    "password": "correct horse",
}
REGIONS = {"aws": "eu-central-1", "azure": "westeurope", "local": ""}


@cache
def declared(cloud: str, **more: str) -> tuple[SeminarSettings, tuple[Declared, ...]]:
    given = {**SETTINGS, "cloud": cloud, "region": REGIONS[cloud], **more}
    settings = SeminarSettings.from_mapping(given, seminar="spring", secret_keys={"password"}, now=NOW)
    return settings, declared_by(settings, seat_everyone(enrol(settings)))


@pytest.mark.parametrize("cloud", REGIONS)
def test_what_the_program_declares_keeps_them(cloud: str) -> None:
    settings, found = declared(cloud)
    assert [fault for each in found for fault in rules.faults_of(each, settings)] == []
    anyone, found = declared(cloud, **{"allowed-cidrs": "anywhere", "spot": "true", "stable-addresses": "true"})
    assert [fault for each in found for fault in rules.faults_of(each, anyone)] == []


def broken(cloud: str, kind: str, breaks: Callable[[dict[str, Any]], object]) -> str:
    """What is said of the first resource of a kind once it is broken."""
    settings, found = declared(cloud)
    good = next(each for each in found if each.kind.endswith(f":{kind}"))
    inputs, clear = copy.deepcopy(dict(good.inputs)), copy.deepcopy(dict(good.clear))
    breaks(inputs)
    breaks(clear)
    return "\n".join(rules.faults_of(replace(good, inputs=inputs, clear=clear), settings))


def inbound(**more: Any) -> dict[str, Any]:
    rule = {"direction": "Inbound", "access": "Allow", "protocol": "Tcp", "destinationPortRange": "22"}
    return {**rule, "sourceAddressPrefix": "192.88.99.0/24", **more}


@pytest.mark.parametrize(
    ("cloud", "kind", "change", "said"),
    [
        ("aws", "SecurityGroupIngressRule", {"toPort": 8888}, "opens tcp 22-8888 to 192.88.99.0/24; expected tcp 22"),
        ("aws", "SecurityGroupIngressRule", {"fromPort": 80, "toPort": 80}, "opens tcp 80 to"),
        ("aws", "SecurityGroupIngressRule", {"ipProtocol": "-1"}, "opens any every port to"),
        ("aws", "SecurityGroupIngressRule", {"ipProtocol": "udp"}, "opens udp 22 to"),
        ("aws", "SecurityGroupIngressRule", {"cidrIpv4": "0.0.0.0/0"}, "expected a network of seminar:allowed-cidrs"),
        ("aws", "SecurityGroupIngressRule", {"cidrIpv4": None}, "opens 22 to unknown; expected a network"),
        (
            "aws",
            "SecurityGroup",
            {"ingress": [{"fromPort": 8888, "toPort": 8888, "protocol": "tcp", "cidrBlocks": ["10.0.0.0/8"]}]},
            "opens tcp 8888 to 10.0.0.0/8",
        ),
        ("azure", "NetworkSecurityGroup", {"securityRules": [inbound(destinationPortRange="*")]}, "opens tcp every"),
        ("azure", "NetworkSecurityGroup", {"securityRules": [inbound(protocol="*")]}, "opens any 22 to"),
        ("azure", "NetworkSecurityGroup", {"securityRules": [inbound(sourceAddressPrefix="*")]}, "opens 22 to *;"),
        (
            "azure",
            "NetworkSecurityGroup",
            {"securityRules": [inbound(destinationPortRange=None, destinationPortRanges=["22", "80-90"])]},
            "opens tcp 80-90 to",
        ),
        ("azure", "VirtualNetwork", {"subnets": [{"name": "open"}]}, "the subnet 'open' has no network security group"),
        ("azure", "VirtualNetwork", {"subnets": None}, "has no network security group"),
        ("aws", "Instance", {"rootBlockDevice": None}, "has a disk that is not encrypted"),
        ("aws", "Instance", {"rootBlockDevice": {"encrypted": False}}, "has a disk that is not encrypted"),
        ("aws", "Instance", {"ebsBlockDevices": [{"deviceName": "b"}]}, "has a disk that is not encrypted"),
        ("azure", "VirtualMachine", {"storageProfile": {"osDisk": {"vhd": {}}}}, "expected managed disks alone"),
        ("aws", "Instance", {"metadataOptions": {"httpTokens": "optional"}}, "expected IMDSv2 and one hop"),
        ("aws", "Instance", {"userData": "#cloud-config"}, "has a secret in the clear, in userData"),
        ("azure", "VirtualMachine", {"osProfile": {"customData": "aGk="}}, "in the clear, in osProfile.customData"),
        ("aws", "Vpc", {"tags": {"key": "-----BEGIN OPENSSH PRIVATE KEY----- x"}}, "in the clear, in tags.key"),
        ("aws", "Vpc", {"tags": {"hash": ["argon2:$argon2id$v"]}}, "in the clear, in tags.hash[0]"),
        ("aws", "Vpc", {"tags": {"motd": "say correct horse"}}, "in the clear, in tags.motd"),
        ("aws", "Instance", {"tags": {}}, "has the tag ends None; expected 2027-03-05T18:00:00Z"),
        ("azure", "VirtualMachine", {"tags": {"ends": "2027-03-06T18:00:00Z"}}, "expected 2027-03-05T18:00:00Z"),
    ],
)
def test_each_way_to_break_one(cloud: str, kind: str, change: dict[str, Any], said: str) -> None:
    found = broken(cloud, kind, lambda given: given.update(change))
    assert said in found
    assert "correct horse" not in found


def test_a_new_kind_needs_a_rule() -> None:
    settings, _ = declared("aws")
    balancer = Declared("aws:lb/loadBalancer:LoadBalancer", "front", {}, {})
    assert rules.faults_of(balancer, settings) == (
        "front: aws:lb/loadBalancer:LoadBalancer is a kind that no guard rail knows; expected one that "
        "policies/rules.py names.",
    )
    assert set(replacing.IN_PLACE) | {"aws:ec2/routeTableAssociation:RouteTableAssociation"} == rules.KNOWN
