"""The whole program, declared and not made: what is exported, what is secret, and who moves when one leaves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pulumi
import pytest
from pulumi.runtime import mocks, rpc

from stacks import machines
from stacks.clients import putty_command, tunnel_command
from stacks.errors import SettingsError
from stacks.folders import machine_folder, seat_folder
from stacks.outputs import NEW_PASSWORDS_VARIABLE, HandOver, Secrets
from stacks.settings import SeminarSettings
from tests.program import HOST_KEY, bare, credentials, run

ROSTER = ("ada,Ada Lovelace", "bose,Satyendra Nath Bose", "curie,Maria Skłodowska Curie")
SETTINGS = {"notebook-port": "8901", "password": "open sesame"}
INPUTS = {
    "OrganiserKey": set(),
    "MachineCredentials": {"machine", "seat_ids", "shared_password", "new_passwords"},
    "LocalMachine": {"machine", "folder", "host_key", "host_private_key", "organiser_key"}
    | {"notebook_port", "local_port", "laptops"},
}


class Recorder(mocks.Mocks):
    """Answers as the providers would, remembers what each was given, and takes neither more nor less than they know."""

    def __init__(self) -> None:
        self.given: dict[str, dict[str, Any]] = {}

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(f"{args.token} was called")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.custom:
            return "", args.inputs
        kind = args.typ.rsplit(":", maxsplit=1)[-1]
        given = {key: value for key, value in args.inputs.items() if key != "__provider"}
        assert set(given) == INPUTS[kind]
        assert args.name not in self.given
        self.given[args.name] = given
        return args.name, getattr(self, f"_{kind}")({key: bare(value) for key, value in given.items()})

    def _OrganiserKey(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"private_key": "private key of the organiser", "public_key": "public key of the organiser"}

    def _MachineCredentials(self, given: dict[str, Any]) -> dict[str, Any]:
        return credentials(given)

    def _LocalMachine(self, given: dict[str, Any]) -> dict[str, Any]:
        found = {"host": "localhost", "ssh_ports": [2201], "user": "organiser"}
        found |= {key: given[key] for key in ("notebook_port", "local_port")}
        addresses = {id_: {**found, "files": seat["folder"]} for id_, seat in given["laptops"].items()}
        return {"problem": "", "addresses": addresses}


@pytest.fixture(autouse=True)
def a_computer_with_sshd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is started here, whether or not there is an sshd; and no rehearsal of one's own is looked at."""
    monkeypatch.setattr("rehearsal.sshd.find", lambda: "/usr/sbin/sshd")
    monkeypatch.setattr("stacks.folders.SEMINAR_FOLDER", tmp_path / ".seminar")
    monkeypatch.delenv(NEW_PASSWORDS_VARIABLE, raising=False)


@dataclass(frozen=True)
class Declared:
    """What a run declared: each resource's inputs by name, the stack's outputs, and which of these are secret."""

    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, Any]
    secret: set[str]


def declare(roster: Path, *lines: str, **more: str) -> Declared:
    """Run the program for these people."""
    roster.write_text("\n".join(("id,name", *lines)), encoding="utf-8")
    recorder = Recorder()
    exported = run(recorder, {**SETTINGS, "roster": str(roster), **more})
    return Declared(recorder.given, exported.outputs, exported.secret)


def test_what_is_declared(tmp_path: Path) -> None:
    found = declare(tmp_path / "people.csv", *ROSTER)
    kinds = [f"{kind}-{id_}" for kind in ("credentials", "machine") for id_ in ("ada", "bose", "curie")]
    assert sorted(found.inputs) == [*kinds, "organiser"]
    ada = {key: bare(value) for key, value in found.inputs["machine-ada"].items()}
    assert ada == {
        "machine": "ada",
        "folder": str(machine_folder("spring", "ada")),
        "host_key": HOST_KEY,
        "host_private_key": "host key of ada",
        "organiser_key": "public key of the organiser",
        "notebook_port": 8901,
        "local_port": 8888,
        "laptops": {
            "ada": {
                "folder": str(seat_folder("spring", "ada")),
                "password": "password of ada",
                "private_key": "private_key of ada",
                "public_key": "public_key of ada",
            }
        },
    }


def test_what_is_secret_on_the_way_to_a_provider(tmp_path: Path) -> None:
    found = declare(tmp_path / "people.csv", *ROSTER)
    for name, inputs in found.inputs.items():
        secret = {key for key, value in inputs.items() if rpc.is_rpc_secret(value)}
        assert secret == set(inputs) & {"shared_password", "new_passwords", "host_private_key", "laptops"}, name


def test_what_is_exported_and_what_of_it_is_secret(tmp_path: Path) -> None:
    found = declare(tmp_path / "people.csv", *ROSTER)
    assert set(found.outputs) == {"handover", "secrets", "tunnels", "putty"}
    assert found.secret == {"secrets"}
    handover = HandOver.from_dict(found.outputs["handover"])
    assert handover.seminar == "spring"
    assert [seat.id for seat in handover.seats] == ["ada", "bose", "curie"]
    assert [seat.name for seat in handover.seats] == [line.split(",")[1] for line in ROSTER]
    assert found.outputs["tunnels"] == {seat.id: tunnel_command(seat) for seat in handover.seats}
    assert found.outputs["putty"] == {seat.id: putty_command(seat) for seat in handover.seats}
    secrets = Secrets.from_dict(found.outputs["secrets"])
    assert secrets.organiser_key == "private key of the organiser"
    assert secrets.seats["bose"].password_hash == "password_hash of bose"


def test_one_who_leaves_or_joins_changes_no_other_and_order_changes_nobody(tmp_path: Path) -> None:
    everyone = declare(tmp_path / "people.csv", *ROSTER)
    left = declare(tmp_path / "people.csv", ROSTER[2], ROSTER[0])
    assert left.inputs == {name: kept for name, kept in everyone.inputs.items() if not name.endswith("-bose")}
    seats = {seat["id"]: seat for seat in everyone.outputs["handover"]["seats"]}
    assert left.outputs["handover"]["seats"] == [seats["curie"], seats["ada"]]


def test_new_passwords_go_to_their_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NEW_PASSWORDS_VARIABLE, '{"bose": "only for bose", "nobody": ""}')
    found = declare(tmp_path / "people.csv", *ROSTER)
    new = {name: bare(given["new_passwords"]) for name, given in found.inputs.items() if "new_passwords" in given}
    assert new == {"credentials-ada": {}, "credentials-bose": {"bose": "only for bose"}, "credentials-curie": {}}


def test_a_fault_is_one_sentence_for_pulumi(tmp_path: Path) -> None:
    with pytest.raises(pulumi.RunError, match=r"^Pulumi\.spring\.yaml: seminar:workdir is '\.\.'; expected .+\.$"):
        declare(tmp_path / "people.csv", *ROSTER, workdir="..")


@pytest.mark.parametrize(("cloud", "sdk"), [("aws", "pulumi_aws"), ("azure", "pulumi_azure_native")])
def test_a_cloud_whose_sdk_is_not_installed(cloud: str, sdk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal does without the clouds' SDKs, and so may the computer."""
    monkeypatch.setitem(sys.modules, sdk, None)
    for loaded in [name for name in sys.modules if name.startswith(f"stacks.{cloud}")]:
        monkeypatch.delitem(sys.modules, loaded)
    args = machines.MachinesArgs(
        settings=SeminarSettings(seminar="spring", cloud=cloud), seats=(), organiser=Mock(), credentials={}
    )
    with pytest.raises(SettingsError) as caught:
        machines.build(args)
    told = f"Pulumi.spring.yaml: seminar:cloud is {cloud}, and {sdk} is not installed; run `make setup`, which installs"
    assert str(caught.value).startswith(told)
