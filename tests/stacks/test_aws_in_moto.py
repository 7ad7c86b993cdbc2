"""The seminar on AWS, made in moto's model of the API by the program in this process, and read back with boto3."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator

import pytest
import yaml

from stacks import images
from stacks.ends import as_utc
from tests.doubles.account import IMAGE_GIB, Account, an_account, tags
from tests.doubles.maker import ENDS, make
from tests.program import SEMINAR, Exported


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Account, Exported]]:
    """A seminar of six, for the tests that only look."""
    with an_account() as found:
        yield found, make(found)


Made = tuple[Account, Exported]


def test_only_ssh_is_open_and_only_to_those_networks(made: Made) -> None:
    """Every rule of every group on a machine: port ranges, protocols, both families, and groups that let others in."""
    account, _ = made
    ec2 = account.client("ec2")
    groups = {group["GroupId"] for machine in account.machines() for group in machine["SecurityGroups"]}
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": sorted(groups)}])
    inward = [rule for rule in rules["SecurityGroupRules"] if not rule["IsEgress"]]
    opened = set()
    for rule in inward:
        assert rule["IpProtocol"] == "tcp"
        assert "ReferencedGroupInfo" not in rule
        assert "PrefixListId" not in rule
        cidr = ipaddress.ip_network(rule.get("CidrIpv4") or rule["CidrIpv6"])
        opened |= {(str(cidr), port) for port in range(rule["FromPort"], rule["ToPort"] + 1)}
    assert opened == {(cidr, port) for cidr in ("192.88.99.0/24", "2001:db8:1::/48") for port in (22, 443)}
    assert len(inward) == 4
    (outward,) = [rule for rule in rules["SecurityGroupRules"] if rule["IsEgress"]]
    assert (outward["IpProtocol"], outward["CidrIpv4"]) == ("-1", "0.0.0.0/0")


def test_each_machine_is_in_a_group_of_the_seminar_alone(made: Made) -> None:
    account, _ = made
    for machine in account.machines():
        (group,) = machine["SecurityGroups"]
        (found,) = account.client("ec2").describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
        assert tags(found)["seminar"] == SEMINAR


def test_the_network_is_its_own_with_a_public_subnet_per_zone(made: Made) -> None:
    account, _ = made
    there = account.everything()
    (network,) = there["networks"]
    assert {subnet["AvailabilityZone"] for subnet in there["subnets"]} == {f"eu-central-1{letter}" for letter in "abc"}
    assert all(subnet["MapPublicIpOnLaunch"] and subnet["VpcId"] == network for subnet in there["subnets"])
    cidrs = [ipaddress.ip_network(subnet["CidrBlock"]) for subnet in there["subnets"]]
    assert all(cidr.num_addresses - 5 > 500 for cidr in cidrs)
    assert not any(one.overlaps(other) for one in cidrs for other in cidrs if one != other)
    (routes,) = [table for table in there["routes"] if not any(each["Main"] for each in table["Associations"])]
    assert {each["SubnetId"] for each in routes["Associations"]} == {each["SubnetId"] for each in there["subnets"]}
    (gateway,) = there["gateways"]
    assert ("0.0.0.0/0", gateway["InternetGatewayId"]) in {
        (route["DestinationCidrBlock"], route["GatewayId"]) for route in routes["Routes"]
    }


def test_every_machine(made: Made) -> None:
    account, exported = made
    ec2 = account.client("ec2")
    machines = account.machines()
    seats = {seat["id"]: seat for seat in exported.outputs["handover"]["seats"]}
    assert [tags(machine)["participant"] for machine in machines] == list(seats)
    for machine in machines:
        options = machine["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
        assert machine["InstanceType"] == "m6i.large"
        assert machine["ImageId"] == account.newest(images.AWS_DEFAULT)
        assert "IamInstanceProfile" not in machine
        assert machine["PublicIpAddress"] == seats[tags(machine)["participant"]]["host"]
        shutdown = ec2.describe_instance_attribute(
            InstanceId=machine["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert shutdown["InstanceInitiatedShutdownBehavior"]["Value"] == "stop"
        (device,) = machine["BlockDeviceMappings"]
        (volume,) = ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"]
        assert (volume["Encrypted"], volume["VolumeType"], volume["Size"]) == (True, "gp3", IMAGE_GIB)
        assert tags(volume) == tags(machine)
        told = tags(machine)
        assert (told["seminar"], told["managed-by"], told["ends"]) == (SEMINAR, "pulumi", as_utc(ENDS))


def test_the_user_data_is_what_cloud_init_gets(made: Made) -> None:
    account, _ = made
    for machine in account.machines():
        id_ = tags(machine)["participant"]
        attribute = account.client("ec2").describe_instance_attribute(
            InstanceId=machine["InstanceId"], Attribute="userData"
        )
        text = base64.b64decode(attribute["UserData"]["Value"]).decode()
        document = yaml.safe_load(text)
        assert document["ssh_keys"]["ed25519_private"] == f"host key of {id_}"
        assert document["users"][1]["ssh_authorized_keys"][0] == f"public_key of {id_}"


def test_the_key_is_the_organiser_s(made: Made) -> None:
    account, _ = made
    (key,) = account.everything()["keys"]
    assert key["KeyType"] == "ed25519"
    assert {machine["KeyName"] for machine in account.machines()} == {key["KeyName"]}


def test_every_machine_is_stopped_at_the_end(made: Made) -> None:
    account, _ = made
    scheduler = account.client("scheduler")
    stopped = []
    for listed in scheduler.list_schedules()["Schedules"]:
        schedule = scheduler.get_schedule(Name=listed["Name"])
        assert schedule["ScheduleExpression"] == f"at({as_utc(ENDS).rstrip('Z')})"
        assert schedule["ScheduleExpressionTimezone"] == "UTC"
        assert schedule["State"] == "ENABLED"
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        target = schedule["Target"]
        assert target["Arn"] == "arn:aws:scheduler:::aws-sdk:ec2:stopInstances"
        stopped += json.loads(target["Input"])["InstanceIds"]
        role = account.client("iam").get_role(RoleName=target["RoleArn"].rsplit("/", maxsplit=1)[-1])["Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert sorted(stopped) == sorted(machine["InstanceId"] for machine in account.machines())


def test_the_role_may_stop_this_seminar_s_machines_and_nothing_else(made: Made) -> None:
    account, _ = made
    iam = account.client("iam")
    (role,) = account.everything()["roles"]
    (name,) = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    assert iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"] == []
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
    (statement,) = policy["Statement"]
    assert statement["Action"] == "ec2:StopInstances"
    assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/seminar": SEMINAR}}
