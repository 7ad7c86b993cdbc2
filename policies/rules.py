"""The guard rails: what no resource of a seminar may be, judged one by one, by what was really declared. Pure.

A rule takes a resource and the settings and gives a sentence for each fault. What it does not know it refuses: a new
kind of resource, a source that is not said in so many words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policies.declared import Declared
from policies.openings import openings_of
from stacks.access import SSH_PORTS
from stacks.ends import as_utc
from stacks.settings import SeminarSettings

Rule = Callable[[Declared, SeminarSettings], Iterator[str]]

_INSTANCE = "aws:ec2/instance:Instance"
_VIRTUAL_MACHINE = "azure-native:compute:VirtualMachine"
_NETWORK = "azure-native:network:VirtualNetwork"

# Every kind that the rules were written for. Another one may open, store or tell something that none of them looks at.
KNOWN = {
    "pulumi-python:dynamic:OrganiserKey",
    "pulumi-python:dynamic:MachineCredentials",
    "pulumi-python:dynamic:LocalMachine",
    _INSTANCE,
    "aws:ec2/vpc:Vpc",
    "aws:ec2/subnet:Subnet",
    "aws:ec2/internetGateway:InternetGateway",
    "aws:ec2/routeTable:RouteTable",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "aws:ec2/keyPair:KeyPair",
    "aws:ec2/eip:Eip",
    "aws:iam/role:Role",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:scheduler/schedule:Schedule",
    "azure-native:resources:ResourceGroup",
    "azure-native:network:NetworkSecurityGroup",
    _NETWORK,
    "azure-native:network:PublicIPAddress",
    "azure-native:network:NetworkInterface",
    _VIRTUAL_MACHINE,
    "azure-native:devtestlab:GlobalSchedule",
}

# Inputs that a machine reads at its first boot: they carry its private host key.
_TOLD_AT_BOOT = ("userData", "userDataBase64", "customData")
_SECRET_WORDS = ("PRIVATE KEY-----", "$argon2id$")


def faults_of(resource: Declared, settings: SeminarSettings) -> tuple[str, ...]:
    """Every rule that the resource breaks, as a sentence that begins with its name. Never shows a secret."""
    if resource.is_group or resource.kind.startswith("pulumi:"):
        return ()
    return tuple(f"{resource.name}: {fault}" for rule in RULES for fault in rule(resource, settings))


def _is_known(resource: Declared, _: SeminarSettings) -> Iterator[str]:
    if resource.kind not in KNOWN:
        yield f"{resource.kind} is a kind that no guard rail knows; expected one that policies/rules.py names."


def _only_ssh_comes_in(resource: Declared, settings: SeminarSettings) -> Iterator[str]:
    for opening in openings_of(resource):
        if opening.protocol != "tcp" or opening.first not in SSH_PORTS or opening.last != opening.first:
            yield f"opens {opening.protocol} {opening.ports} to {opening.source}; expected tcp 22 and 443 alone."
        if opening.source not in settings.allowed_cidrs:
            yield f"opens {opening.ports} to {opening.source}; expected a network of seminar:allowed-cidrs."


def _subnets_are_guarded(resource: Declared, _: SeminarSettings) -> Iterator[str]:
    if resource.kind == _NETWORK:
        for subnet in resource.inputs.get("subnets") or [{}]:
            if not subnet.get("networkSecurityGroup"):
                yield f"the subnet {subnet.get('name')!r} has no network security group; expected one."


def _disks_are_encrypted(resource: Declared, _: SeminarSettings) -> Iterator[str]:
    given = resource.inputs
    if resource.kind == _INSTANCE:
        disks = [given.get("rootBlockDevice") or {}, *(given.get("ebsBlockDevices") or [])]
        if not all(disk.get("encrypted") is True for disk in disks):
            yield "has a disk that is not encrypted; expected encrypted: true for each."
    if resource.kind == _VIRTUAL_MACHINE:  # Azure encrypts each managed disk, and no other
        storage = given.get("storageProfile") or {}
        disks = [storage.get("osDisk") or {}, *(storage.get("dataDisks") or [])]
        if not all(disk.get("managedDisk") and not disk.get("vhd") for disk in disks):
            yield "has a disk that Azure does not encrypt by itself; expected managed disks alone."


def _metadata_needs_a_token(resource: Declared, _: SeminarSettings) -> Iterator[str]:
    if resource.kind != _INSTANCE:
        return
    options = resource.inputs.get("metadataOptions") or {}
    if options.get("httpTokens") != "required" or options.get("httpPutResponseHopLimit") != 1:
        yield "answers for its metadata without a token, or over more than one hop; expected IMDSv2 and one hop."


def _no_secret_in_clear(resource: Declared, settings: SeminarSettings) -> Iterator[str]:
    words = (*_SECRET_WORDS, *([str(settings.password)] if settings.password else []))
    for path, value in _texts(resource.clear):
        if path.rsplit(".", maxsplit=1)[-1] in _TOLD_AT_BOOT or any(word in value for word in words):
            yield f"has a secret in the clear, in {path}; expected pulumi.Output.secret around it."


def _has_an_end(resource: Declared, settings: SeminarSettings) -> Iterator[str]:
    """A seminar without `ends` is warned of; one with an end ends every machine."""
    if settings.ends is None or resource.kind not in (_INSTANCE, _VIRTUAL_MACHINE):
        return
    told = (resource.inputs.get("tags") or {}).get("ends")
    if told != as_utc(settings.ends):
        yield f"has the tag ends {told!r}; expected {as_utc(settings.ends)}, the seminar's end."


RULES: tuple[Rule, ...] = (
    _is_known,
    _only_ssh_comes_in,
    _subnets_are_guarded,
    _disks_are_encrypted,
    _metadata_needs_a_token,
    _no_secret_in_clear,
    _has_an_end,
)


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the inputs, with where it stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{path}[{number}]")
    elif isinstance(value, str) and value:
        yield path, value
