"""The seminar on Azure through the real engine: the Pulumi CLI, with a provider that makes in a model of Azure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import protocol
from tests.doubles.arm import SIGNED_IN, STATE, Arm, address_of
from tests.seminar import LATER, NEEDS, STACK, Seminar

pytestmark = NEEDS


class OnAzure(Seminar):
    """The seminar, and the subscription that it is in."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "azure.json"
        plugins = protocol.install(folder / "bin", "azure-native", "tests.doubles.arm", **{STATE: str(self.file)})
        super().__init__(folder, plugins, {"cloud": "azure", "region": "westeurope"})

    @property
    def there(self) -> dict[str, Any]:
        """All that there is, by id."""
        return Arm(self.file).state

    def of(self, type_: str) -> dict[str, Any]:
        """What there is of a type, by participant."""
        found = {id_: sent for id_, sent in self.there.items() if f"/{type_}/" in id_}
        return {id_.rsplit("machine-", maxsplit=1)[-1]: sent for id_, sent in found.items()}

    def machines(self) -> dict[str, str]:
        """Participant -> what their machine was told when it was made, which is never twice the same."""
        return {id_: sent["properties"]["osProfile"]["customData"] for id_, sent in self.of("virtualMachines").items()}

    def remove(self, *words: str) -> None:
        """Remove resources outside, whose ids have these words."""
        state = {id_: sent for id_, sent in self.there.items() if not all(word in id_ for word in words)}
        self.file.write_text(json.dumps(state))


@pytest.fixture
def seminar(tmp_path: Path) -> OnAzure:
    return OnAzure(tmp_path)


def test_the_life_of_a_seminar_of_fifty(seminar: OnAzure) -> None:
    people = [f"p{n:02}" for n in range(1, 51)]
    seminar.enrol(*people)
    assert seminar.planned()["create"] > 250
    assert seminar.there == {}  # a preview makes nothing

    seminar.up()
    first = seminar.machines()
    assert sorted(first) == people
    addresses = [id_ for id_ in seminar.there if "/publicIPAddresses/" in id_]
    assert seminar.hosts() == {id_.rsplit("machine-", maxsplit=1)[-1]: address_of(id_) for id_ in addresses}
    seminar.up("--expect-no-changes")

    seminar.enrol(*people[:20], "late", *people[20:])
    assert seminar.planned() == {"create": 5}  # credentials, address, network interface, machine, the order to stop it
    seminar.up()
    assert {**seminar.machines(), "late": ""} == {**first, "late": ""}

    seminar.enrol(*reversed(people[:7] + people[8:]), "late")  # one less, and in another order
    assert seminar.planned() == {"delete": 5}
    seminar.up()
    left = {id_: told for id_, told in first.items() if id_ != "p08"}
    assert {id_: told for id_, told in seminar.machines().items() if id_ != "late"} == left
    for type_ in ("disks", "publicIPAddresses", "networkInterfaces", "schedules"):
        assert len(seminar.of(type_)) == 50

    seminar.pulumi("destroy", "--yes", "--skip-preview")
    assert seminar.there == {}


def test_what_changes_in_place_and_what_waits_for_the_next_machine(seminar: OnAzure) -> None:
    seminar.up()
    before = seminar.machines()

    seminar.set(ends=LATER)
    assert set(seminar.planned()) == {"update"}
    seminar.up()
    clock = LATER.split()[1].replace(":", "")
    assert [each["properties"]["dailyRecurrence"]["time"] for each in seminar.of("schedules").values()] == [clock] * 2
    day, time, _ = LATER.split()
    assert {each["tags"]["ends"] for each in seminar.of("virtualMachines").values()} == {f"{day}T{time}:00Z"}

    seminar.set(size="cpu-large")
    seminar.up()
    sizes = {each["properties"]["hardwareProfile"]["vmSize"] for each in seminar.of("virtualMachines").values()}
    assert sizes == {"Standard_D8s_v5"}

    seminar.set(disk_gib=512, spot=True, image="ubuntu-24.04")
    assert seminar.planned() == {}
    seminar.enrol("ada", "bose", "curie")
    seminar.up()
    offers = {
        id_: (
            each["properties"]["storageProfile"]["imageReference"]["publisher"],
            each["properties"]["storageProfile"]["osDisk"]["diskSizeGB"],
            each["properties"].get("priority"),
        )
        for id_, each in seminar.of("virtualMachines").items()
    }
    old = ("microsoft-dsvm", 150, None)
    assert offers == {"ada": old, "bose": old, "curie": ("Canonical", 512, "Spot")}

    seminar.set(allowed_cidrs=["192.88.99.0/24", "192.31.196.0/24"])
    assert seminar.planned() == {"update": 1}
    seminar.set(ends=None)
    seminar.up()
    assert seminar.of("schedules") == {}
    assert {id_: told for id_, told in seminar.machines().items() if id_ != "curie"} == before


def test_another_region_is_refused_and_moves_nobody(seminar: OnAzure) -> None:
    seminar.up()
    before = seminar.there
    seminar.set(region="northeurope")
    assert "seminar:region is northeurope, and this seminar's machines are in westeurope;" in seminar.refused()
    assert seminar.there == before


def test_another_subscription_is_refused_and_nothing_is_made_in_it(seminar: OnAzure) -> None:
    seminar.up()
    before = seminar.there
    seminar.set(ends=LATER, size="cpu-large")
    told = seminar.refused(**{SIGNED_IN: "another"})
    assert "You are signed in to the subscription another, and this seminar's machines are in 11111111-" in told
    assert seminar.there == before


def test_what_was_removed_outside_is_made_anew(seminar: OnAzure) -> None:
    seminar.up()
    before = seminar.there
    seminar.remove("/virtualMachines/machine-ada")
    seminar.remove("/disks/machine-ada")
    seminar.remove("/schedules/", "machine-bose")
    seminar.up("--refresh")
    assert set(seminar.there) == set(before)


def test_one_machine_is_replaced_on_purpose_and_its_address_stays(seminar: OnAzure) -> None:
    seminar.up()
    hosts = seminar.hosts()
    seminar.set(image="ubuntu-24.04")
    urns = json.loads(seminar.pulumi("stack", "export"))["deployment"]["resources"]
    (urn,) = (each["urn"] for each in urns if each["urn"].endswith("compute:VirtualMachine::machines-ada"))
    seminar.up("--target-replace", urn)
    publishers = {
        id_: each["properties"]["storageProfile"]["imageReference"]["publisher"]
        for id_, each in seminar.of("virtualMachines").items()
    }
    assert publishers == {"ada": "Canonical", "bose": "microsoft-dsvm"}
    assert seminar.hosts() == hosts
    seminar.up("--expect-no-changes")


def test_what_is_secret_stays_so_in_the_state(seminar: OnAzure) -> None:
    seminar.up()
    told = seminar.machines()["ada"][:60]
    seminar.check_that_secrets_stay_so(told)


def test_one_machine_that_azure_has_no_room_for(seminar: OnAzure) -> None:
    seminar.check_that_one_without_room_costs_nobody_else("SkuNotAvailable")


def test_all_faults_at_once_and_nothing_made(seminar: OnAzure) -> None:
    seminar.set(region="westeurop", allowed_cidrs=["0.0.0.0/0"], machine_type="m6i.large", image="ami-1", disk_gib=4096)
    told = seminar.refused()
    for key in ("region", "allowed-cidrs", "machine-type", "image", "disk-gib"):
        assert f"Pulumi.{STACK}.yaml: seminar:{key} " in told
    assert seminar.there == {}
