"""An AWS account that is a model: moto's server, with the images and quotas that a seminar asks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.moto_api._internal import moto_api_backend
from moto.server import ThreadedMotoServer
from moto.servicequotas.models import ServiceQuotasBackend, servicequotas_backends
from moto.ssm.models import Parameter, ssm_backends

from stacks import images
from tests.doubles.moto_aws import REGION, client

IMAGE_GIB = 15  # of every image of moto's


@dataclass(frozen=True)
class Account:
    """The account, reached as programs reach AWS."""

    endpoint: str

    def client(self, service: str) -> Any:
        return client(service, self.endpoint)

    def publish(self, *, architecture: str = images.ARCHITECTURE, line: str = images.AWS_DEFAULT) -> str:
        """Publish a new image as the newest of its line; returns its id."""
        ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
        id_ = f"ami-{len(ec2.amis):017x}"
        image = Ami(ec2, id_, name=line, architecture=architecture, root_device_type="ebs", region_name=f"{REGION}a")
        ec2.amis[id_] = image
        wanted = images.aws_image(line)
        assert wanted is not None
        parameter = Parameter(
            account_id=DEFAULT_ACCOUNT_ID,
            name=wanted.parameter,
            value=id_,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=datetime.now(timezone.utc),
            version=1,
            data_type="aws:ec2:image",
        )
        ssm_backends[DEFAULT_ACCOUNT_ID][REGION]._parameters[wanted.parameter].append(parameter)
        return id_

    def newest(self, line: str) -> str:
        """The id of the newest image of a line."""
        wanted = images.aws_image(line)
        assert wanted is not None
        return str(self.client("ssm").get_parameter(Name=wanted.parameter)["Parameter"]["Value"])

    def quota(self, code: str, value: float) -> None:
        """Set one of the service ec2."""
        backend = servicequotas_backends[DEFAULT_ACCOUNT_ID][REGION]

        def get_service_quota(service_code: str, quota_code: str) -> dict[str, Any]:
            if (service_code, quota_code) == ("ec2", code):
                return {"QuotaCode": code, "Value": value}
            return dict(ServiceQuotasBackend.get_service_quota(backend, service_code, quota_code))

        backend.get_service_quota = get_service_quota  # moto knows only those of vpc

    def machines(self) -> list[Any]:
        """The instances that are not terminated, in the order of their participants."""
        found = self.client("ec2").describe_instances()["Reservations"]
        all_ = [instance for reservation in found for instance in reservation["Instances"]]
        alive = [instance for instance in all_ if instance["State"]["Name"] != "terminated"]
        return sorted(alive, key=lambda instance: tags(instance)["participant"])

    def everything(self) -> dict[str, list[Any]]:
        """What there is of all that a seminar makes; without the account's own default network."""
        ec2, scheduler, iam = (self.client(service) for service in ("ec2", "scheduler", "iam"))
        own = [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]
        inside = {"Filters": [{"Name": "vpc-id", "Values": own or ["none"]}]}
        gateways = ec2.describe_internet_gateways()["InternetGateways"]
        return {
            "networks": own,
            "subnets": ec2.describe_subnets(**inside)["Subnets"],
            "routes": ec2.describe_route_tables(**inside)["RouteTables"],
            "gateways": [each for each in gateways if each["Attachments"] and each["Attachments"][0]["VpcId"] in own],
            "groups": ec2.describe_security_groups(**inside)["SecurityGroups"],
            "machines": self.machines(),
            "volumes": ec2.describe_volumes()["Volumes"],
            "keys": ec2.describe_key_pairs()["KeyPairs"],
            "addresses": ec2.describe_addresses()["Addresses"],
            "schedules": scheduler.list_schedules()["Schedules"],
            "roles": iam.list_roles()["Roles"],
        }


def tags(resource: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}


@contextmanager
def an_account() -> Iterator[Account]:
    """A fresh account, for as long as the block lasts."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        moto_api_backend.reset()
        account = Account(f"http://{host}:{port}")
        account.publish()
        yield account
    finally:
        server.stop()
