"""The seminar on AWS: a network of its own, one EC2 instance per machine, only SSH open, and an end. One component.

What every cloud does alike (access, sizes, boot, tags) is in rooms of its own. What only the account can answer is
asked in aws_survey.py, first of all: a seminar that can't be is refused before anything is made.
"""

from __future__ import annotations

import hashlib
import json

import pulumi
import pulumi_aws as aws

from stacks import access, naming
from stacks.aws_survey import ZONE_LETTERS, Survey
from stacks.ends import as_utc
from stacks.machines import Machines, MachinesArgs, user_data
from stacks.regions import partition
from stacks.seats import by_machine
from stacks.settings import SeminarSettings

# Private addresses (RFC 1918); a /20 has 4,091 for machines (AWS keeps 5), so one zone alone would hold every seminar.
_NETWORK, _SUBNET = "10.20.0.0/16", "10.20.{}.0/20"
_SUBNET_STEP = 16

# What may differ from a running machine and leaves it as it is: a newer image, changed user data, another zone, spot or
# not, the organiser's key. Each would otherwise replace the machine, with all that its participant did on it.
_NEVER_REPLACE = ["ami", "userData", "subnetId", "instanceMarketOptions", "keyName"]

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html: 404 is the answer for no such tag.
_READ_ENDS = """\
token=$(curl -sf -m 3 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
code=$(curl -s -m 3 -o "$known.new" -w '%{http_code}' -H "X-aws-ec2-metadata-token: $token" \\
  http://169.254.169.254/latest/meta-data/tags/instance/ends) || code=
case $code in
  200) mv "$known.new" "$known" ;;
  404) : >"$known" ;;
esac
"""

# How long EventBridge Scheduler tries again when EC2 does not take the order; its own limit would be a day, and would
# stop a machine that was started again since.
_STOP_TRIES_SECONDS = 3600


class AwsMachines(Machines):
    """An EC2 instance for every machine of the seminar, and what they need to be reached and to end."""

    def __init__(self, name: str, args: MachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises SettingsError where the account or the region can't serve these settings."""
        super().__init__("Aws", name, opts)
        settings = args.settings
        inside = pulumi.ResourceOptions(parent=self)
        # A region that changed would replace everything; kept, it is found out and refused by the survey.
        kept = pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(ignore_changes=["region"]))
        provider = aws.Provider(f"{name}-provider", region=settings.region, opts=kept)
        inside = pulumi.ResourceOptions(parent=self, provider=provider)
        machines = by_machine(args.seats)
        survey = Survey.of(settings, len(machines), pulumi.InvokeOptions(provider=provider))
        network = _Network(name, settings, survey.zones, inside)
        key = aws.ec2.KeyPair(
            f"{name}-organiser",
            public_key=args.organiser.public_key,
            tags=naming.tags(settings, "organiser"),
            opts=inside,
        )
        role = _stopper(name, settings, inside) if settings.ends else None
        for machine, seats in machines.items():
            tags = naming.tags(settings, machine, [seat.id for seat in seats])
            zone = zone_of(machine, survey.zones)
            instance = aws.ec2.Instance(
                f"{name}-{machine}",
                ami=survey.ami,
                instance_type=survey.instance_type,
                subnet_id=network.subnets[zone].id,
                vpc_security_group_ids=[network.group.id],
                key_name=key.key_name,
                user_data=user_data(args, seats, read_ends=_READ_ENDS, packages=survey.packages),
                user_data_replace_on_change=False,
                metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                    http_endpoint="enabled",
                    http_tokens="required",
                    http_put_response_hop_limit=1,
                    http_protocol_ipv6="disabled",
                    instance_metadata_tags="enabled",
                ),
                root_block_device=_root(settings, survey, tags),
                instance_market_options=_market(settings),
                instance_initiated_shutdown_behavior="stop",
                tags=tags,
                opts=pulumi.ResourceOptions.merge(
                    inside, pulumi.ResourceOptions(ignore_changes=_NEVER_REPLACE, depends_on=network.ways_out[zone])
                ),
            )
            if role is not None:
                _stop_at_end(f"{name}-{machine}", settings, instance, role, inside)
            host: pulumi.Output[str] = instance.public_ip
            if settings.stable_addresses:
                host = aws.ec2.Eip(
                    f"{name}-{machine}", domain="vpc", instance=instance.id, tags=tags, opts=inside
                ).public_ip
            self.reach(args, seats, host)
        self.register_outputs({})


def zone_of(machine: str, zones: tuple[str, ...]) -> str:
    """The zone of a machine: it follows from its id and the zones alone, and about evenly.

    The highest of the hashes of id and zone (rendezvous hashing): a zone more or less moves only who must move.
    """
    return max(zones, key=lambda zone: hashlib.sha256(f"{zone}/{machine}".encode()).digest())


class _Network:
    """A network of the seminar's own: a public subnet per zone, a way out, and SSH as the only way in."""

    def __init__(
        self, name: str, settings: SeminarSettings, zones: tuple[str, ...], opts: pulumi.ResourceOptions
    ) -> None:
        def tags(what: str) -> dict[str, str]:
            return naming.tags(settings, what)

        vpc = aws.ec2.Vpc(
            f"{name}-network", cidr_block=_NETWORK, enable_dns_support=True, tags=tags("network"), opts=opts
        )
        gateway = aws.ec2.InternetGateway(f"{name}-gateway", vpc_id=vpc.id, tags=tags("gateway"), opts=opts)
        routes = aws.ec2.RouteTable(
            f"{name}-routes",
            vpc_id=vpc.id,
            routes=[aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)],
            tags=tags("routes"),
            opts=opts,
        )
        self.subnets: dict[str, aws.ec2.Subnet] = {}
        self.ways_out: dict[str, pulumi.Resource] = {}
        for zone in zones:
            self.subnets[zone] = aws.ec2.Subnet(
                f"{name}-{zone}",
                vpc_id=vpc.id,
                availability_zone=zone,
                cidr_block=_SUBNET.format(_SUBNET_STEP * ZONE_LETTERS.index(zone[-1])),
                map_public_ip_on_launch=True,  # not on the instance: a stopped one would look changed and be replaced
                tags=tags(zone),
                opts=opts,
            )
            self.ways_out[zone] = aws.ec2.RouteTableAssociation(
                f"{name}-{zone}", route_table_id=routes.id, subnet_id=self.subnets[zone].id, opts=opts
            )
        self.group = aws.ec2.SecurityGroup(
            f"{name}-access", description="Seminar: SSH alone", vpc_id=vpc.id, tags=tags("access"), opts=opts
        )
        for rule in access.rules(settings.allowed_cidrs):
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-ssh-{rule.name}",
                security_group_id=self.group.id,
                ip_protocol="tcp",
                from_port=rule.port,
                to_port=rule.port,
                cidr_ipv4=rule.cidr if rule.family == 4 else None,
                cidr_ipv6=rule.cidr if rule.family == 6 else None,
                tags=tags(f"ssh-{rule.port}"),
                opts=opts,
            )
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-out",
            security_group_id=self.group.id,
            ip_protocol="-1",
            cidr_ipv4="0.0.0.0/0",
            tags=tags("out"),
            opts=opts,
        )


def _root(settings: SeminarSettings, survey: Survey, tags: dict[str, str]) -> aws.ec2.InstanceRootBlockDeviceArgs:
    # Without a wish of the organiser's the image decides, and a newer image of another size changes no running machine.
    gib = max(settings.disk_gib, survey.image_gib) if settings.disk_gib else None
    return aws.ec2.InstanceRootBlockDeviceArgs(
        volume_type="gp3", volume_size=gib, encrypted=True, delete_on_termination=True, tags=tags
    )


def _market(settings: SeminarSettings) -> aws.ec2.InstanceInstanceMarketOptionsArgs | None:
    """Spot machines that stop when AWS takes them back, with their disks kept: only a persistent request allows it."""
    if not settings.spot:
        return None
    return aws.ec2.InstanceInstanceMarketOptionsArgs(
        market_type="spot",
        spot_options=aws.ec2.InstanceInstanceMarketOptionsSpotOptionsArgs(
            spot_instance_type="persistent", instance_interruption_behavior="stop"
        ),
    )


def _stopper(name: str, settings: SeminarSettings, opts: pulumi.ResourceOptions) -> aws.iam.Role:
    """The role that may stop this seminar's machines, and nothing else."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    may = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "ec2:StopInstances",
                "Resource": f"arn:{partition(settings.region)}:ec2:{settings.region}:*:instance/*",
                "Condition": {"StringEquals": {"aws:ResourceTag/seminar": settings.seminar}},
            }
        ],
    }
    role = aws.iam.Role(
        f"{name}-stop",
        description=f"Stops the machines of the seminar {settings.seminar} at its end",
        assume_role_policy=json.dumps(trust),
        tags=naming.tags(settings, "stop"),
        opts=opts,
    )
    aws.iam.RolePolicy(f"{name}-stop", role=role.id, policy=json.dumps(may), opts=opts)
    return role


def _stop_at_end(
    name: str, settings: SeminarSettings, instance: aws.ec2.Instance, role: aws.iam.Role, opts: pulumi.ResourceOptions
) -> None:
    """Stop one machine at the end. A schedule each: an order for many fails whole if one of them is gone."""
    assert settings.ends is not None, "asked for only with an end"
    aws.scheduler.Schedule(
        name,
        description=f"Stops a machine of the seminar {settings.seminar} at its end",
        flexible_time_window=aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF"),
        schedule_expression=f"at({as_utc(settings.ends).rstrip('Z')})",
        schedule_expression_timezone="UTC",
        target=aws.scheduler.ScheduleTargetArgs(
            arn=f"arn:{partition(settings.region)}:scheduler:::aws-sdk:ec2:stopInstances",
            role_arn=role.arn,
            input=instance.id.apply(lambda id_: json.dumps({"InstanceIds": [id_]})),
            retry_policy=aws.scheduler.ScheduleTargetRetryPolicyArgs(maximum_event_age_in_seconds=_STOP_TRIES_SECONDS),
        ),
        opts=opts,
    )
