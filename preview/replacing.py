"""What a cloud changes in a resource that exists, and what it makes anew. Pure data, from the providers' documents.

https://www.pulumi.com/registry/packages/aws/ and .../azure-native/ say it of each input ("will force a new resource").
What does not stand here is taken for one that replaces, so that a change which nobody thought of is not overlooked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVERYTHING = frozenset({"*"})

IN_PLACE: dict[str, frozenset[str]] = {
    # Our own, whose providers bring every change about in place.
    "pulumi-python:dynamic:OrganiserKey": EVERYTHING,
    "pulumi-python:dynamic:MachineCredentials": EVERYTHING,
    "pulumi-python:dynamic:LocalMachine": EVERYTHING,
    "aws:ec2/instance:Instance": frozenset(
        {"instanceType", "metadataOptions", "vpcSecurityGroupIds", "instanceInitiatedShutdownBehavior", "userData"}
        | {"userDataReplaceOnChange", "rootBlockDevice", "tags"}
    ),
    "aws:ec2/vpc:Vpc": frozenset({"enableDnsSupport", "tags"}),
    "aws:ec2/subnet:Subnet": frozenset({"mapPublicIpOnLaunch", "tags"}),
    "aws:ec2/internetGateway:InternetGateway": frozenset({"tags"}),
    "aws:ec2/routeTable:RouteTable": frozenset({"routes", "tags"}),
    "aws:ec2/securityGroup:SecurityGroup": frozenset({"ingress", "egress", "tags"}),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": frozenset({"tags"}),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": frozenset({"tags"}),
    "aws:ec2/keyPair:KeyPair": frozenset({"tags"}),
    "aws:ec2/eip:Eip": frozenset({"instance", "tags"}),
    "aws:iam/role:Role": frozenset({"assumeRolePolicy", "description", "tags"}),
    "aws:iam/rolePolicy:RolePolicy": frozenset({"policy"}),
    "aws:scheduler/schedule:Schedule": frozenset(
        {"description", "flexibleTimeWindow", "scheduleExpression", "scheduleExpressionTimezone", "target"}
    ),
    "azure-native:resources:ResourceGroup": frozenset({"tags"}),
    "azure-native:network:NetworkSecurityGroup": frozenset({"securityRules", "tags"}),
    "azure-native:network:VirtualNetwork": frozenset({"subnets", "tags"}),
    "azure-native:network:PublicIPAddress": frozenset({"tags"}),
    "azure-native:network:NetworkInterface": frozenset({"ipConfigurations", "tags"}),
    "azure-native:compute:VirtualMachine": frozenset({"hardwareProfile", "networkProfile", "tags"}),
    "azure-native:devtestlab:GlobalSchedule": frozenset(
        {"status", "dailyRecurrence", "timeZoneId", "targetResourceId", "notificationSettings", "tags"}
    ),
}

# Of an input that is a mapping, what may change in it.
_WITHIN = {
    ("aws:ec2/instance:Instance", "rootBlockDevice"): {"volumeSize", "volumeType", "iops", "throughput", "tags"}
    | {"deleteOnTermination"},
}


def replaces(kind: str, name: str, old: Any, new: Any) -> bool:
    """Whether a resource of this kind is made anew when the input `name` changes from `old` to `new`."""
    in_place = IN_PLACE.get(kind, frozenset())
    if in_place != EVERYTHING and name not in in_place:
        return True
    within = _WITHIN.get((kind, name))
    if within is None or not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return within is not None
    return any(old.get(key) != new.get(key) for key in {*old, *new} - within)
