"""Both clouds and the rehearsal side by side: the same roster yields the same hand-over, wherever the machines are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.runtime import mocks

from stacks import azure_survey
from stacks.outputs import HandOver, Secrets
from tests.doubles.management import a_management
from tests.program import Exported, run
from tests.stacks import test_aws, test_azure, test_machines

ROSTER = ("id,name", "ada,Ada Lovelace", "bose,Satyendra Nath Bose", "curie,Maria Skłodowska Curie", "x--0,名前 O'Neil")
SHARED = {"workdir": "class_1/week", "notebook-port": "8901", "local-port": "8902", "interface": "lab"}
CLOUDS: dict[str, tuple[type[mocks.Mocks], dict[str, str]]] = {
    "local": (test_machines.Recorder, {}),
    "aws": (test_aws.Recorder, test_aws.SETTINGS),
    "azure": (test_azure.Recorder, test_azure.SETTINGS),
}
# Where a machine is reached, and as whom: in a rehearsal as the organiser's own user, at ports of this computer's.
ITS_OWN = {"host", "ssh_ports", "user", "files"}


@pytest.fixture(autouse=True)
def nothing_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr("rehearsal.sshd.find", lambda: "/usr/sbin/sshd")
    monkeypatch.setattr("stacks.folders.SEMINAR_FOLDER", tmp_path / ".seminar")
    with a_management() as found:
        monkeypatch.setattr(azure_survey, "MANAGEMENT", found.endpoint)
        yield


@pytest.fixture
def exported(tmp_path: Path) -> dict[str, Exported]:
    """What the same seminar exports in each place."""
    roster = tmp_path / "people.csv"
    roster.write_text("\n".join(ROSTER), encoding="utf-8")
    found = {}
    for cloud, (recorder, settings) in CLOUDS.items():
        kept = {key: value for key, value in settings.items() if key != "participants"}
        found[cloud] = run(recorder(), {**kept, **SHARED, "cloud": cloud, "roster": str(roster)})
    return found


def without_its_own(document: dict[str, Any]) -> dict[str, Any]:
    seats = [{key: value for key, value in seat.items() if key not in ITS_OWN} for seat in document["seats"]]
    return {**document, "seats": seats}


def test_the_same_hand_over_but_for_addresses_and_users(exported: dict[str, Exported]) -> None:
    local, aws, azure = (without_its_own(each.outputs["handover"]) for each in exported.values())
    assert local == aws == azure
    assert [seat["id"] for seat in local["seats"]] == ["ada", "bose", "curie", "x--0"]
    for each in exported.values():
        handover = HandOver.from_dict(each.outputs["handover"])
        assert len({seat.host for seat in handover.seats}) == (1 if each is exported["local"] else 4)


def test_the_clouds_differ_in_addresses_alone(exported: dict[str, Exported]) -> None:
    aws, azure = (exported[cloud].outputs["handover"]["seats"] for cloud in ("aws", "azure"))
    assert [{**seat, "host": ""} for seat in aws] == [{**seat, "host": ""} for seat in azure]


def test_machines_are_told_the_same_at_their_first_boot_but_for_what_is_the_cloud_s_and_the_image_s() -> None:
    aws, azure = test_aws.Recorder(), test_azure.Recorder()
    for recorder in (aws, azure):
        of_cloud = test_aws.SETTINGS if recorder is aws else test_azure.SETTINGS
        run(recorder, {**of_cloud, **SHARED})
    told = [
        yaml.safe_load(aws.declared["Instance machines-01"]["userData"]),
        yaml.safe_load(test_azure.custom_data(azure, "01")),
    ]
    assert {key for key in {*told[0], *told[1]} if told[0].get(key) != told[1].get(key)} == {"bootcmd", "write_files"}
    assert told[1]["bootcmd"][:1] == told[0]["bootcmd"]  # after it, the image's own services are put off
    files = [{each["path"]: each["content"] for each in document["write_files"]} for document in told]
    assert {path for path in files[0] if files[0][path] != files[1][path]} == {"/etc/seminar/watch-ends"}
    assert set(files[0]) == set(files[1])


@pytest.mark.parametrize("cloud", ["aws", "azure"])
def test_one_who_leaves_or_joins_moves_nobody(cloud: str, tmp_path: Path) -> None:
    roster = tmp_path / "people.csv"
    people = ["ada,Ada", "bose,Bose", "curie,Curie", "dirac,Dirac", "euler,Euler"]

    def declared(*lines: str) -> dict[str, dict[str, Any]]:
        roster.write_text("\n".join(("id,name", *lines)))
        recorder = test_aws.Recorder() if cloud == "aws" else test_azure.Recorder()
        run(recorder, {**CLOUDS[cloud][1], "participants": "0", "roster": str(roster)})
        return recorder.declared

    everyone = declared(*people)
    fewer = declared(people[4], people[2], people[0])
    assert fewer == {key: given for key, given in everyone.items() if not key.endswith(("-bose", "-dirac"))}


def test_the_same_secrets_kept_as_secretly(exported: dict[str, Exported]) -> None:
    local, aws, azure = (Secrets.from_dict(each.outputs["secrets"]).to_dict() for each in exported.values())
    assert local["seats"] == aws["seats"] == azure["seats"]
    assert [each.secret for each in exported.values()] == [{"secrets"}] * 3


def test_the_same_commands_but_for_addresses(exported: dict[str, Exported]) -> None:
    for output in ("tunnels", "putty"):
        said = [
            {
                seat["id"]: each.outputs[output][seat["id"]].replace(seat["host"], "HOST").replace("'", "")
                for seat in each.outputs["handover"]["seats"]
            }
            for cloud, each in exported.items()
            if cloud != "local"
        ]
        assert said[0] == said[1]
        assert set(exported["local"].outputs[output]) == set(said[0])
