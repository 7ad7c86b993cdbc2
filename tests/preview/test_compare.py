"""What a change does, by the program itself: who keeps their machine and who loses it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from policies.declared import Declared
from preview.compare import CHANGED, CREATED, DELETED, REPLACED, Comparison, Side, changes, compare
from preview.offline import declared_by
from stacks.roster import enrol
from stacks.seats import seat_everyone
from stacks.settings import SeminarSettings
from tests.preview.stacks import roster

NOW = datetime(2027, 3, 2, 9, tzinfo=timezone.utc)
OF_CLOUD = {
    "aws": {"cloud": "aws", "region": "eu-central-1", "allowed-cidrs": "192.88.99.0/24"},
    "azure": {"cloud": "azure", "region": "westeurope", "allowed-cidrs": "192.88.99.0/24"},
}
clouds = pytest.mark.parametrize("cloud", sorted(OF_CLOUD))


class Class:
    """A seminar in a cloud, whose sides are made as its roster and its settings say."""

    def __init__(self, folder: Path, cloud: str) -> None:
        self._roster = folder / "roster.csv"
        self._given = {**OF_CLOUD[cloud], "roster": "roster.csv"}

    def side(self, *people: str, secret: str = "", **given: str) -> Side:
        roster(self._roster, *people)
        named = {key.replace("_", "-"): value for key, value in given.items()}
        values = {**self._given, **named, **({"password": secret} if secret else {})}
        settings = SeminarSettings.from_mapping(
            values, seminar="spring", secret_keys={"password"}, root=self._roster.parent, now=NOW
        )
        seats = seat_everyone(enrol(settings))
        return Side(settings, seats, declared_by(settings, seats), values)


def against(old: Side | None, new: Side | None) -> Comparison:
    return compare(old, new, ref="main", commit="0" * 40)


def machines(found: Comparison) -> dict[str, str]:
    return {seat.id: seat.machine for seat in found.seats}


@clouds
def test_names_order_and_image_replace_nobody(tmp_path: Path, cloud: str) -> None:
    given = Class(tmp_path, cloud)
    old = given.side("ada", "bose", "curie")
    found = against(old, given.side("curie", "ada,Countess of Lovelace", "bose", image="ubuntu-24.04", spot="true"))
    assert [(seat.id, seat.after, seat.machine) for seat in found.seats] == [("ada", "Countess of Lovelace", "")]
    assert not found.lost
    assert not found.resources
    assert found.settings == {"image": ("", "ubuntu-24.04"), "spot": ("", "true")}
    assert [note.split()[0] for note in found.notes] == ["seminar:image", "seminar:spot"]
    assert against(old, old) == replace(found, settings={}, seats=(), notes=())


@clouds
def test_who_joins_and_who_leaves(tmp_path: Path, cloud: str) -> None:
    given = Class(tmp_path, cloud)
    found = against(given.side("ada", "bose"), given.side("dora", "ada"))
    assert machines(found) == {"dora": CREATED, "bose": DELETED}
    assert [seat.id for seat in found.lost] == ["bose"]
    assert {change.what for change in found.resources if change.name.endswith("ada")} == set()


@clouds
def test_what_changes_in_place(tmp_path: Path, cloud: str) -> None:
    given = Class(tmp_path, cloud)
    old = given.side("ada", ends="2027-03-05 18:00 UTC")
    found = against(old, given.side("ada", ends="2027-03-05 20:00 UTC", size="cpu-large"))
    assert machines(found) == {"ada": CHANGED}
    assert found.lost == ()
    assert "tags.ends: 2027-03-05T18:00:00Z -> 2027-03-05T20:00:00Z" in found.seats[0].because
    assert {change.what for change in found.resources} == {CHANGED}
    assert any("is stopped and started" in note for note in found.notes)


@clouds
def test_another_place_takes_every_machine(tmp_path: Path, cloud: str) -> None:
    given = Class(tmp_path, cloud)
    old = given.side("ada", "bose")
    elsewhere = {"aws": "eu-west-1", "azure": "northeurope"}[cloud]
    found = against(old, given.side("ada", "bose", region=elsewhere))
    assert machines(found) == {"ada": REPLACED, "bose": REPLACED}
    assert "`pulumi up` refuses it while the seminar is up" in found.notes[0]
    (other,) = set(OF_CLOUD) - {cloud}
    assert machines(against(old, Class(tmp_path, other).side("ada", "bose"))) == {"ada": REPLACED, "bose": REPLACED}


def test_without_ids_a_line_less_moves_people(tmp_path: Path) -> None:
    given = Class(tmp_path, "aws")
    old = given.side("01,Ada", "02,Bose", "03,Curie")
    found = against(old, given.side("01,Ada", "02,Curie"))
    assert [(seat.id, seat.before, seat.after, seat.moves_from) for seat in found.lost] == [
        ("02", "Bose", "Curie", "03"),
        ("03", "Curie", None, ""),
    ]
    twins = given.side("01,Ada", "02,Ada", "03,Ada")
    assert not any(seat.moves_from for seat in against(twins, given.side("01,Ada", "02,Ada", "03,Bose")).seats)


def test_a_new_password_is_not_shown(tmp_path: Path) -> None:
    given = Class(tmp_path, "aws")
    found = against(given.side("ada", secret="correct horse"), given.side("ada", secret="battery staple"))
    assert found.settings == {"password": ("a secret", "a secret")}
    assert [(change.name, change.what, change.because) for change in found.resources] == [
        ("credentials-ada", CHANGED, ("shared_password",))
    ]
    assert "horse" not in str(found)
    assert "staple" not in str(found)


@pytest.mark.parametrize(
    ("cloud", "before", "after", "said"),
    [
        ("aws", {"disk-gib": "200"}, {"disk-gib": "100"}, "AWS makes no disk smaller"),
        ("azure", {"disk-gib": "200"}, {"disk-gib": "400"}, "counts for machines made later"),
        ("aws", {}, {"stable-addresses": "true"}, "every machine gets another address"),
    ],
)
def test_notes(tmp_path: Path, cloud: str, before: dict[str, str], after: dict[str, str], said: str) -> None:
    given = Class(tmp_path, cloud)
    assert any(said in note for note in against(given.side("ada", **before), given.side("ada", **after)).notes)


def test_new_and_gone(tmp_path: Path) -> None:
    side = Class(tmp_path, "aws").side("ada")
    assert against(None, side).is_new
    assert machines(against(None, side)) == {"ada": CREATED}
    assert [seat.id for seat in against(side, None).lost] == ["ada"]


def declared(kind: str, name: str, inputs: dict[str, Any], **references: str) -> Declared:
    return Declared(
        kind, name, inputs, inputs, references={key: frozenset({value}) for key, value in references.items()}
    )


def test_what_is_taken_from_a_replaced_one_changes_too(tmp_path: Path) -> None:
    def side(image: str) -> Side:
        base = Class(tmp_path, "aws").side("ada")
        machine = declared("aws:ec2/instance:Instance", "machines-ada", {"ami": image})
        stop = declared("aws:scheduler/schedule:Schedule", "stop", {"target": "i"}, target=machine.key)
        rule = declared("some:new/kind:Kind", "rule", {"size": 1, "image": image})
        of_it = declared("aws:ec2/subnet:Subnet", "subnet", {"vpcId": "v"}, vpcId=rule.key)
        return replace(base, declared=(machine, stop, rule, of_it))

    found = {change.name: change.what for change in changes(side("one"), side("two"))}
    assert found == {"machines-ada": REPLACED, "stop": CHANGED, "rule": REPLACED, "subnet": REPLACED}


@pytest.mark.parametrize(("key", "what"), [("volumeSize", CHANGED), ("encrypted", REPLACED)])
def test_of_a_disk_some_changes_replace_the_machine(tmp_path: Path, key: str, what: str) -> None:
    def side(value: int) -> Side:
        base = Class(tmp_path, "aws").side("ada")
        disk = {"rootBlockDevice": {key: value, "tags": {}}}
        return replace(base, declared=(declared("aws:ec2/instance:Instance", "machines-ada", disk),))

    assert [change.what for change in changes(side(1), side(2))] == [what]
