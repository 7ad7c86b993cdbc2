"""Which image a machine starts from: what `image` may say and where its id is found. Pure.

The Deep Learning AMIs' names are AWS' own (https://docs.aws.amazon.com/dlami/latest/devguide/find-dlami-id.html): a
parameter per line of images, `/aws/service/deeplearning/ami/x86_64/<line>/latest/ami-id`, whose value is the newest
image of that line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AWS_DEFAULT = "oss-nvidia-driver-gpu-pytorch-2.12-ubuntu-24.04"
ARCHITECTURE = "x86_64"
PLAIN = "ubuntu-24.04"

# Canonical's, https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
_PLAIN_PARAMETER = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
_LINE = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*-ubuntu-\d\d\.\d\d")
_AMI = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})")


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
