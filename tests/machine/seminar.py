"""A seminar of one participant, declared by the whole program in a model of its cloud, and the organiser's `fab`.

Keys and passwords are real, and so is the user data; only the machine's address is replaced, by the ports of this
computer that lead to it.
"""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from pulumi.runtime import mocks

from stacks import azure_survey
from stacks.credentials import _MachineCredentialsProvider, jupyter_hash, new_password
from stacks.ends import as_utc
from tests.conftest import PATH_WITHOUT_CLI, Project, copy_project
from tests.doubles.account import an_account
from tests.doubles.arm import Arm
from tests.doubles.maker import Maker
from tests.doubles.management import a_management
from tests.doubles.moto_aws import REGION, Moto
from tests.program import SEMINAR, bare, run

ID = "01"
ENDS = as_utc(datetime.now(timezone.utc) + timedelta(days=1))
FAB_SECONDS = 1500.0  # without KVM the installation of a Jupyter takes minutes
_SETTINGS = {"participants": "1", "allowed-cidrs": '["192.88.99.0/24"]', "ends": ENDS}


@dataclass(frozen=True)
class Seminar:
    """What the stack exports, and the user data of its one machine."""

    outputs: dict[str, Any]
    user_data: str


class _Maker(Maker):
    """Makes real credentials, and keeps what the machine is told."""

    user_data = ""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        given = bare(args.inputs)
        if args.typ.endswith("MachineCredentials"):
            made = _MachineCredentialsProvider().create(given)
            return made.id, made.outs or {}
        if args.typ.endswith(":Instance"):
            self.user_data = given["userData"]
        if args.typ.endswith(":VirtualMachine"):
            self.user_data = base64.b64decode(given["osProfile"]["customData"]).decode()
        return super().new_resource(args)


def declare(cloud: str, folder: Path) -> Seminar:
    """The seminar on `aws` (plain Ubuntu, where a Jupyter must be installed) or on `azure` (its Data Science VM)."""
    with ExitStack() as stack:
        if cloud == "aws":
            account = stack.enter_context(an_account())
            maker = _Maker(Moto(account.endpoint), "aws:")
            more = {"region": REGION, "image": account.publish()}
        else:
            endpoint = stack.enter_context(a_management()).endpoint
            stack.enter_context(mock.patch.object(azure_survey, "MANAGEMENT", endpoint))
            maker, more = _Maker(Arm(folder / "azure.json"), "azure-native:"), {"region": "westeurope"}
        exported = run(maker, {**_SETTINGS, "cloud": cloud, **more})
    return Seminar(exported.outputs, maker.user_data)


class Classroom:
    """The organiser's side: `fab` in a copy of the project that knows the seminar, its machine at these SSH ports."""

    def __init__(self, folder: Path, seminar: Seminar, ports: list[int]) -> None:
        self.project = Project(copy_project(folder / "a seminar"), env={"PATH": PATH_WITHOUT_CLI})
        self.project.patience_seconds = FAB_SECONDS
        self._outputs = json.loads(json.dumps(seminar.outputs))
        self.seat["host"] = "127.0.0.1"
        self.at(*ports)

    @property
    def seat(self) -> dict[str, Any]:
        """The seat as it is handed over."""
        found: dict[str, Any] = self._outputs["handover"]["seats"][0]
        return found

    @property
    def secrets(self) -> dict[str, str]:
        """The seat's password, its hash and the participant's key."""
        return dict(self._outputs["secrets"]["seats"][ID])

    @property
    def organiser_key(self) -> str:
        return str(self._outputs["secrets"]["organiser_key"])

    def at(self, *ports: int) -> None:
        """From now on the machine's SSH is at these ports of this computer."""
        self.seat["ssh_ports"] = list(ports)
        self._keep()

    def new_password(self) -> None:
        """Put a new password into the state, as `fab set-password` does before it reaches for the machines."""
        password = new_password()
        self._outputs["secrets"]["seats"][ID] |= {"password": password, "password_hash": jupyter_hash(password)}
        self._keep()

    def fab(self, *words: str) -> dict[str, Any]:
        """Run a task on the seat; returns what it says of it."""
        return self.project.fab_json(*words)[ID]

    def _keep(self) -> None:
        folder = self.project.root / ".seminar" / SEMINAR
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "state.json").write_text(json.dumps({"outputs": self._outputs}))
