"""Which image a machine starts from: what `image` may say in each cloud and where it is found there. Pure.

The Deep Learning AMIs' names are AWS' own (https://docs.aws.amazon.com/dlami/latest/devguide/find-dlami-id.html): a
parameter per line of images, `/aws/service/deeplearning/ami/x86_64/<line>/latest/ami-id`, whose value is the newest
image of that line. An image of Azure's marketplace is `publisher:offer:sku:version`, as `az vm image list` writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AZURE_DEFAULT = "microsoft-dsvm:ubuntu-2204:2204-gen2:latest"  # Microsoft's Data Science VM
AWS_DEFAULT = "oss-nvidia-driver-gpu-pytorch-2.12-ubuntu-24.04"
ARCHITECTURE = "x86_64"
PLAIN = "ubuntu-24.04"

# Canonical's, https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
_PLAIN_PARAMETER = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
# https://documentation.ubuntu.com/azure/azure-how-to/instances/find-ubuntu-images/
_PLAIN_URN = "Canonical:ubuntu-24_04-lts:server:latest"
_LINE = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*-ubuntu-\d\d\.\d\d")
_AMI = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})")
_URN = re.compile(r"[A-Za-z0-9._-]{1,50}(:[A-Za-z0-9._-]{1,64}){2}:(latest|\d+\.\d+\.\d+)")
_DSVM = ("microsoft-dsvm", "ubuntu-2")


@dataclass(frozen=True, kw_only=True)
class AwsImage:
    """An image by its id or by the SSM parameter that holds its id; one of both is "".

    `packages` is what Ubuntu must install for a Jupyter of the participant's own: the PyTorch lines bring one.
    """

    ami: str = ""
    parameter: str = ""
    packages: tuple[str, ...] = ()


def aws_image(name: str) -> AwsImage | None:
    """What the setting `image` means on AWS ("" is the default), or None where it means nothing."""
    name = name or AWS_DEFAULT
    own_jupyter = ("python3-venv",)
    if _AMI.fullmatch(name):
        return AwsImage(ami=name, packages=own_jupyter)
    if name == PLAIN:
        return AwsImage(parameter=_PLAIN_PARAMETER, packages=own_jupyter)
    if _LINE.fullmatch(name) and len(name) <= 100:
        return AwsImage(
            parameter=f"/aws/service/deeplearning/ami/{ARCHITECTURE}/{name}/latest/ami-id",
            packages=() if "pytorch" in name else own_jupyter,
        )
    return None


@dataclass(frozen=True, kw_only=True)
class AzureImage:
    """An image of Azure's marketplace.

    `packages` is what Ubuntu must install for a Jupyter of the participant's own. `services_off` are systemd units of
    the image's that nobody asked for: the Data Science VM starts a JupyterHub on port 8000, which takes passwords.
    """

    publisher: str
    offer: str
    sku: str
    version: str
    packages: tuple[str, ...]
    services_off: tuple[str, ...]


def azure_image(name: str) -> AzureImage | None:
    """What the setting `image` means on Azure ("" is the default), or None where it means nothing."""
    urn = {"": AZURE_DEFAULT, PLAIN: _PLAIN_URN}.get(name, name)
    if not _URN.fullmatch(urn):
        return None
    publisher, offer, sku, version = urn.split(":")
    is_dsvm = publisher.lower() == _DSVM[0] and offer.lower().startswith(_DSVM[1])
    return AzureImage(
        publisher=publisher,
        offer=offer,
        sku=sku,
        version=version,
        packages=() if is_dsvm else ("python3-venv",),
        services_off=("jupyterhub.service",) if is_dsvm else (),
    )
