"""The seminar on AWS, declared with the real SDK: every property of every resource, and each refusal before any."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
import yaml

from stacks import images
from stacks.aws import zone_of
from stacks.outputs import HandOver
from tests import recorder as recorders
from tests.program import HOST_KEY, Exported, Monitor, Refusal, run

AMI = "ami-0123456789abcdef0"
SETTINGS = {
    "cloud": "aws",
    "participants": "2",
    "region": "eu-central-1",
    "allowed-cidrs": '["192.88.99.0/24", "2001:db8:1::/48"]',
    "size": "gpu-small",
    "disk-gib": "100",
    "ends": "2099-03-05 18:00 Europe/Berlin",
    "spot": "true",
    "stable-addresses": "true",
}
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")


class Recorder(recorders.Recorder):
    """Answers as AWS would. `answers` replaces an answer by its token."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(
            {
                "getInstanceTypeOfferings": {"locations": [*reversed(ZONES), "eu-central-1-ham-1a"]},
                "getInstanceType": {"defaultVcpus": 4, "supportedArchitectures": ["x86_64"]},
                "getParameter": {"insecureValue": AMI},
                "getAmi": {
                    "id": AMI,
                    "architecture": "x86_64",
                    "rootDeviceName": "/dev/sda1",
                    "blockDeviceMappings": [
                        {"deviceName": "/dev/sdb", "ebs": {}},
                        {"deviceName": "/dev/sda1", "ebs": {"volume_size": "75"}},
                    ],
                },
                "getServiceQuota": {"value": 64.0},
                **answers,
            }
        )

    def made(self, kind: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        outputs = {
            "KeyPair": {"keyName": "key-1234567"},
            "Role": {"arn": "arn:aws:iam::123456789012:role/stop"},
            "Instance": {"publicIp": f"first address of {name}"},
            "Eip": {"publicIp": f"own address of {name}"},
        }
        return f"id of {name}", outputs.get(kind, {})


def declare(recorder: Recorder, monitor: Monitor | None = None, **more: str) -> Exported:
    return run(recorder, {**SETTINGS, **{key.replace("_", "-"): value for key, value in more.items()}}, monitor)


def tags(name: str, **more: str) -> dict[str, str]:
    told = {"Name": f"spring-{name}", "seminar": "spring", "managed-by": "pulumi", "ends": "2099-03-05T17:00:00Z"}
    return {**told, **more}


def rule(port: int, cidr: str, family: int) -> dict[str, Any]:
    return {
        "securityGroupId": "id of machines-access",
        "ipProtocol": "tcp",
        "fromPort": port,
        "toPort": port,
        f"cidrIpv{family}": cidr,
        "tags": tags(f"ssh-{port}"),
    }


def machine(id_: str, zone: str) -> dict[str, dict[str, Any]]:
    own = tags(id_, participant=id_)
    return {
        f"Instance machines-{id_}": {
            "ami": AMI,
            "instanceType": "g4dn.xlarge",
            "subnetId": f"id of machines-{zone}",
            "vpcSecurityGroupIds": ["id of machines-access"],
            "keyName": "key-1234567",
            "userDataReplaceOnChange": False,
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpTokens": "required",
                "httpPutResponseHopLimit": 1,
                "httpProtocolIpv6": "disabled",
                "instanceMetadataTags": "enabled",
            },
            "rootBlockDevice": {
                "volumeType": "gp3",
                "volumeSize": 100,
                "encrypted": True,
                "deleteOnTermination": True,
                "tags": own,
            },
            "instanceMarketOptions": {
                "marketType": "spot",
                "spotOptions": {"spotInstanceType": "persistent", "instanceInterruptionBehavior": "stop"},
            },
            "instanceInitiatedShutdownBehavior": "stop",
            "tags": own,
        },
        f"Eip machines-{id_}": {"domain": "vpc", "instance": f"id of machines-{id_}", "tags": own},
        f"Schedule machines-{id_}": {
            "description": "Stops a machine of the seminar spring at its end",
            "flexibleTimeWindow": {"mode": "OFF"},
            "scheduleExpression": "at(2099-03-05T17:00:00)",
            "scheduleExpressionTimezone": "UTC",
            "target": {
                "arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances",
                "roleArn": "arn:aws:iam::123456789012:role/stop",
                "input": json.dumps({"InstanceIds": [f"id of machines-{id_}"]}),
                "retryPolicy": {"maximumEventAgeInSeconds": 3600},
            },
        },
    }


WHOLE = {
    "aws machines-provider": {
        "region": "eu-central-1",
        "skipCredentialsValidation": "false",
        "skipRegionValidation": "true",
    },
    "Vpc machines-network": {"cidrBlock": "10.20.0.0/16", "enableDnsSupport": True, "tags": tags("network")},
    "InternetGateway machines-gateway": {"vpcId": "id of machines-network", "tags": tags("gateway")},
    "RouteTable machines-routes": {
        "vpcId": "id of machines-network",
        "routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": "id of machines-gateway"}],
        "tags": tags("routes"),
    },
    **{
        f"Subnet machines-{zone}": {
            "vpcId": "id of machines-network",
            "availabilityZone": zone,
            "cidrBlock": cidr,
            "mapPublicIpOnLaunch": True,
            "tags": tags(zone),
        }
        for zone, cidr in zip(ZONES, ("10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20"), strict=True)
    },
    **{
        f"RouteTableAssociation machines-{zone}": {
            "routeTableId": "id of machines-routes",
            "subnetId": f"id of machines-{zone}",
        }
        for zone in ZONES
    },
    "SecurityGroup machines-access": {
        "description": "Seminar: SSH alone",
        "vpcId": "id of machines-network",
        "tags": tags("access"),
    },
    "SecurityGroupIngressRule machines-ssh-22-192.88.99.0-24": rule(22, "192.88.99.0/24", 4),
    "SecurityGroupIngressRule machines-ssh-443-192.88.99.0-24": rule(443, "192.88.99.0/24", 4),
    "SecurityGroupIngressRule machines-ssh-22-2001.db8.1..-48": rule(22, "2001:db8:1::/48", 6),
    "SecurityGroupIngressRule machines-ssh-443-2001.db8.1..-48": rule(443, "2001:db8:1::/48", 6),
    "SecurityGroupEgressRule machines-out": {
        "securityGroupId": "id of machines-access",
        "ipProtocol": "-1",
        "cidrIpv4": "0.0.0.0/0",
        "tags": tags("out"),
    },
    "KeyPair machines-organiser": {"publicKey": "organiser's key", "tags": tags("organiser")},
    "Role machines-stop": {
        "description": "Stops the machines of the seminar spring at its end",
        "assumeRolePolicy": json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
                ],
            }
        ),
        "tags": tags("stop"),
    },
    "RolePolicy machines-stop": {
        "role": "id of machines-stop",
        "policy": json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "ec2:StopInstances",
                        "Resource": "arn:aws:ec2:eu-central-1:*:instance/*",
                        "Condition": {"StringEquals": {"aws:ResourceTag/seminar": "spring"}},
                    }
                ],
            }
        ),
    },
    **machine("01", "eu-central-1a"),
    **machine("02", "eu-central-1b"),
}


def of_aws(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """All that is AWS', without the user data."""
    return {
        key: {name: value for name, value in given.items() if name != "userData"}
        for key, given in recorder.of_cloud().items()
    }


def test_every_property_of_every_resource() -> None:
    recorder = Recorder()
    declare(recorder)
    found = of_aws(recorder)
    assert sorted(found) == sorted(WHOLE)
    for key, given in WHOLE.items():
        assert found[key] == given, key


def test_what_was_asked_of_aws() -> None:
    recorder = Recorder()
    declare(recorder)
    assert recorder.asked == {
        "getInstanceTypeOfferings": {
            "locationType": "availability-zone",
            "filters": [{"name": "instance-type", "values": ["g4dn.xlarge"]}],
        },
        "getInstanceType": {"instanceType": "g4dn.xlarge"},
        "getServiceQuota": {"serviceCode": "ec2", "quotaCode": "L-0263D0A3"},  # the last one asked
        "getParameter": {"name": f"/aws/service/deeplearning/ami/x86_64/{images.AWS_DEFAULT}/latest/ami-id"},
        "getAmi": {
            "filters": [{"name": "image-id", "values": [AMI]}],
            "mostRecent": True,
            "includeDeprecated": True,
        },
    }


def test_the_user_data_is_secret_and_each_machine_s_own() -> None:
    recorder = Recorder()
    declare(recorder)
    aws_secrets = {each for each in recorder.secret if "MachineCredentials" not in each}
    assert aws_secrets == {"Instance machines-01 userData", "Instance machines-02 userData"}
    document = yaml.safe_load(recorder.declared["Instance machines-02"]["userData"])
    assert document["ssh_keys"] == {"ed25519_private": "host key of 02", "ed25519_public": HOST_KEY}
    assert document["users"][1]["ssh_authorized_keys"] == ["public_key of 02", "organiser's key"]
    text = recorder.declared["Instance machines-02"]["userData"]
    for word in ("password of", "password_hash", "private_key of", "Participant 02", " of 01"):
        assert word not in text


def test_nothing_that_changes_later_replaces_a_machine_and_nothing_boots_without_a_way_out() -> None:
    recorder = Recorder()
    monitor = Monitor(recorder)
    declare(recorder, monitor)
    request = monitor.options["aws:ec2/instance:Instance::machines-01"]
    assert set(request.ignoreChanges) == {"ami", "userData", "subnetId", "instanceMarketOptions", "keyName"}
    way_out = f"aws:ec2/routeTableAssociation:RouteTableAssociation::machines-{zone_of('01', ZONES)}"
    assert way_out in {urn.rsplit("$", maxsplit=1)[-1] for urn in request.dependencies}
    for key, each in monitor.options.items():
        if key.startswith("aws:"):
            assert each.provider.split("::")[-2:] == ["machines-provider", "id of machines-provider"], key
            assert each.parent.endswith("::machines"), key


def test_the_least_that_a_seminar_can_be() -> None:
    recorder = Recorder()
    found = declare(recorder, disk_gib="0", ends="", spot="false", stable_addresses="false", image=AMI)
    kinds = {key.split()[0] for key in recorder.declared}
    assert kinds.isdisjoint({"Eip", "Schedule", "Role", "RolePolicy"})
    instance = recorder.declared["Instance machines-01"]
    assert "instanceMarketOptions" not in instance
    assert "volumeSize" not in instance["rootBlockDevice"]
    assert "ends" not in instance["tags"]
    assert "getParameter" not in recorder.asked
    assert [seat["host"] for seat in found.outputs["handover"]["seats"]] == [
        "first address of machines-01",
        "first address of machines-02",
    ]


@pytest.mark.parametrize(("wish", "gib"), [("10", 75), ("75", 75), ("76", 76)])
def test_the_disk_is_the_larger_of_the_image_s_and_the_organiser_s(wish: str, gib: int) -> None:
    recorder = Recorder()
    declare(recorder, disk_gib=wish)
    assert recorder.declared["Instance machines-01"]["rootBlockDevice"]["volumeSize"] == gib


def test_the_hand_over() -> None:
    found = declare(Recorder())
    handover = HandOver.from_dict(found.outputs["handover"])
    assert [seat.id for seat in handover.seats] == ["01", "02"]
    seat = handover.seats[0]
    assert (seat.host, seat.ssh_ports, seat.user) == ("own address of machines-01", (22, 443), "participant")
    assert (seat.notebook_port, seat.local_port, seat.host_key, seat.files) == (8888, 8888, HOST_KEY, "")
    assert found.secret == {"secrets"}
    assert found.outputs["tunnels"]["02"] == (
        "ssh -N -L localhost:8888:localhost:8888 -i 02.key -o ServerAliveInterval=30 "
        "'participant@own address of machines-02'"
    )


def test_machines_are_spread_over_the_zones_and_a_zone_less_moves_only_who_must_move() -> None:
    ids = [f"{n:02}" for n in range(1, 51)]
    places = {id_: zone_of(id_, ZONES) for id_ in ids}
    assert all(8 <= list(places.values()).count(zone) <= 25 for zone in ZONES)
    left = {id_: zone_of(id_, ZONES[:2]) for id_ in ids}
    assert {id_ for id_ in ids if left[id_] != places[id_]} == {id_ for id_ in ids if places[id_] == ZONES[2]}


def refused(recorder: Recorder, **more: str) -> str:
    """The message of a run that was refused before anything was declared of AWS."""
    with pytest.raises(pulumi.RunError) as caught:
        declare(recorder, None, **more)
    assert set(of_aws(recorder)) <= {"aws machines-provider"}
    return str(caught.value)


def test_a_type_that_no_zone_offers() -> None:
    offered = {"locations": ["eu-central-1-ham-1a"]}
    assert refused(Recorder(getInstanceTypeOfferings=offered)) == (
        "Pulumi.spring.yaml: seminar:size means g4dn.xlarge, which no zone of eu-central-1 offers to this account; "
        "expected another type or region."
    )
    told = refused(Recorder(getInstanceTypeOfferings=offered), machine_type="x1.tiny")
    assert told.startswith("Pulumi.spring.yaml: seminar:machine-type means x1.tiny")


def test_a_type_of_another_processor() -> None:
    recorder = Recorder(getInstanceType={"defaultVcpus": 4, "supportedArchitectures": ["arm64"]})
    assert refused(recorder, machine_type="g5g.xlarge") == (
        "Pulumi.spring.yaml: seminar:machine-type is g5g.xlarge, whose processor is arm64; expected a type with "
        "x86_64, for which the images are made."
    )


def test_a_quota_that_is_too_small_for_all_the_machines() -> None:
    assert refused(Recorder(getServiceQuota={"value": 7.0}), stable_addresses="false") == (
        "2 machines of type g4dn.xlarge need 8 vCPUs, and this account's quota in eu-central-1 is 7: ask for more of "
        "L-3819A6DF (Spot G and VT); docs/aws.md says how."
    )
    assert "L-DB2E81BA (On-Demand G and VT)" in refused(Recorder(getServiceQuota={"value": 7.0}), spot="false")
    assert "need 3 addresses" in refused(Recorder(getServiceQuota={"value": 2.0}), participants="3")


def test_a_quota_that_may_not_be_asked_stops_nobody() -> None:
    recorder = Recorder(getServiceQuota=Refusal("AccessDeniedException"))
    declare(recorder)
    assert {"Instance machines-01", "Instance machines-02"} <= set(recorder.declared)


def test_an_image_that_is_not_there() -> None:
    recorder = Recorder(getParameter=Refusal("not found"))
    assert refused(recorder, image="pytorch-9-ubuntu-24.04") == (
        "Pulumi.spring.yaml: seminar:image pytorch-9-ubuntu-24.04 was not found in eu-central-1 as "
        "/aws/service/deeplearning/ami/x86_64/pytorch-9-ubuntu-24.04/latest/ami-id: not found."
    )
    recorder = Recorder(getAmi=Refusal("Your query returned no results."))
    assert refused(recorder, image=AMI) == (
        f"Pulumi.spring.yaml: seminar:image {AMI} ({AMI}) can't be used in eu-central-1: "
        "Your query returned no results."
    )


def test_an_image_for_another_processor() -> None:
    answer = {**Recorder().answers["getAmi"], "architecture": "arm64"}
    assert refused(Recorder(getAmi=answer)).endswith(f"({AMI}) is for arm64; expected an image for x86_64.")


def test_all_that_aws_says_no_to_at_once() -> None:
    recorder = Recorder(
        getInstanceType={"defaultVcpus": 4, "supportedArchitectures": ["arm64"]},
        getServiceQuota={"value": 1.0},
        getParameter=Refusal("not found"),
    )
    told = refused(recorder).splitlines()
    assert len(told) == 4
    assert all(line.endswith(".") for line in told)


def test_no_credentials() -> None:
    recorder = Recorder(getInstanceTypeOfferings=Refusal("No valid credential sources found"))
    assert refused(recorder) == (
        "AWS did not say which zones offer g4dn.xlarge in eu-central-1: No valid credential sources found."
    )
