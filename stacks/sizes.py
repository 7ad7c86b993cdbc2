"""The catalogue of machine sizes: what a name means in each cloud, and which quota it counts against. Pure.

vCPU, memory and GPU as on https://aws.amazon.com/ec2/instance-types/ and on https://learn.microsoft.com/azure/
virtual-machines/sizes/overview (seen 2026-11). None of them is burstable, so that every participant has the same speed
all day, and all are x86-64, as the images are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT = "cpu-small"


@dataclass(frozen=True)
class Type:
    """A type of machine by its cloud's name for it. `gpu` is "" where there is none.

    `family` is Azure's name of the quota that it counts against; on AWS `quota` says it of every type.
    """

    name: str
    vcpus: int
    memory_gib: int
    gpu: str = ""
    family: str = ""


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size: the type that it means in each cloud. They are alike, and not the same."""

    name: str
    aws: Type
    azure: Type


# Azure's A10 is in its NV family, which the Data Science VM does not support; the next larger GPU is an A100.
SIZES = {
    size.name: size
    for size in (
        Size(
            name="cpu-small",
            aws=Type("m6i.large", 2, 8),
            azure=Type("Standard_D2s_v5", 2, 8, family="standardDSv5Family"),
        ),
        Size(
            name="cpu-large",
            aws=Type("m6i.2xlarge", 8, 32),
            azure=Type("Standard_D8s_v5", 8, 32, family="standardDSv5Family"),
        ),
        Size(
            name="gpu-small",
            aws=Type("g4dn.xlarge", 4, 16, "NVIDIA T4, 16 GiB"),
            azure=Type("Standard_NC4as_T4_v3", 4, 28, "NVIDIA T4, 16 GiB", family="Standard NCASv3_T4 Family"),
        ),
        Size(
            name="gpu-large",
            aws=Type("g5.2xlarge", 8, 32, "NVIDIA A10G, 24 GiB"),
            azure=Type("Standard_NC24ads_A100_v4", 24, 220, "NVIDIA A100, 80 GiB", family="StandardNCADSA100v4Family"),
        ),
    )
}


@dataclass(frozen=True)
class Quota:
    """A limit of an AWS account on running vCPUs, per region. `code` is that of the service `ec2` in Service Quotas.

    `of_new_account` is what a new account begins with, None where that is not known here.
    """

    code: str
    name: str
    of_new_account: int | None = None


_STANDARD = "Standard (A, C, D, H, I, M, R, T, Z)"
# Family letters -> (on-demand code, spot code, name). From https://docs.aws.amazon.com/ec2/latest/instancetypes/
# ec2-instance-quotas.html and Service Quotas' own listing.
_QUOTAS = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), ("L-1216C47A", "L-34B43A08", _STANDARD)),
    **dict.fromkeys(("g", "gr", "vt"), ("L-DB2E81BA", "L-3819A6DF", "G and VT")),
    "p": ("L-417A185B", "L-7212CCBC", "P"),
    "f": ("L-74FC7D96", "L-88CF9481", "F"),
    "x": ("L-7295265B", "L-E3A00192", "X"),
    "inf": ("L-1945791B", "L-B5D1601B", "Inf"),
    "trn": ("L-2C3B7624", "L-5480EFD2", "Trn"),
    "dl": ("L-6E869C2A", "L-85EED4F7", "DL"),
}
ADDRESS_QUOTA = Quota("L-0263D0A3", "EC2-VPC Elastic IPs", 5)
# What new accounts report (seen 2026-11): the standard family's is the default of https://docs.aws.amazon.com/cli/
# latest/reference/service-quotas/get-aws-default-service-quota.html; of GPUs they begin with none.
_OF_NEW_ACCOUNTS = {"L-1216C47A": 5, "L-DB2E81BA": 0, "L-3819A6DF": 0}

# Families of EC2 whose sizes do not count as the others' do: `large` has 2 vCPUs, `xlarge` 4, `2xlarge` 8 and so on.
_OTHERWISE = ("c1", "c4", "d2", "m2")

_AWS_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
# https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
_AZURE_TYPE = re.compile(r"Standard_[A-Z]+[0-9]+[A-Za-z0-9-]*(_[A-Za-z0-9]+)*")


def machine_type(cloud: str, size: str, wish: str) -> str:
    """The cloud's type of machine: `wish` where there is one, else what the catalogue has for `size`."""
    if wish:
        return wish
    return (SIZES[size].aws if cloud == "aws" else SIZES[size].azure).name


def is_aws_type(text: str) -> bool:
    """Whether the text has the form of an EC2 instance type; only AWS knows whether there is one."""
    return _AWS_TYPE.fullmatch(text) is not None and len(text) <= 40


def is_azure_type(text: str) -> bool:
    """Whether the text has the form of an Azure size; only Azure knows whether there is one."""
    return _AZURE_TYPE.fullmatch(text) is not None and len(text) <= 40


def is_burstable(instance_type: str) -> bool:
    """Whether the type slows down once its CPU credits are used up: EC2's T family, Azure's B family."""
    return re.match(r"t\d|Standard_B", instance_type) is not None


def quota(instance_type: str, *, spot: bool) -> Quota | None:
    """Which limit the type counts against, or None where that is not known here."""
    letters = re.match(r"[a-z]+", instance_type)
    known = _QUOTAS.get(letters.group()) if letters else None
    if known is None:
        return None
    on_demand, on_spot, family = known
    code = on_spot if spot else on_demand
    return Quota(code, f"{'Spot' if spot else 'On-Demand'} {family}", _OF_NEW_ACCOUNTS.get(code))


def in_catalogue(machine_type: str) -> Type | None:
    """What the catalogue knows of a type, by its cloud's name for it."""
    types = (each for size in SIZES.values() for each in (size.aws, size.azure))
    return next((each for each in types if each.name == machine_type), None)


def vcpus(machine_type: str) -> int | None:
    """How many vCPUs a type has, by the catalogue or by its name, or None where its name does not say it.

    Of AWS' the test holds that to AWS' own list; Azure's names carry the number, which those before `_v3` do not all.
    """
    if known := in_catalogue(machine_type):
        return known.vcpus
    if named := re.fullmatch(r"Standard_[A-Z]+(\d+)(?:-(\d+))?[a-z]*(?:_\w+)?_v(?:[3-9]|\d\d)", machine_type):
        return int(named[2] or named[1])
    family, _, size = machine_type.partition(".")
    sized = re.fullmatch(r"(\d*)(x?large)", size)
    if sized is None or quota(machine_type, spot=False) is None or family in _OTHERWISE:
        return None
    if sized[2] == "large":
        return None if sized[1] else 2
    return 4 * int(sized[1] or 1)


def is_graviton(instance_type: str) -> bool:
    """Whether EC2's name of the type says that its processor is AWS' own, of the architecture arm64."""
    return re.match(r"a1\.|[a-z]+\d+[a-z]*g[a-z]*[.-]", instance_type) is not None
