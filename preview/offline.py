"""Runs the program with nobody behind it: what a cloud would answer is answered here, and nothing is made.

What is answered is the same in each run, keys and passwords too, so that two runs can be compared. Where only the
account knows (zones, image, quota), the answer is one with which the program goes on; ASSUMED says so to people.
"""

from __future__ import annotations

import base64
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from policies.declared import STACK, Declared
from rehearsal.in_process import run_program, with_secrets
from stacks.envelopes import plain
from stacks.images import ARCHITECTURE
from stacks.seats import Seat
from stacks.settings import SeminarSettings
from stacks.sizes import is_graviton

ASSUMED = {
    "aws": "Only the account knows which zones offer the type; three are assumed. The image is the newest of its line "
    "on the day of `pulumi up`.",
    "azure": "Only the subscription knows whether the region offers the size to it. The image's version is the newest "
    "on the day of `pulumi up`.",
    "local": "",
}

_NOBODY = "00000000-0000-0000-0000-000000000000"  # the subscription
# What no one may find in the clear: policies/rules.py looks for keys and hashes by these words.
_PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY----- {} -----END OPENSSH PRIVATE KEY-----"


class UnansweredError(grpc.RpcError):
    """What only an account could answer was asked, and the program can do without. To the SDK, a provider's refusal."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "nobody is asked in a preview"


def declared_by(settings: SeminarSettings, seats: tuple[Seat, ...]) -> tuple[Declared, ...]:
    """Every resource that the program registers for these settings, in the order of their making.

    Raises SettingsError where the program refuses the settings.
    """
    from pulumi.runtime import mocks

    from stacks.local import ENGINE_VARIABLE, PREVIEW
    from stacks.machines import declare

    found: list[Declared] = []

    class Answers(mocks.Mocks):
        def call(self, args: mocks.MockCallArgs) -> Any:
            return _answer(args.token.rsplit(":", maxsplit=1)[-1], args.args, settings)

        def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            return _made(args.typ, args.name, plain(args.inputs))

    class Monitor(mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            if request.type != STACK:
                found.append(Declared.of(request))
            return with_secrets(request, super().RegisterResource(request))  # type: ignore[no-untyped-call]  # the SDK's

    before = os.environ.get(ENGINE_VARIABLE)
    os.environ[ENGINE_VARIABLE] = PREVIEW
    log = logging.getLogger("preview")
    log.setLevel(logging.ERROR)  # it would tell what Azure did not say, which was never asked
    try:
        with ThreadPoolExecutor(1) as own_thread:  # its event loop is nobody else's
            own_thread.submit(
                run_program, settings.seminar, lambda: declare(settings, seats), Monitor(Answers()), log
            ).result()
    finally:
        if before is None:
            del os.environ[ENGINE_VARIABLE]
        else:
            os.environ[ENGINE_VARIABLE] = before
    return tuple(found)


def _answer(question: str, given: dict[str, Any], settings: SeminarSettings) -> dict[str, Any]:
    """What a cloud is asked before anything is declared there. Raises UnansweredError."""
    region = settings.region
    answers: dict[str, dict[str, Any]] = {
        "getInstanceTypeOfferings": {"locations": [f"{region}{letter}" for letter in "abc"]},
        "getInstanceType": {
            "defaultVcpus": 0,
            "supportedArchitectures": ["arm64" if is_graviton(str(given.get("instanceType"))) else ARCHITECTURE],
        },
        "getParameter": {"insecureValue": f"newest of {given.get('name')}"},
        "getAmi": {
            "id": "".join(value for each in given.get("filters", []) for value in each["values"]),
            "architecture": ARCHITECTURE,
            "rootDeviceName": "",
            "blockDeviceMappings": [],
        },
        "getClientConfig": {"subscriptionId": _NOBODY, "clientId": "", "objectId": "", "tenantId": ""},
    }
    if question not in answers:
        raise UnansweredError
    return answers[question]


def _made(kind: str, name: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The id and the outputs that a resource would have, as text that says whose they are."""
    id_ = f"{kind}::{name}"
    last = kind.rsplit(":", maxsplit=1)[-1]
    if last == "OrganiserKey":
        return id_, {"private_key": _PRIVATE_KEY.format("organiser"), "public_key": _public_key("organiser")}
    if last == "MachineCredentials":
        return id_, _credentials(name, given["seat_ids"])
    if last == "LocalMachine":
        return id_, {"addresses": {seat: _address(given) for seat in given["laptops"]}, "problem": ""}
    if last == "ResourceGroup":
        name = given["resourceGroupName"]
        return f"/subscriptions/{_NOBODY}/resourceGroups/{name}", {"name": name, "location": given["location"]}
    outputs = {
        "KeyPair": {"keyName": id_},
        "Role": {"arn": id_},
        "Instance": {"publicIp": ""},
        "Eip": {"publicIp": ""},
        "PublicIPAddress": {"ipAddress": ""},
    }
    return id_, outputs.get(last, {})


def _address(given: dict[str, Any]) -> dict[str, Any]:
    wanted = {key: given[key] for key in ("notebook_port", "local_port")}
    return {"host": "127.0.0.1", "ssh_ports": [22], "user": "you", "files": "", **wanted}


def _credentials(name: str, seat_ids: list[str]) -> dict[str, Any]:
    seats = {
        id_: {
            "password": f"password of {id_}",
            "password_hash": f"argon2:$argon2id$ of {id_}",
            "private_key": _PRIVATE_KEY.format(id_),
            "public_key": _public_key(id_),
        }
        for id_ in seat_ids
    }
    return {"host_private_key": _PRIVATE_KEY.format(name), "host_key": _public_key(name), "seats": seats}


def _public_key(whose: str) -> str:
    return f"ssh-ed25519 {base64.b64encode(whose.encode()).decode()}"
