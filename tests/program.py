"""The whole program, `__main__.py`, against mocks: what it declares, what it exports, and what of that is secret."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import pulumi
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.settings import get_root_resource
from pulumi.runtime.stack import Stack

from stacks.envelopes import plain as bare
from stacks.folders import PROJECT_ROOT

__all__ = ["HOST_KEY", "SEMINAR", "Exported", "Monitor", "Refusal", "bare", "credentials", "run"]

SEMINAR = "spring"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class Refusal(grpc.RpcError):
    """What the engine answers where the provider could not."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self._told = told

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._told


@dataclass(frozen=True)
class Exported:
    """The stack's outputs, and the names of those that are secret."""

    outputs: dict[str, Any] = field(default_factory=dict)
    secret: set[str] = field(default_factory=set)


class Monitor(mocks.MockMonitor):
    """Marks as secret what the resource asked to be, as the engine does and the SDK's own mock does not."""

    def __init__(self, standin: mocks.Mocks) -> None:
        super().__init__(standin)
        self.options: dict[str, Any] = {}  # by name: the requests, for what mocks are not told

    def RegisterResource(self, request: Any) -> Any:
        self.options[f"{request.type}::{request.name}"] = request
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]  # the SDK's
        outs = rpc.deserialize_properties(response.object)
        outs.update({key: rpc.wrap_rpc_secret(outs[key]) for key in request.additionalSecretOutputs if key in outs})
        response.object.update(outs)
        return response


def credentials(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the credentials of a machine would be: text that says whose they are."""
    made = ("password", "password_hash", "private_key", "public_key")
    seats = {id_: {key: f"{key} of {id_}" for key in made} for id_ in given.get("seat_ids", [])}
    return {"host_private_key": f"host key of {given.get('machine')}", "host_key": HOST_KEY, "seats": seats}


def run(standin: mocks.Mocks, config: Mapping[str, str], monitor: Monitor | None = None) -> Exported:
    """Run the program with these settings, without their namespace. Raises what it raises."""
    found = Exported()
    mocks.set_mocks(standin, "seminar", SEMINAR, monitor=monitor or Monitor(standin))
    set_all_config({f"seminar:{key}": value for key, value in config.items()}, ["seminar:password"])

    async def look() -> None:
        root = get_root_resource()
        assert isinstance(root, Stack)
        for name, output in root.outputs.items():
            known = pulumi.Output.from_input(output)
            found.outputs[name] = await known.future()
            found.secret.update({name} if await known.is_secret() else ())

    @pulumi.runtime.test  # type: ignore[untyped-decorator]  # the SDK's
    def program() -> Any:
        runpy.run_path(str(PROJECT_ROOT / "__main__.py"), run_name="__main__")
        return look()

    program()
    return found
