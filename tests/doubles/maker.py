"""Runs the program in this process and makes in a stand-in of a cloud whatever it registers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from pulumi.runtime import mocks

from stacks.credentials import new_key
from stacks.ends import as_utc
from tests.doubles.account import Account
from tests.doubles.moto_aws import Moto
from tests.doubles.protocol import Cloud, with_name
from tests.program import Exported, Refusal, bare, credentials, run

ENDS = datetime.now(timezone.utc).replace(second=0, microsecond=0) + timedelta(days=2)
SETTINGS = {
    "cloud": "aws",
    "participants": "6",
    "region": "eu-central-1",
    "allowed-cidrs": '["192.88.99.0/24", "2001:db8:1::/48"]',
    "ends": as_utc(ENDS),
}


class Maker(mocks.Mocks):
    """Makes in a cloud whatever the program registers of it; its types begin with `prefix`."""

    def __init__(self, cloud: Cloud, prefix: str) -> None:
        self._cloud = cloud
        self._prefix = prefix

    def call(self, args: mocks.MockCallArgs) -> Any:
        try:
            return self._cloud.invoke(args.token, bare(args.args))
        except LookupError as error:
            raise Refusal(str(error)) from error

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        given = {key: value for key, value in bare(args.inputs).items() if key != "__provider"}
        if args.typ.startswith(self._prefix):
            return self._cloud.create(args.typ, with_name(self._cloud, args.typ, f"::{args.name}", given, {}))
        if args.typ.endswith("OrganiserKey"):
            private_key, public_key = new_key("seminar-organiser")
            return "organiser", {"private_key": private_key, "public_key": public_key}
        return args.name, credentials(given) if args.typ.endswith("MachineCredentials") else {}


def make(account: Account, **more: str) -> Exported:
    """A seminar on AWS."""
    return run(
        Maker(Moto(account.endpoint), "aws:"),
        {**SETTINGS, **{key.replace("_", "-"): value for key, value in more.items()}},
    )
