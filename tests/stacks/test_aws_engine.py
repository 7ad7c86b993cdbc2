"""The seminar on AWS through the real engine: the Pulumi CLI, with a provider whose resources are made in moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks import images
from tests.doubles import protocol
from tests.doubles.account import Account, an_account, tags
from tests.doubles.moto_aws import ENDPOINT
from tests.seminar import LATER, NEEDS, STACK, TOMORROW, Seminar

pytestmark = NEEDS


class OnAws(Seminar):
    """The seminar, and the account that it is in."""

    def __init__(self, folder: Path, account: Account) -> None:
        self.account = account
        plugins = protocol.install(folder / "bin", "aws", "tests.doubles.moto_aws", **{ENDPOINT: account.endpoint})
        super().__init__(folder, plugins, {"cloud": "aws", "region": "eu-central-1"})

    def machines(self) -> dict[str, str]:
        """Participant -> the id of their machine."""
        return {tags(machine)["participant"]: machine["InstanceId"] for machine in self.account.machines()}


@pytest.fixture
def seminar(tmp_path: Path) -> Iterator[OnAws]:
    with an_account() as account:
        yield OnAws(tmp_path, account)


def everything(account: Account) -> dict[str, int]:
    return {kind: len(found) for kind, found in account.everything().items() if found}


def test_the_life_of_a_seminar_of_fifty(seminar: OnAws) -> None:
    people = [f"p{n:02}" for n in range(1, 51)]
    seminar.enrol(*people)
    assert seminar.planned()["create"] > 150
    assert everything(seminar.account) == {}  # a preview makes nothing

    seminar.up()
    first = seminar.machines()
    assert list(first) == people
    assert seminar.hosts() == {
        tags(each)["participant"]: each["PublicIpAddress"] for each in seminar.account.machines()
    }
    seminar.up("--expect-no-changes")

    seminar.enrol(*people[:20], "late", *people[20:])
    assert seminar.planned() == {"create": 3}  # credentials, machine, the order to stop it
    seminar.up()
    assert {**seminar.machines(), "late": ""} == {**first, "late": ""}

    seminar.enrol(*reversed(people[:7] + people[8:]), "late")  # one less, and in another order
    assert seminar.planned() == {"delete": 3}
    seminar.up()
    left = {id_: machine for id_, machine in first.items() if id_ != "p08"}
    assert {id_: machine for id_, machine in seminar.machines().items() if id_ != "late"} == left

    newer = seminar.account.publish()
    assert seminar.planned() == {}  # a newer image replaces nobody
    seminar.enrol(*people[:7], *people[8:], "late", "later")
    seminar.up()
    images_of = {tags(each)["participant"]: each["ImageId"] for each in seminar.account.machines()}
    assert [id_ for id_, image in images_of.items() if image == newer] == ["later"]

    seminar.pulumi("destroy", "--yes", "--skip-preview")
    assert everything(seminar.account) == {}


def test_what_changes_in_place_and_what_waits_for_the_next_machine(seminar: OnAws) -> None:
    seminar.up()
    before = seminar.machines()

    seminar.set(ends=LATER)
    assert set(seminar.planned()) == {"update"}
    seminar.up()
    schedules = seminar.account.client("scheduler")
    for listed in schedules.list_schedules()["Schedules"]:
        expression = schedules.get_schedule(Name=listed["Name"])["ScheduleExpression"]
        assert expression == f"at({LATER.removesuffix(' UTC').replace(' ', 'T')}:00)"
    for machine in seminar.account.machines():
        assert tags(machine)["ends"] == f"{LATER.removesuffix(' UTC').replace(' ', 'T')}:00Z"

    seminar.set(size="cpu-large")
    seminar.up()
    assert {machine["InstanceType"] for machine in seminar.account.machines()} == {"m6i.2xlarge"}

    seminar.set(disk_gib=40)
    seminar.up()
    assert [volume["Size"] for volume in seminar.account.everything()["volumes"]] == [40, 40]

    seminar.account.publish(line=images.PLAIN)
    seminar.set(spot=True, image=images.PLAIN)
    assert seminar.planned() == {}

    seminar.set(allowed_cidrs=["192.88.99.0/24", "192.31.196.0/24"])
    assert seminar.planned() == {"create": 2}

    seminar.set(stable_addresses=True, ends=None)
    seminar.up()
    assert everything(seminar.account)["addresses"] == 2
    assert "schedules" not in everything(seminar.account)
    assert seminar.machines() == before


def test_another_region_is_refused_and_moves_nobody(seminar: OnAws) -> None:
    seminar.up()
    before = seminar.machines()
    seminar.set(region="eu-west-1")
    assert "seminar:region is eu-west-1, and this seminar's machines are in eu-central-1;" in seminar.refused()
    assert seminar.machines() == before


def test_machines_that_were_stopped_are_not_replaced_and_have_no_address(seminar: OnAws) -> None:
    seminar.up()
    before = seminar.machines()
    seminar.account.client("ec2").stop_instances(InstanceIds=[before["ada"]])
    seminar.up("--refresh")
    assert seminar.machines() == before
    assert seminar.hosts()["ada"] == ""
    seats = {
        seat["id"]: seat
        for seat in json.loads(seminar.project.fab("status", "--only", "ada", "--json").stdout)["seats"]
    }
    assert "its machine has no address: it was not made, or is stopped" in seats["ada"]["reason"]


def test_what_was_removed_outside_is_made_anew(seminar: OnAws) -> None:
    seminar.up()
    before = seminar.machines()
    seminar.account.client("ec2").terminate_instances(InstanceIds=[before["ada"]])
    scheduler = seminar.account.client("scheduler")
    (gone, _) = [each["Name"] for each in scheduler.list_schedules()["Schedules"]]
    scheduler.delete_schedule(Name=gone)
    seminar.up("--refresh")
    assert len(scheduler.list_schedules()["Schedules"]) == 2
    after = seminar.machines()
    assert after["bose"] == before["bose"]
    assert after["ada"] != before["ada"]


def test_what_is_secret_stays_so_in_the_state(seminar: OnAws) -> None:
    seminar.check_that_secrets_stay_so()


def test_one_machine_that_aws_has_no_room_for(seminar: OnAws) -> None:
    seminar.check_that_one_without_room_costs_nobody_else("InsufficientInstanceCapacity")


def test_all_faults_at_once_and_nothing_made(seminar: OnAws) -> None:
    seminar.set(region="eu-centrl-1", allowed_cidrs=["0.0.0.0/0"], size="huge", ends="2020-01-01 18:00")
    (seminar.project.root / "roster.csv").write_text("id,name\nada,\n")
    done = seminar.project.run("pulumi", "up", "--yes", "--non-interactive", "--stack", STACK)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    for key in ("region", "allowed-cidrs", "size", "ends"):
        assert f"Pulumi.{STACK}.yaml: seminar:{key} " in told
    assert "roster.csv line 2: has no name; write one." in told
    assert "Traceback" not in told
    assert everything(seminar.account) == {}


@pytest.mark.parametrize(
    "ends", ["2099-03-05T17:00:00Z", "2099-03-05T18:00:00+01:00", "2099-03-05 18:00 Europe/Berlin"]
)
def test_an_end_as_yaml_takes_it_without_quotes(seminar: OnAws, ends: str) -> None:
    path = seminar.project.root / f"Pulumi.{STACK}.yaml"
    path.write_text(path.read_text().replace(json.dumps(TOMORROW), ends))
    assert seminar.planned()["create"] > 0


def test_fab_end_destroys_what_it_may(seminar: OnAws) -> None:
    """Nobody's machine can be reached: no work is here, so that it takes everyone's name to destroy them."""
    seminar.up()
    code = "from dataclasses import replace; from provisioning import inventory, tasks; import invoke, sys\n"
    code += "real = inventory.load\ndef load(*words):\n    found = real(*words)\n"
    code += "    nowhere = tuple(replace(seat, host='') for seat in found.seats)\n"
    code += "    return replace(found, seats=nowhere)\n"
    code += "inventory.load = load\ntasks.end(invoke.Context(), stack='class', without=sys.argv[1], yes=True)"
    refused = seminar.project.python("-c", code, "ada")
    assert "Nothing was destroyed, for this work is not here: ada, bose." in refused.stdout, refused.stderr
    assert sorted(seminar.machines()) == ["ada", "bose"]
    done = seminar.project.python("-c", code, "ada,bose")
    assert "The stack has no resources any more; how to look in the account itself" in done.stdout, done.stderr
    assert done.returncode == 0
    assert everything(seminar.account) == {}
    again = seminar.project.fab("end", "--stack", "class", "--yes")
    assert "The seminar class has ended already, at " in again.stdout, again.stderr
