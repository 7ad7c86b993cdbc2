"""The catalogues of sizes, quotas, regions and images against what the SDK and moto's copy of AWS' own data say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import moto
import pulumi_aws
import pytest

from stacks import images, regions, sizes


@pytest.fixture(scope="module")
def types() -> dict[str, Any]:
    """EC2's instance types, as moto took them from AWS."""
    file = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    return dict(json.loads(gzip.decompress(file.read_bytes())))


@pytest.mark.parametrize("size", sizes.SIZES.values(), ids=lambda size: size.name)
def test_a_size_is_what_aws_says(size: sizes.Size, types: dict[str, Any]) -> None:
    told = types[size.aws.name]
    assert told["VCpuInfo"]["DefaultVCpus"] == size.aws.vcpus
    assert told["MemoryInfo"]["SizeInMiB"] == size.aws.memory_gib * 1024
    assert images.ARCHITECTURE in told["ProcessorInfo"]["SupportedArchitectures"]
    gpus = told.get("GpuInfo", {}).get("Gpus", [])
    assert [f"{gpu['Manufacturer']} {gpu['Name']}" for gpu in gpus] == (
        [size.aws.gpu.split(",")[0]] if size.aws.gpu else []
    )
    assert sizes.quota(size.aws.name, spot=False) is not None


def test_burstable_types_are_those_of_aws(types: dict[str, Any]) -> None:
    """AWS' data leave out t1.micro, and of the newest family they call some sizes so and some not."""
    told = {name for name, each in types.items() if each["BurstablePerformanceSupported"]}
    assert {name for name in types if sizes.is_burstable(name) and not name.startswith(("t1.", "t8i."))} == told


def test_every_type_of_aws_is_taken_as_one(types: dict[str, Any]) -> None:
    assert [name for name in types if not sizes.is_aws_type(name)] == []


@pytest.mark.parametrize(
    ("instance_type", "spot", "code"),
    [
        ("m6i.large", False, "L-1216C47A"),
        ("m6i.large", True, "L-34B43A08"),
        ("im4gn.large", False, "L-1216C47A"),
        ("g4dn.xlarge", False, "L-DB2E81BA"),
        ("gr6.4xlarge", True, "L-3819A6DF"),
        ("p5.48xlarge", False, "L-417A185B"),
        ("inf2.xlarge", False, "L-1945791B"),
        ("u-6tb1.112xlarge", False, None),
        ("mac2.metal", False, None),
    ],
)
def test_the_quota_of_a_type(instance_type: str, spot: bool, code: str | None) -> None:
    found = sizes.quota(instance_type, spot=spot)
    assert (found and found.code) == code


def test_regions_are_those_of_the_sdk() -> None:
    public = {region.value for region in pulumi_aws.Region if "-iso" not in region.value}
    assert set(regions.AWS_REGIONS) == public


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_the_partition_of_a_region(region: str, partition: str) -> None:
    assert regions.partition(region) == partition


@pytest.mark.parametrize(
    ("name", "parameter", "packages"),
    [
        ("", f"/aws/service/deeplearning/ami/x86_64/{images.AWS_DEFAULT}/latest/ami-id", ()),
        (
            "base-oss-nvidia-driver-gpu-ubuntu-24.04",
            "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
            ("python3-venv",),
        ),
        (
            "ubuntu-24.04",
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
            ("python3-venv",),
        ),
    ],
)
def test_where_the_id_of_an_image_is_found(name: str, parameter: str, packages: tuple[str, ...]) -> None:
    assert images.aws_image(name) == images.AwsImage(parameter=parameter, packages=packages)


def test_an_exact_image() -> None:
    assert images.aws_image("ami-0123456789abcdef0") == images.AwsImage(
        ami="ami-0123456789abcdef0", packages=("python3-venv",)
    )


def test_azure_s_sizes_are_none_that_slow_down_and_have_azure_s_form() -> None:
    for size in sizes.SIZES.values():
        assert sizes.is_azure_type(size.azure.name)
        assert not sizes.is_burstable(size.azure.name)
        assert (size.azure.gpu == "") == (size.aws.gpu == "")
        assert size.azure.vcpus >= size.aws.vcpus
        assert size.azure.memory_gib >= size.aws.memory_gib
    assert sizes.is_burstable("Standard_B2ms")


@pytest.mark.parametrize("name", ["", "ubuntu-24.04", "Canonical:ubuntu-24_04-lts:server:24.04.202611010"])
def test_an_image_of_azure(name: str) -> None:
    found = images.azure_image(name)
    assert found is not None
    if name:
        assert (found.publisher, found.packages, found.services_off) == ("Canonical", ("python3-venv",), ())
    else:
        assert (found.publisher, found.packages, found.services_off) == ("microsoft-dsvm", (), ("jupyterhub.service",))


def test_azure_compares_names_of_images_without_regard_to_letter_case() -> None:
    found = images.azure_image("Microsoft-DSVM:Ubuntu-2204:2204-gen2:latest")
    assert found is not None
    assert found.services_off == ("jupyterhub.service",)


def test_vcpus_and_processors_that_a_name_tells_are_those_of_aws(types: dict[str, Any]) -> None:
    told = {name: sizes.vcpus(name) for name in types}
    known = {name: count for name, count in told.items() if count is not None}
    assert len(known) > 1000
    assert known == {name: types[name]["VCpuInfo"]["DefaultVCpus"] for name in known}
    others = [name for name in types if not name.startswith("mac")]
    arm = [name for name in others if images.ARCHITECTURE not in types[name]["ProcessorInfo"]["SupportedArchitectures"]]
    assert [name for name in others if sizes.is_graviton(name)] == arm


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("Standard_NC16as_T4_v3", 16),
        ("Standard_E16-8s_v5", 8),
        ("Standard_D2s_v5", 2),
        ("Standard_HB120rs_v3", 120),
        ("Standard_D3_v2", None),
        ("Standard_B2s", None),
        ("m6i.metal", None),
        ("zz9.large", None),
    ],
)
def test_vcpus_are_told_where_the_name_says_them(name: str, count: int | None) -> None:
    assert sizes.vcpus(name) == count
