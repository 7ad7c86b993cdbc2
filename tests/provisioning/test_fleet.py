"""One function over all seats: results in order, retries only for what may heal, a bad seat costs nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from provisioning import fleet
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat
from tests.provisioning.test_remote import ORGANISER


def _seats(count: int) -> list[HandOverSeat]:
    return [
        HandOverSeat(
            id=f"{n:02}",
            name=f"Participant {n:02}",
            machine=f"{n:02}",
            host="127.0.0.1",
            ssh_ports=(22,),
            user="u",
            notebook_port=8888,
            local_port=8888,
            host_key="ssh-ed25519 AAAA",
        )
        for n in range(1, count + 1)
    ]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connections that succeed, but for seats 13 (still booting twice) and 17 (a wrong key); which were tried."""
    tried: list[str] = []

    @contextmanager
    def connect(seat: HandOverSeat, _key: object) -> Iterator[Any]:
        tried.append(seat.id)
        if seat.id == "13" and tried.count("13") < 3:
            raise SeatError("refused", passing=True)
        if seat.id == "17":
            raise SeatError("another host key")
        yield seat

    monkeypatch.setattr(fleet, "connect", connect)
    monkeypatch.setattr(fleet, "RETRY_SECONDS", (0.01, 0.01))
    return tried


def _work(remote: Any) -> tuple[fleet.Outcome, dict[str, Any]]:
    if remote.id == "20":
        raise RuntimeError("a fault of ours")
    return "changed", {"id": remote.id}


def test_every_seat_ends_in_one_way(tried: list[str]) -> None:
    seats = _seats(200)
    seen: list[str] = []
    results = fleet.over(seats, ORGANISER, _work, done=lambda result: seen.append(result.seat.id))
    assert [result.seat for result in results] == seats
    assert sorted(seen) == [seat.id for seat in seats] or len(set(seen)) == 200
    bad = {result.seat.id: result.reason for result in results if result.outcome != "changed"}
    assert bad == {"17": "another host key", "20": "unexpected RuntimeError: a fault of ours"}
    assert tried.count("13") == 3
    assert tried.count("17") == 1


def test_ctrl_c_names_who_was_not_finished(tried: list[str]) -> None:
    def interrupt(result: fleet.SeatResult) -> None:
        raise KeyboardInterrupt

    results = fleet.over(_seats(100), ORGANISER, _work, done=interrupt)
    outcomes = [result.outcome for result in results]
    assert outcomes.count("interrupted") == 99
    assert tried
