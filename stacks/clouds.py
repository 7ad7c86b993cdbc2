"""What each cloud takes in the settings that mean something else in each: region, machine type, image, disk. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stacks import images, regions, sizes


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """One cloud. `a_type` and `an_image` say what is expected, for people."""

    title: str
    regions: tuple[str, ...]
    a_region: str
    is_type: Callable[[str], bool]
    a_type: str
    is_image: Callable[[str], bool]
    an_image: str
    most_disk_gib: int


CLOUDS = {
    "aws": Cloud(
        title="AWS",
        regions=regions.AWS_REGIONS,
        a_region="eu-central-1",
        is_type=sizes.is_aws_type,
        a_type="an EC2 instance type, for example g5.xlarge",
        is_image=lambda name: images.aws_image(name) is not None,
        an_image=f"a line of Deep Learning AMIs such as {images.AWS_DEFAULT}, {images.PLAIN}, or an id such as "
        "ami-0123456789abcdef0",
        # The largest gp3 volume, https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html
        most_disk_gib=16384,
    ),
    "azure": Cloud(
        title="Azure",
        regions=regions.AZURE_REGIONS,
        a_region="westeurope",
        is_type=sizes.is_azure_type,
        a_type="a size of Azure's, for example Standard_NC8as_T4_v3",
        is_image=lambda name: images.azure_image(name) is not None,
        an_image=f"an image as publisher:offer:sku:version, such as {images.AZURE_DEFAULT}, or {images.PLAIN}",
        # The largest disk to boot from, https://learn.microsoft.com/azure/virtual-machines/managed-disks-overview
        most_disk_gib=4095,
    ),
}
