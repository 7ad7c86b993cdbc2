"""The hand-over is a published format: each field is demanded and told by name, and format 1 is read for good."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN

from stacks.errors import HandOverError
from stacks.outputs import FORMAT, HandOver, HandOverSeat, SeatSecrets, Secrets
from stacks.values import Secret

KEPT = Path(__file__).with_name("handover-format-1.json")
ABSENT = object()
NUMBERS = {"notebook_port", "local_port"}
LISTS = {"seats", "ssh_ports"}


def kept() -> dict[str, Any]:
    """What a stack of format 1 exported: the outputs `handover` and `secrets`."""
    return dict(json.loads(KEPT.read_text(encoding="utf-8")))


def damaged(document: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    left = {name: kept for name, kept in document.items() if name != key}
    return left if value is ABSENT else {**left, key: value}


def wrong_values(key: str) -> list[object]:
    """What can't stand for this field."""
    common = [None, True, {"hush": "hush"}]
    if key in NUMBERS:
        return [*common, "8888", 8888.5, float("nan"), float("inf"), [8888]]
    return [*common, 7, "hush"] if key in LISTS else [*common, 7, ["hush"]]


def cases(kind: type) -> list[Any]:
    """Each field of a wrong type and, but for the one that is optional, absent."""
    assert is_dataclass(kind)
    return [
        pytest.param(field.name, value, id=f"{field.name}-{'absent' if value is ABSENT else value}")
        for field in fields(kind)
        for value in (*wrong_values(field.name), ABSENT)
        if value is not ABSENT or field.name != "files"
    ]


def as_pulumi_hands_on(value: Any) -> Any:
    """The value after Pulumi's protocol: every number a float, maps in no order."""
    if isinstance(value, dict):
        return {key: as_pulumi_hands_on(value[key]) for key in sorted(value, reverse=True)}
    if isinstance(value, list):
        return [as_pulumi_hands_on(item) for item in value]
    return float(value) if isinstance(value, int) else value


@pytest.mark.parametrize(("key", "value"), cases(HandOver))
def test_a_damaged_document_is_told(key: str, value: object) -> None:
    with pytest.raises(HandOverError, match=rf"\b{key}\b.*; run `pulumi up` again\.$"):
        HandOver.from_dict(damaged(kept()["handover"], key, value))


@pytest.mark.parametrize(("key", "value"), cases(HandOverSeat))
def test_a_damaged_seat_is_told(key: str, value: object) -> None:
    document = kept()["handover"]
    document["seats"][1] = damaged(document["seats"][1], key, value)
    with pytest.raises(HandOverError, match=rf"^The hand-over's seat .+ {key}\b") as caught:
        HandOver.from_dict(document)
    assert key == "id" or "seat bose" in str(caught.value)


@pytest.mark.parametrize("ports", [[], ["22"], [22, None], [22.5], [True], [float("nan")], [float("inf")]])
def test_damaged_ports_are_told(ports: list[object]) -> None:
    seat = damaged(kept()["handover"]["seats"][0], "ssh_ports", ports)
    with pytest.raises(HandOverError, match=r"seat ada has ssh_ports .+; expected port numbers\.$"):
        HandOverSeat.from_dict(seat)


@pytest.mark.parametrize("seat", [None, "hush", 7, ["hush"]])
def test_a_seat_that_is_none(seat: object) -> None:
    with pytest.raises(HandOverError, match="a seat is no mapping"):
        HandOver.from_dict({**kept()["handover"], "seats": [seat]})
    secrets = {"organiser_key": "hush", "seats": {"ada": seat}}
    with pytest.raises(HandOverError, match="secrets of ada is no mapping") as caught:
        Secrets.from_dict(secrets)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("key", [field.name for field in fields(SeatSecrets)])
@pytest.mark.parametrize("value", [ABSENT, None, True, 7, ["hush"], {"hush": "hush"}])
def test_a_damaged_secret_is_told_and_not_shown(key: str, value: object) -> None:
    document = kept()["secrets"]
    document["seats"]["ada"] = damaged(document["seats"]["ada"], key, value)
    with pytest.raises(HandOverError, match=f"secrets of ada has no {key} ") as caught:
        Secrets.from_dict(document)
    assert "hush" not in str(caught.value)
    assert "fake" not in str(caught.value)


@pytest.mark.parametrize("key", [field.name for field in fields(Secrets)])
@pytest.mark.parametrize("value", [ABSENT, None, True, 7, ["hush"]])
def test_damaged_secrets_are_told_and_not_shown(key: str, value: object) -> None:
    with pytest.raises(HandOverError, match=f"secrets has no {key} ") as caught:
        Secrets.from_dict(damaged(kept()["secrets"], key, value))
    assert "hush" not in str(caught.value)
    assert "fake" not in str(caught.value)


@pytest.mark.parametrize("came", [ABSENT, None, 0, 2, 1.5, "1", "hush"])
def test_another_format_is_refused(came: object) -> None:
    with pytest.raises(HandOverError, match=rf"^The hand-over has format .+; this version reads {FORMAT}\. Run "):
        HandOver.from_dict(damaged(kept()["handover"], "format", came))


def test_round_trip() -> None:
    handover = HandOver.from_dict(kept()["handover"])
    assert HandOver.from_dict(handover.to_dict()) == handover
    secrets = Secrets.from_dict(kept()["secrets"])
    assert Secrets.from_dict(secrets.to_dict()) == secrets
    assert secrets.to_dict() == kept()["secrets"]


def test_round_trip_through_pulumi() -> None:
    handover = HandOver.from_dict(kept()["handover"])
    through = HandOver.from_dict(json.loads(json.dumps(as_pulumi_hands_on(handover.to_dict()))))
    assert through == handover
    numbers = [number for seat in through.seats for number in (seat.notebook_port, seat.local_port, *seat.ssh_ports)]
    assert {type(number) for number in numbers} == {int}


def test_fields_that_a_later_version_added_are_left_alone() -> None:
    document, secrets = kept()["handover"], kept()["secrets"]
    more = {**document, "more": 1, "seats": [{**seat, "more": [1]} for seat in document["seats"]]}
    assert HandOver.from_dict(more) == HandOver.from_dict(document)
    seats = {id_: {**seat, "more": "x"} for id_, seat in secrets["seats"].items()}
    assert Secrets.from_dict({**secrets, "more": "x", "seats": seats}) == Secrets.from_dict(secrets)


def test_the_document_of_format_1_still_reads() -> None:
    handover = HandOver.from_dict(kept()["handover"])
    assert (handover.seminar, handover.workdir, handover.interface) == ("spring", "learnml", "notebook")
    assert handover.materials == "https://example.org/class.git"
    ada, bose = handover.seats
    assert (ada.id, ada.name, ada.machine, ada.host) == ("ada", "Ada Lovelace", "m1", "192.0.2.7")
    assert (ada.ssh_ports, ada.user, ada.notebook_port, ada.local_port) == ((22, 443), "ada", 8888, 8888)
    assert ada.host_key.startswith("ssh-ed25519 AAAA")
    assert (ada.files, bose.files) == ("", "/home/organiser/seminar/.seminar/spring/seats/bose")


def test_secrets_are_masked_wherever_a_repr_is_printed() -> None:
    secrets = Secrets.from_dict(kept()["secrets"])
    assert isinstance(secrets.seats["ada"].password, Secret)
    assert "fake" not in repr(secrets)
    assert "fake" not in f"{secrets.seats['ada']}"


def test_a_seat_whose_machine_was_not_made_has_no_address() -> None:
    document = kept()["handover"]
    document["seats"][0]["host"] = UNKNOWN
    first, *others = HandOver.from_dict(document).seats
    assert first.host == ""
    assert all(seat.host for seat in others)
