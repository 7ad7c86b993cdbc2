"""The catalogue of machine sizes: what a name means in each cloud, and which quota it counts against. Pure.

vCPU, memory and GPU as on https://aws.amazon.com/ec2/instance-types/ (seen 2026-11). None of them is burstable, so that
every participant has the same speed all day, and all are x86-64, as the images are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT = "cpu-small"


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size. `gpu` is "" where there is none."""

    name: str
    aws_type: str
    vcpus: int
    memory_gib: int
    gpu: str = ""


SIZES = {
    size.name: size
    for size in (
        Size(name="cpu-small", aws_type="m6i.large", vcpus=2, memory_gib=8),
        Size(name="cpu-large", aws_type="m6i.2xlarge", vcpus=8, memory_gib=32),
        Size(name="gpu-small", aws_type="g4dn.xlarge", vcpus=4, memory_gib=16, gpu="NVIDIA T4, 16 GiB"),
        Size(name="gpu-large", aws_type="g5.2xlarge", vcpus=8, memory_gib=32, gpu="NVIDIA A10G, 24 GiB"),
    )
}


@dataclass(frozen=True)
class Quota:
    """A limit of an AWS account on running vCPUs, per region. `code` is that of the service `ec2` in Service Quotas."""

    code: str
    name: str


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
ADDRESS_QUOTA = Quota("L-0263D0A3", "EC2-VPC Elastic IPs")

_AWS_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


def aws_type(size: str, machine_type: str) -> str:
    """The EC2 instance type: `machine_type` where one is given, else that of the catalogue."""
    return machine_type or SIZES[size].aws_type


def is_aws_type(text: str) -> bool:
    """Whether the text has the form of an EC2 instance type; only AWS knows whether there is one."""
    return _AWS_TYPE.fullmatch(text) is not None and len(text) <= 40


def is_burstable(instance_type: str) -> bool:
    """Whether the type slows down once its CPU credits are used up: EC2's T family."""
    return re.match(r"t\d", instance_type) is not None


def quota(instance_type: str, *, spot: bool) -> Quota | None:
    """Which limit the type counts against, or None where that is not known here."""
    letters = re.match(r"[a-z]+", instance_type)
    known = _QUOTAS.get(letters.group()) if letters else None
    if known is None:
        return None
    on_demand, on_spot, family = known
    return Quota(on_spot if spot else on_demand, f"{'Spot' if spot else 'On-Demand'} {family}")
