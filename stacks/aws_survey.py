"""What AWS is asked before anything is made there: zones, type, quota, image. Declares nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
import pulumi_aws as aws

from stacks import images, sizes
from stacks.asking import ask, sentence
from stacks.errors import SettingsError
from stacks.regions import AWS_REGIONS
from stacks.settings import SeminarSettings

ZONE_LETTERS = "abcdefghijklmnop"  # as many as there are subnets in aws.py's network


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the account answers before anything is made.

    `image_gib` is the size of the image's own root volume, `packages` what must be installed on the image.
    """

    instance_type: str
    zones: tuple[str, ...]
    ami: str
    image_gib: int
    packages: tuple[str, ...]

    @classmethod
    def of(cls, settings: SeminarSettings, machines: int, opts: pulumi.InvokeOptions) -> Survey:
        """Ask. Raises SettingsError with every fault at once."""
        faults: list[str] = []
        where = f"Pulumi.{settings.seminar}.yaml"
        instance_type = sizes.machine_type(settings.cloud, settings.size, settings.machine_type)
        zones = _zones(settings, instance_type, opts)
        if zones:
            faults += _faults_of_type(settings, instance_type, machines, opts)
        else:
            key = "machine-type" if settings.machine_type else "size"
            faults.append(
                f"{where}: seminar:{key} means {instance_type}, which no zone of {settings.region} offers to this "
                "account; expected another type or region."
            )
        wanted = images.aws_image(settings.image)
        assert wanted is not None, "settings.py let it through"
        image, image_faults = _image(settings, wanted, opts)
        faults += image_faults
        if faults or image is None:
            raise SettingsError(faults)
        roots = [
            device.ebs["volume_size"]
            for device in image.block_device_mappings
            if device.device_name == image.root_device_name and device.ebs.get("volume_size")
        ]
        return cls(
            instance_type=instance_type,
            zones=zones,
            ami=image.id,
            image_gib=int((roots or [0])[0]),
            packages=wanted.packages,
        )


def _zones(settings: SeminarSettings, instance_type: str, opts: pulumi.InvokeOptions) -> tuple[str, ...]:
    """The region's own zones that offer the type: local and wavelength zones, which end otherwise, are left out.

    Raises SettingsError where the zones are another region's: that in which the seminar was made.
    """
    filters = [aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=[instance_type])]
    question = partial(
        aws.ec2.get_instance_type_offerings, location_type="availability-zone", filters=filters, opts=opts
    )
    offered = ask("AWS", f"which zones offer {instance_type} in {settings.region}", question).locations
    elsewhere = sorted({zone[:-1] for zone in offered if zone[:-1] in AWS_REGIONS} - {settings.region})
    if elsewhere:
        raise SettingsError(
            f"Pulumi.{settings.seminar}.yaml: seminar:region is {settings.region}, and this seminar's machines are in "
            f"{elsewhere[0]}; expected {elsewhere[0]}. To move them, which makes them anew and empty, `pulumi destroy` "
            "first."
        )
    return tuple(sorted(zone for zone in offered if zone[:-1] == settings.region and zone[-1] in ZONE_LETTERS))


def _faults_of_type(
    settings: SeminarSettings, instance_type: str, machines: int, opts: pulumi.InvokeOptions
) -> list[str]:
    """Whether the images run on this type, and whether the account may have so many of it."""
    question = partial(aws.ec2.get_instance_type, instance_type=instance_type, opts=opts)
    told = ask("AWS", f"what {instance_type} is in {settings.region}", question)
    faults = []
    if images.ARCHITECTURE not in told.supported_architectures:
        came = ", ".join(told.supported_architectures)
        faults.append(
            f"Pulumi.{settings.seminar}.yaml: seminar:machine-type is {instance_type}, whose processor is {came}; "
            f"expected a type with {images.ARCHITECTURE}, for which the images are made."
        )
    needs = [(sizes.quota(instance_type, spot=settings.spot), machines * told.default_vcpus, "vCPUs")]
    if settings.stable_addresses:
        needs.append((sizes.ADDRESS_QUOTA, machines, "addresses"))
    return faults + [
        f"{machines} machines of type {instance_type} need {needed} {unit}, and this account's quota in "
        f"{settings.region} is {limit:g}: ask for more of {quota.code} ({quota.name}); docs/aws.md says how."
        for quota, needed, unit in needs
        if quota is not None and (limit := _limit(quota, opts)) is not None and limit < needed
    ]


def _limit(quota: sizes.Quota, opts: pulumi.InvokeOptions) -> float | None:
    """The account's quota, or None where AWS does not tell: not every organiser may ask, and it is only a help."""
    try:
        return float(aws.servicequotas.get_service_quota(service_code="ec2", quota_code=quota.code, opts=opts).value)
    except Exception:
        return None


def _image(settings: SeminarSettings, wanted: images.AwsImage, opts: pulumi.InvokeOptions) -> tuple[Any, list[str]]:
    """The image as AWS describes it, or None and why not."""
    where = f"Pulumi.{settings.seminar}.yaml: seminar:image {settings.image or images.AWS_DEFAULT}"
    ami = wanted.ami
    if wanted.parameter:
        try:
            ami = aws.ssm.get_parameter(name=wanted.parameter, opts=opts).insecure_value
        except Exception as error:
            return None, [f"{where} was not found in {settings.region} as {wanted.parameter}: {sentence(error)}"]
    filters = [aws.ec2.GetAmiFilterArgs(name="image-id", values=[ami])]
    try:
        image = aws.ec2.get_ami(filters=filters, most_recent=True, include_deprecated=True, opts=opts)
    except Exception as error:
        return None, [f"{where} ({ami}) can't be used in {settings.region}: {sentence(error)}"]
    if image.architecture != images.ARCHITECTURE:
        return None, [f"{where} ({ami}) is for {image.architecture}; expected an image for {images.ARCHITECTURE}."]
    return image, []
