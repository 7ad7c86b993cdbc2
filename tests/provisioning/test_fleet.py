"""One function over all seats: results in order, retries only for what may heal, a bad seat costs nobody else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from provisioning import fleet
from provisioning.dial import Line
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat
from tests.provisioning.machines import ORGANISER, closed_port, deaf_port, seat, server


def greet(caller: socket.socket) -> None:
    caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.fixture
def port() -> Iterator[int]:
    with server(greet) as port:
        yield port


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Logins that succeed, but for seats 013 (breaks off twice), 017 (a wrong key) and 019 (always breaks off)."""
    tried: list[str] = []

    @contextmanager
    def connect(line: Line, _key: object, _deadline: float) -> Iterator[Any]:
        tried.append(line.seat.id)
        line.sock.close()
        if line.seat.id == "019" or (line.seat.id == "013" and tried.count("013") < 3):
            raise SeatError("the connection broke off", passing=True)
        if line.seat.id == "017":
            raise SeatError("another host key")
        yield line.seat

    monkeypatch.setattr(fleet, "connect", connect)
    monkeypatch.setattr(fleet, "RETRY_SECONDS", (0.01, 0.01, 0.01))
    return tried


def _seats(count: int, port: int) -> list[HandOverSeat]:
    return [seat(port, id_=f"{n:03}") for n in range(1, count + 1)]


def _work(remote: Any) -> tuple[fleet.Outcome, dict[str, Any]]:
    if remote.id == "020":
        raise RuntimeError("a fault of ours")
    return "changed", {"id": remote.id}


def test_every_seat_ends_in_one_way(tried: list[str], port: int) -> None:
    seats = _seats(200, port)
    seen: list[str] = []
    results = fleet.over(seats, ORGANISER, _work, connect_seconds=5, done=lambda result: seen.append(result.seat.id))
    assert [result.seat for result in results] == seats
    assert sorted(seen) == [each.id for each in seats]
    bad = {result.seat.id: result.reason for result in results if result.outcome != "changed"}
    assert bad == {
        "017": "another host key",
        "019": "the connection broke off",
        "020": "unexpected RuntimeError: a fault of ours",
    }
    assert [tried.count(id_) for id_ in ("001", "013", "017", "019")] == [1, 3, 1, 4]


def test_more_seats_than_workers_and_half_of_them_dead(tried: list[str], port: int) -> None:
    """All the living are done before the first of the dead is given up."""
    order: list[str] = []
    with deaf_port() as dead:
        seats = [seat(dead if n % 2 else port, id_=f"{n:03}") for n in range(100, 300)]
        results = fleet.over(
            seats, ORGANISER, _work, connect_seconds=6, done=lambda result: order.append(result.outcome)
        )
    assert order == ["changed"] * 100 + ["failed"] * 100
    assert {result.outcome for result in results[::2]} == {"changed"}


def test_at_most_so_many_at_once(tried: list[str], port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MOST_AT_ONCE", 5)
    working, most, lock = [0], [0], threading.Lock()

    def work(_: Any) -> tuple[fleet.Outcome, dict[str, Any]]:
        with lock:
            working[0] += 1
            most[0] = max(most[0], working[0])
        threading.Event().wait(0.02)
        with lock:
            working[0] -= 1
        return "unchanged", {}

    results = fleet.over(_seats(12, port), ORGANISER, work, connect_seconds=5)
    assert [result.outcome for result in results] == ["unchanged"] * 12
    assert most[0] == 5


def test_a_line_that_waited_too_long_is_made_anew(tried: list[str], port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """sshd would have closed it; that is nobody's failure and costs none of the tries."""
    monkeypatch.setattr(fleet, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(fleet, "STALE_SECONDS", 0.3)
    ages: list[float] = []
    known = getattr(fleet, "connect")  # noqa: B009 (the fixture's)

    @contextmanager
    def connect(line: Line, key: Any, deadline: float) -> Iterator[Any]:
        ages.append(time.monotonic() - line.greeted)
        with known(line, key, deadline) as remote:
            yield remote

    def work(_: Any) -> tuple[fleet.Outcome, dict[str, Any]]:
        time.sleep(0.2)
        return "unchanged", {}

    monkeypatch.setattr(fleet, "connect", connect)
    results = fleet.over(_seats(8, port), ORGANISER, work, connect_seconds=5)
    assert [result.outcome for result in results] == ["unchanged"] * 8
    assert len(ages) == 8
    assert max(ages) < 1


def test_ctrl_c_names_who_was_not_finished(tried: list[str], port: int) -> None:
    def interrupt(_: fleet.SeatResult) -> None:
        raise KeyboardInterrupt

    results = fleet.over(_seats(100, port), ORGANISER, _work, connect_seconds=5, done=interrupt)
    outcomes = [result.outcome for result in results]
    assert outcomes.count("interrupted") == 99
    assert tried


def test_nobody_at_all() -> None:
    assert fleet.over([], ORGANISER, _work, connect_seconds=1) == []


def test_a_machine_without_an_address_is_not_dialled() -> None:
    results = fleet.over([seat(host="")], ORGANISER, _work, connect_seconds=1)
    assert results[0].reason.startswith("its machine has no address: it was not made, or is stopped.")


def test_refused_until_the_deadline() -> None:
    results = fleet.over([seat(closed_port())], ORGANISER, _work, connect_seconds=1)
    assert results[0].outcome == "failed"
    assert 0.9 < results[0].seconds < 2
