"""AWS, stood in for by moto's model of its API: every resource is made by the call that the real provider would make.

A property that no call takes is refused, so that none is declared in vain; a reference to what does not exist fails as
in AWS. Moto's server runs in the tests' process; this is its client, in that process or in a plugin's.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.doubles.protocol import NO_CAPACITY, Properties, serve

ENDPOINT = "SEMINAR_TEST_MOTO"
REGION = "eu-central-1"

_NAMED = {
    "aws:ec2/keyPair:KeyPair": "keyName",
    "aws:iam/role:Role": "name",
    "aws:iam/rolePolicy:RolePolicy": "name",
    "aws:scheduler/schedule:Schedule": "name",
}
# What can be changed in place, as https://www.pulumi.com/registry/packages/aws/ says of each; all else replaces. Of an
# instance `userData` is here because `userDataReplaceOnChange` is false.
_IN_PLACE = {
    "aws:ec2/instance:Instance": {"instanceType", "userData", "metadataOptions", "vpcSecurityGroupIds"}
    | {"instanceInitiatedShutdownBehavior", "userDataReplaceOnChange"},
    "aws:ec2/eip:Eip": {"instance"},
    "aws:ec2/subnet:Subnet": {"mapPublicIpOnLaunch"},
    "aws:scheduler/schedule:Schedule": {"description", "scheduleExpression", "scheduleExpressionTimezone", "target"},
    "aws:iam/rolePolicy:RolePolicy": {"policy"},
    "aws:iam/role:Role": {"assumeRolePolicy", "description"},
}


def client(service: str, endpoint: str, region: str = REGION) -> Any:
    """A client of moto, with credentials that are none."""
    config = Config(retries={"max_attempts": 0}, max_pool_connections=32)
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    return boto3.client(service, endpoint_url=endpoint, region_name=region, config=config, **keys)


class Moto:
    """The calls, by type of resource."""

    def __init__(self, endpoint: str) -> None:
        self.ec2 = client("ec2", endpoint)
        self.iam = client("iam", endpoint)
        self.scheduler = client("scheduler", endpoint)
        self.ssm = client("ssm", endpoint)
        self.quotas = client("service-quotas", endpoint)

        self._endpoint = endpoint

    def configure(self, settings: Properties) -> None:
        """The account is in one region; of another it is only known which zones there are."""
        if settings.get("region") != REGION:
            self.ec2 = client("ec2", self._endpoint, str(settings.get("region")))

    def named(self, kind: str) -> str | None:
        return _NAMED.get(kind)

    def replacing(self, kind: str, olds: Properties, news: Properties) -> set[str]:
        changed = {key for key in {*olds, *news} if olds.get(key) != news.get(key)}
        if "rootBlockDevice" in changed:
            old, new = (dict(side.get("rootBlockDevice", {})) for side in (olds, news))
            for key in ("volumeSize", "tags", "tagsAll"):
                old.pop(key, None), new.pop(key, None)
            changed -= {"rootBlockDevice"} if old == new else set()
        return changed - _IN_PLACE.get(kind, set()) - {"tags", "tagsAll"}

    def create(self, kind: str, inputs: Properties) -> tuple[str, Properties]:
        given = dict(inputs)
        id_, outputs = self._of("create", kind)(given)
        assert not given, f"{kind}: no call takes {sorted(given)}"
        return id_, {**inputs, **outputs}

    def read(self, kind: str, id_: str, outputs: Properties) -> Properties | None:
        try:
            found = self._of("read", kind)(id_)
        except ClientError as error:
            if any(word in error.response["Error"]["Code"] for word in ("NotFound", "NoSuchEntity")):
                return None
            raise
        return None if found is None else {**outputs, **found}

    def update(self, kind: str, id_: str, olds: Properties, news: Properties) -> Properties:
        changed = {key: news.get(key) for key in {*olds, *news} if olds.get(key) != news.get(key)}
        if "tags" in changed and kind.startswith(("aws:ec2/", "aws:vpc/")):
            self._tag(id_, dict(changed.pop("tags") or {}), olds["tags"])
        outputs = self._of("update", kind)(id_, changed) if changed else {}
        assert not changed, f"{kind}: no call changes {sorted(changed)}"
        return {**news, **outputs}

    def delete(self, kind: str, id_: str, outputs: Properties) -> None:
        self._of("delete", kind)(id_, outputs)

    def invoke(self, token: str, arguments: Properties) -> Properties:
        answer: Properties = getattr(self, "_ask_" + token.rsplit(":", maxsplit=1)[-1])(arguments)
        return {"id": "none", **answer}

    def _of(self, verb: str, kind: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self, f"_{verb}_{kind.rsplit(':', maxsplit=1)[-1]}")
        return call

    # Questions

    def _ask_getInstanceTypeOfferings(self, given: Properties) -> Properties:
        found = self.ec2.describe_instance_type_offerings(
            LocationType=given["locationType"], Filters=_filters(given["filters"])
        )["InstanceTypeOfferings"]
        return {"locations": [offer["Location"] for offer in found]}

    def _ask_getInstanceType(self, given: Properties) -> Properties:
        found = _refusing(self.ec2.describe_instance_types, InstanceTypes=[given["instanceType"]])["InstanceTypes"][0]
        return {
            "defaultVcpus": found["VCpuInfo"]["DefaultVCpus"],
            "supportedArchitectures": found["ProcessorInfo"]["SupportedArchitectures"],
        }

    def _ask_getParameter(self, given: Properties) -> Properties:
        found = _refusing(self.ssm.get_parameter, Name=given["name"])["Parameter"]
        return {"name": given["name"], "value": found["Value"], "insecureValue": found["Value"]}

    def _ask_getAmi(self, given: Properties) -> Properties:
        assert given["mostRecent"]
        found = self.ec2.describe_images(Filters=_filters(given["filters"]))["Images"]
        if not found:
            raise LookupError("Your query returned no results. Please change your search criteria and try again.")
        image = found[0]
        return {
            "id": image["ImageId"],
            "architecture": image["Architecture"],
            "rootDeviceName": image["RootDeviceName"],
            "blockDeviceMappings": [
                {
                    "deviceName": device["DeviceName"],
                    "ebs": {"volume_size": str(device["Ebs"]["VolumeSize"])},
                    "noDevice": "",
                    "virtualName": "",
                }
                for device in image["BlockDeviceMappings"]
            ],
        }

    def _ask_getServiceQuota(self, given: Properties) -> Properties:
        asked = {"ServiceCode": given["serviceCode"], "QuotaCode": given["quotaCode"]}
        return {"value": _refusing(self.quotas.get_service_quota, **asked)["Quota"]["Value"]}

    # Whether a resource is still there. Raises where it is not, or returns None; else what may have changed by itself.

    def _read_Vpc(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_vpcs(VpcIds=[id_])["Vpcs"] else None

    def _read_InternetGateway(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_internet_gateways(InternetGatewayIds=[id_])["InternetGateways"] else None

    def _read_RouteTable(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_route_tables(RouteTableIds=[id_])["RouteTables"] else None

    def _read_Subnet(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_subnets(SubnetIds=[id_])["Subnets"] else None

    def _read_RouteTableAssociation(self, id_: str) -> Properties | None:
        wanted = [{"Name": "association.route-table-association-id", "Values": [id_]}]
        return {} if self.ec2.describe_route_tables(Filters=wanted)["RouteTables"] else None

    def _read_SecurityGroup(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_security_groups(GroupIds=[id_])["SecurityGroups"] else None

    def _read_SecurityGroupIngressRule(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_security_group_rules(SecurityGroupRuleIds=[id_])["SecurityGroupRules"] else None

    def _read_SecurityGroupEgressRule(self, id_: str) -> Properties | None:
        return self._read_SecurityGroupIngressRule(id_)

    def _read_KeyPair(self, id_: str) -> Properties | None:
        return {} if self.ec2.describe_key_pairs(KeyNames=[id_])["KeyPairs"] else None

    def _read_Instance(self, id_: str) -> Properties | None:
        instance = self._instance(id_)
        return None if instance["State"]["Name"] == "terminated" else _of_instance(instance)

    def _read_Eip(self, id_: str) -> Properties | None:
        return {"publicIp": self.ec2.describe_addresses(AllocationIds=[id_])["Addresses"][0]["PublicIp"]}

    def _read_Role(self, id_: str) -> Properties | None:
        return {"arn": self.iam.get_role(RoleName=id_)["Role"]["Arn"]}

    def _read_RolePolicy(self, id_: str) -> Properties | None:
        role, name = id_.split(":")
        self.iam.get_role_policy(RoleName=role, PolicyName=name)
        return {}

    def _read_Schedule(self, id_: str) -> Properties | None:
        return {"scheduleExpression": self.scheduler.get_schedule(Name=id_.split("/")[1])["ScheduleExpression"]}

    # The network

    def _create_Vpc(self, given: Properties) -> tuple[str, Properties]:
        tags = _tags("vpc", given)
        id_ = self.ec2.create_vpc(CidrBlock=given.pop("cidrBlock"), TagSpecifications=tags)["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=id_, EnableDnsSupport={"Value": given.pop("enableDnsSupport")})
        return id_, {}

    def _delete_Vpc(self, id_: str, _: Properties) -> None:
        self.ec2.delete_vpc(VpcId=id_)

    def _create_InternetGateway(self, given: Properties) -> tuple[str, Properties]:
        tags = _tags("internet-gateway", given)
        gateway = self.ec2.create_internet_gateway(TagSpecifications=tags)["InternetGateway"]
        id_ = gateway["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=id_, VpcId=given.pop("vpcId"))
        return id_, {}

    def _delete_InternetGateway(self, id_: str, outputs: Properties) -> None:
        self.ec2.detach_internet_gateway(InternetGatewayId=id_, VpcId=outputs["vpcId"])
        self.ec2.delete_internet_gateway(InternetGatewayId=id_)

    def _create_RouteTable(self, given: Properties) -> tuple[str, Properties]:
        tags = _tags("route-table", given)
        table = self.ec2.create_route_table(VpcId=given.pop("vpcId"), TagSpecifications=tags)["RouteTable"]
        id_ = table["RouteTableId"]
        for route in given.pop("routes"):
            self.ec2.create_route(
                RouteTableId=id_, DestinationCidrBlock=route.pop("cidrBlock"), GatewayId=route.pop("gatewayId")
            )
            assert not route
        return id_, {}

    def _delete_RouteTable(self, id_: str, _: Properties) -> None:
        self.ec2.delete_route_table(RouteTableId=id_)

    def _create_Subnet(self, given: Properties) -> tuple[str, Properties]:
        subnet = self.ec2.create_subnet(
            VpcId=given.pop("vpcId"),
            CidrBlock=given.pop("cidrBlock"),
            AvailabilityZone=given.pop("availabilityZone"),
            TagSpecifications=_tags("subnet", given),
        )["Subnet"]
        public = {"Value": given.pop("mapPublicIpOnLaunch")}
        self.ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch=public)
        return subnet["SubnetId"], {}

    def _delete_Subnet(self, id_: str, _: Properties) -> None:
        self.ec2.delete_subnet(SubnetId=id_)

    def _create_RouteTableAssociation(self, given: Properties) -> tuple[str, Properties]:
        made = self.ec2.associate_route_table(RouteTableId=given.pop("routeTableId"), SubnetId=given.pop("subnetId"))
        return made["AssociationId"], {}

    def _delete_RouteTableAssociation(self, id_: str, _: Properties) -> None:
        self.ec2.disassociate_route_table(AssociationId=id_)

    # Who may come in

    def _create_SecurityGroup(self, given: Properties) -> tuple[str, Properties]:
        name = f"group-{base64.b32encode(os.urandom(5)).decode().lower()}"
        id_ = self.ec2.create_security_group(
            GroupName=name,
            Description=given.pop("description"),
            VpcId=given.pop("vpcId"),
            TagSpecifications=_tags("security-group", given),
        )["GroupId"]
        # As the provider does: a group of its own begins with nothing open, outwards either.
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        self.ec2.revoke_security_group_egress(GroupId=id_, IpPermissions=everything)
        return id_, {}

    def _delete_SecurityGroup(self, id_: str, _: Properties) -> None:
        self.ec2.delete_security_group(GroupId=id_)

    def _create_SecurityGroupIngressRule(self, given: Properties) -> tuple[str, Properties]:
        return self._rule(self.ec2.authorize_security_group_ingress, given)

    def _create_SecurityGroupEgressRule(self, given: Properties) -> tuple[str, Properties]:
        return self._rule(self.ec2.authorize_security_group_egress, given)

    def _rule(self, authorize: Callable[..., Any], given: Properties) -> tuple[str, Properties]:
        permission: Properties = {"IpProtocol": given.pop("ipProtocol")}
        if "fromPort" in given:
            permission |= {"FromPort": given.pop("fromPort"), "ToPort": given.pop("toPort")}
        if "cidrIpv4" in given:
            permission["IpRanges"] = [{"CidrIp": given.pop("cidrIpv4")}]
        if "cidrIpv6" in given:
            permission["Ipv6Ranges"] = [{"CidrIpv6": given.pop("cidrIpv6")}]
        made = authorize(
            GroupId=given.pop("securityGroupId"),
            IpPermissions=[permission],
            TagSpecifications=_tags("security-group-rule", given),
        )
        return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}

    def _delete_SecurityGroupIngressRule(self, id_: str, outputs: Properties) -> None:
        self.ec2.revoke_security_group_ingress(GroupId=outputs["securityGroupId"], SecurityGroupRuleIds=[id_])

    def _delete_SecurityGroupEgressRule(self, id_: str, outputs: Properties) -> None:
        self.ec2.revoke_security_group_egress(GroupId=outputs["securityGroupId"], SecurityGroupRuleIds=[id_])

    def _create_KeyPair(self, given: Properties) -> tuple[str, Properties]:
        key = given.pop("publicKey").encode()
        tags = _tags("key-pair", given)
        name = self.ec2.import_key_pair(KeyName=given.pop("keyName"), PublicKeyMaterial=key, TagSpecifications=tags)[
            "KeyName"
        ]
        return name, {}

    def _delete_KeyPair(self, id_: str, _: Properties) -> None:
        self.ec2.delete_key_pair(KeyName=id_)

    # Machines

    def _create_Instance(self, given: Properties) -> tuple[str, Properties]:
        assert given.pop("userDataReplaceOnChange") is False
        if given["tags"]["participant"] == os.environ.get(NO_CAPACITY):
            raise RuntimeError("InsufficientInstanceCapacity: We currently do not have sufficient capacity")
        key = given.pop("keyName")
        assert self.ec2.describe_key_pairs(KeyNames=[key])["KeyPairs"]  # moto takes any
        image = self.ec2.describe_images(ImageIds=[given["ami"]])["Images"][0]
        root = given.pop("rootBlockDevice")
        root_tags = root.pop("tags")
        root.setdefault("volumeSize", image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"])  # as EC2 itself does
        device = {key[0].upper() + key[1:]: value for key, value in root.items()}
        tags = [*_tags("instance", given), *_tags("volume", {"tags": root_tags})]
        more: Properties = {}
        if "instanceMarketOptions" in given:
            more["InstanceMarketOptions"] = _market(given.pop("instanceMarketOptions"))
        made = self.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId=given.pop("ami"),
            InstanceType=given.pop("instanceType"),
            SubnetId=given.pop("subnetId"),
            SecurityGroupIds=given.pop("vpcSecurityGroupIds"),
            KeyName=key,
            UserData=given.pop("userData"),
            InstanceInitiatedShutdownBehavior=given.pop("instanceInitiatedShutdownBehavior"),
            MetadataOptions={k[0].upper() + k[1:]: v for k, v in given.pop("metadataOptions").items()},
            BlockDeviceMappings=[{"DeviceName": image["RootDeviceName"], "Ebs": device}],
            TagSpecifications=tags,
            **more,
        )["Instances"][0]
        return made["InstanceId"], _of_instance(self._instance(made["InstanceId"]))

    def _update_Instance(self, id_: str, changed: Properties) -> Properties:
        if "instanceType" in changed:
            self.ec2.stop_instances(InstanceIds=[id_])
            self.ec2.modify_instance_attribute(InstanceId=id_, InstanceType={"Value": changed.pop("instanceType")})
            self.ec2.start_instances(InstanceIds=[id_])
        if "rootBlockDevice" in changed:
            root = changed.pop("rootBlockDevice")
            volume = self._instance(id_)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
            self.ec2.create_tags(Resources=[volume], Tags=_pairs(root["tags"]))
            if "volumeSize" in root:
                self.ec2.modify_volume(VolumeId=volume, Size=root["volumeSize"])
        return _of_instance(self._instance(id_))

    def _delete_Instance(self, id_: str, _: Properties) -> None:
        self.ec2.terminate_instances(InstanceIds=[id_])

    def _instance(self, id_: str) -> Any:
        return self.ec2.describe_instances(InstanceIds=[id_])["Reservations"][0]["Instances"][0]

    def _create_Eip(self, given: Properties) -> tuple[str, Properties]:
        made = self.ec2.allocate_address(Domain=given.pop("domain"), TagSpecifications=_tags("elastic-ip", given))
        self.ec2.associate_address(AllocationId=made["AllocationId"], InstanceId=given.pop("instance"))
        return made["AllocationId"], {"publicIp": made["PublicIp"]}

    def _delete_Eip(self, id_: str, _: Properties) -> None:
        address = self.ec2.describe_addresses(AllocationIds=[id_])["Addresses"][0]
        if address.get("AssociationId"):
            self.ec2.disassociate_address(AssociationId=address["AssociationId"])
        self.ec2.release_address(AllocationId=id_)

    # The end

    def _create_Role(self, given: Properties) -> tuple[str, Properties]:
        role = self.iam.create_role(
            RoleName=given.pop("name"),
            AssumeRolePolicyDocument=given.pop("assumeRolePolicy"),
            Description=given.pop("description"),
            Tags=_pairs(given.pop("tags")),
        )["Role"]
        return role["RoleName"], {"arn": role["Arn"]}

    def _update_Role(self, id_: str, changed: Properties) -> Properties:
        self.iam.tag_role(RoleName=id_, Tags=_pairs(changed.pop("tags")))
        return {"arn": self.iam.get_role(RoleName=id_)["Role"]["Arn"]}

    def _delete_Role(self, id_: str, _: Properties) -> None:
        self.iam.delete_role(RoleName=id_)

    def _create_RolePolicy(self, given: Properties) -> tuple[str, Properties]:
        role, name = given.pop("role"), given.pop("name")
        self.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=given.pop("policy"))
        return f"{role}:{name}", {}

    def _delete_RolePolicy(self, id_: str, _: Properties) -> None:
        role, name = id_.split(":")
        self.iam.delete_role_policy(RoleName=role, PolicyName=name)

    def _schedule(self, given: Properties) -> Properties:
        return {
            "Description": given.pop("description"),
            "FlexibleTimeWindow": {"Mode": given.pop("flexibleTimeWindow").pop("mode")},
            "ScheduleExpression": given.pop("scheduleExpression"),
            "ScheduleExpressionTimezone": given.pop("scheduleExpressionTimezone"),
            "Target": _target(given.pop("target")),
        }

    def _create_Schedule(self, given: Properties) -> tuple[str, Properties]:
        name = given.pop("name")
        self.scheduler.create_schedule(Name=name, **self._schedule(given))
        return f"default/{name}", {}

    def _update_Schedule(self, id_: str, changed: Properties) -> Properties:
        name = id_.split("/")[1]
        now = self.scheduler.get_schedule(Name=name)
        wanted = {key: now[key] for key in ("FlexibleTimeWindow", "ScheduleExpressionTimezone", "Target")}
        wanted["ScheduleExpression"] = changed.pop("scheduleExpression", now["ScheduleExpression"])
        if "target" in changed:
            wanted["Target"] = _target(changed.pop("target"))
        self.scheduler.update_schedule(Name=name, **wanted)
        return {}

    def _delete_Schedule(self, id_: str, _: Properties) -> None:
        self.scheduler.delete_schedule(Name=id_.split("/")[1])

    def _tag(self, id_: str, news: dict[str, str], olds: dict[str, str]) -> None:
        gone = [{"Key": key} for key in olds if key not in news]
        resource = id_ if "-" in id_ and not id_.startswith("machines-") else self._key_pair_id(id_)
        if gone:
            self.ec2.delete_tags(Resources=[resource], Tags=gone)
        self.ec2.create_tags(Resources=[resource], Tags=_pairs(news))

    def _key_pair_id(self, name: str) -> str:
        return str(self.ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"][0]["KeyPairId"])


def _refusing(call: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return call(**arguments)
    except ClientError as error:
        raise LookupError(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}") from error


def _of_instance(instance: Any) -> Properties:
    return {"publicIp": instance.get("PublicIpAddress", ""), "instanceState": instance["State"]["Name"]}


def _market(given: Properties) -> Properties:
    spot = given.pop("spotOptions")
    options = {
        "MarketType": given.pop("marketType"),
        "SpotOptions": {
            "SpotInstanceType": spot.pop("spotInstanceType"),
            "InstanceInterruptionBehavior": spot.pop("instanceInterruptionBehavior"),
        },
    }
    assert not given
    assert not spot
    return options


def _target(given: Properties) -> Properties:
    retry = given.pop("retryPolicy")
    target = {
        "Arn": given.pop("arn"),
        "RoleArn": given.pop("roleArn"),
        "Input": given.pop("input"),
        "RetryPolicy": {"MaximumEventAgeInSeconds": retry.pop("maximumEventAgeInSeconds")},
    }
    assert not given
    assert not retry
    return target


def _filters(given: list[Properties]) -> list[Properties]:
    return [{"Name": one["name"], "Values": one["values"]} for one in given]


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags(kind: str, given: Properties) -> list[Properties]:
    return [{"ResourceType": kind, "Tags": _pairs(given.pop("tags"))}]


def main() -> None:
    """The plugin's process."""
    serve(Moto(os.environ[ENDPOINT]), version="7.51.1")
