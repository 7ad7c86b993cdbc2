"""What a seminar on AWS may be beside the usual, and what is refused, each in an account of its own: moto's.

In a file of its own: a fresh account ends the one that test_aws_in_moto.py looks at.
"""

from __future__ import annotations

from collections.abc import Iterator

import pulumi
import pytest

from stacks import images
from tests.doubles.account import IMAGE_GIB, Account, an_account
from tests.doubles.maker import make


@pytest.fixture
def account() -> Iterator[Account]:
    with an_account() as found:
        yield found


def test_a_stable_address_stays_when_a_machine_is_stopped_and_started(account: Account) -> None:
    exported = make(account, participants="2", stable_addresses="true")
    ids = [machine["InstanceId"] for machine in account.machines()]
    account.client("ec2").stop_instances(InstanceIds=ids)
    account.client("ec2").start_instances(InstanceIds=ids)
    kept = {address["InstanceId"]: address["PublicIp"] for address in account.everything()["addresses"]}
    assert [kept[id_] for id_ in ids] == [seat["host"] for seat in exported.outputs["handover"]["seats"]]


@pytest.mark.parametrize(("wish", "gib"), [("120", 120), (str(IMAGE_GIB - 1), IMAGE_GIB)])
def test_the_disk_that_is_wished_for(account: Account, wish: str, gib: int) -> None:
    make(account, participants="1", disk_gib=wish)
    assert [volume["Size"] for volume in account.everything()["volumes"]] == [gib]


def test_spot_machines(account: Account) -> None:
    make(account, participants="1", spot="true")
    assert [machine["InstanceLifecycle"] for machine in account.machines()] == ["spot"]


def test_the_plain_image(account: Account) -> None:
    ami = account.publish(line=images.PLAIN)
    make(account, participants="1", image=images.PLAIN)
    assert [machine["ImageId"] for machine in account.machines()] == [ami]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine_type": "x9.huge"}, "seminar:machine-type means x9.huge, which no zone of eu-central-1 offers"),
        ({"machine_type": "m7g.large"}, "seminar:machine-type is m7g.large, whose processor is arm64"),
        ({"image": "pytorch-0.1-ubuntu-24.04"}, "seminar:image pytorch-0.1-ubuntu-24.04 was not found in eu-central-1"),
        ({"image": "ami-0123456789abcdef0"}, "(ami-0123456789abcdef0) can't be used in eu-central-1: Your query"),
    ],
)
def test_what_the_region_has_not_is_refused_before_anything_is_made(
    account: Account, change: dict[str, str], said: str
) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        make(account, **change)
    assert said in str(caught.value)
    assert {kind for kind, found in account.everything().items() if found} == set()


def test_a_quota_that_is_too_small_is_refused_before_anything_is_made(account: Account) -> None:
    account.quota("L-1216C47A", 5.0)
    with pytest.raises(pulumi.RunError) as caught:
        make(account)
    assert str(caught.value) == (
        "6 machines of type m6i.large need 12 vCPUs, and this account's quota in eu-central-1 is 5: ask for more of "
        "L-1216C47A (On-Demand Standard (A, C, D, H, I, M, R, T, Z)); docs/aws.md says how."
    )
    assert {kind for kind, found in account.everything().items() if found} == set()
