"""Machines are reached side by side; one that is not there is told by a sentence, and waited for until the deadline."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from provisioning import dial
from provisioning.dial import Dialler, Line
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat
from tests.provisioning.machines import closed_port, deaf_port, seat, server

SECONDS = 1.5
BUSY_SECONDS = 2  # what a computer that runs other tests beside may add


def greet(caller: socket.socket) -> None:
    caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    caller.recv(1000)


def boot(port: int, after_seconds: float) -> None:
    time.sleep(after_seconds)
    with socket.create_server(("127.0.0.1", port)) as listener:
        caller, _ = listener.accept()
        with caller:
            greet(caller)


def dialled(*seats: HandOverSeat, seconds: float = SECONDS) -> dict[str, Line | SeatError]:
    """How each ended, by id; open lines are closed."""
    ended: dict[str, Line | SeatError] = {}
    with Dialler(seconds) as dialler:
        for each in seats:
            dialler.add(each)
        while len(ended) < len(seats):
            for which, how in dialler.step():
                assert which.id not in ended
                ended[which.id] = how
                if isinstance(how, Line):
                    how.sock.close()
    return ended


def fault(*ports: int, seconds: float = SECONDS) -> SeatError:
    began = time.monotonic()
    how = dialled(seat(*ports), seconds=seconds)["ada"]
    assert isinstance(how, SeatError)
    assert -0.1 < time.monotonic() - began - seconds < BUSY_SECONDS, "the deadline is kept, and used"
    assert how.passing
    return how


def test_refused_may_heal_and_is_tried_until_the_deadline() -> None:
    port = closed_port()
    told = f"127.0.0.1 port {port} can't be reached (Connection refused); tried for 2 seconds"
    assert str(fault(port)) == told


def test_a_machine_that_boots_meanwhile() -> None:
    port = closed_port()
    threading.Thread(target=boot, args=(port, 1.0), daemon=True).start()
    how = dialled(seat(port), seconds=10)["ada"]
    assert isinstance(how, Line)
    assert how.port == port


def test_a_machine_that_drops_every_packet() -> None:
    with deaf_port() as port:
        assert str(fault(port)) == f"127.0.0.1 port {port} does not answer; tried for 2 seconds"


def test_a_machine_that_accepts_and_says_nothing() -> None:
    done = threading.Event()
    with server(lambda _: (done.wait(10), None)[1]) as port:
        assert "accepts the connection and says nothing; tried for 2 seconds" in str(fault(port))
        done.set()


def test_a_machine_that_hangs_up_at_once_is_called_again() -> None:
    calls: list[socket.socket] = []
    with server(calls.append) as port:
        assert "accepts the connection and ends it at once" in str(fault(port))
    assert len(calls) >= 2


def test_a_machine_that_speaks_http() -> None:
    with server(lambda caller: caller.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")) as port:
        assert "answers, but not as SSH ('HTTP/1.0 400 Bad Request')" in str(fault(port))


def test_a_machine_that_speaks_no_ssh_and_stays() -> None:
    done = threading.Event()

    def mail(caller: socket.socket) -> None:
        caller.sendall(b"220 mail\r\n")
        done.wait(10)

    with server(mail) as port:
        assert "answers, but not as SSH ('220 mail')" in str(fault(port))
        done.set()


def test_a_flood_before_the_greeting() -> None:
    with server(lambda caller: caller.sendall(bytes(100_000))) as port:
        assert "answers, but not as SSH" in str(fault(port))


def test_a_port_is_tried_again_whatever_the_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that drops 22 and a machine that boots: its second port is refused at first."""
    monkeypatch.setattr(dial, "_NEXT_PORT_SECONDS", 0.1)
    port = closed_port()
    with deaf_port() as blocked:
        threading.Thread(target=boot, args=(port, 1.0), daemon=True).start()
        how = dialled(seat(blocked, port), seconds=10)["ada"]
    assert isinstance(how, Line)
    assert how.port == port


def test_a_connection_that_stays_silent_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that reboots leaves one behind; those that come later are greeted."""
    monkeypatch.setattr(dial, "_TRY_SECONDS", 0.5)
    calls: list[socket.socket] = []

    def silent_at_first(caller: socket.socket) -> None:
        calls.append(caller)
        if len(calls) == 1:
            time.sleep(1)
        else:
            greet(caller)

    with server(silent_at_first) as port:
        assert isinstance(dialled(seat(port), seconds=10)["ada"], Line)
    assert len(calls) >= 2


def test_a_greeting_that_comes_in_pieces() -> None:
    def stutter(caller: socket.socket) -> None:
        for piece in (b"Hello.\nSS", b"H", b"-2.0-OpenSSH_9.2\r\n"):
            caller.sendall(piece)
            time.sleep(0.1)
        caller.recv(1000)

    with server(stutter) as port:
        assert isinstance(dialled(seat(port))["ada"], Line)


def test_lines_before_the_greeting_are_allowed() -> None:
    def welcome(caller: socket.socket) -> None:
        caller.sendall(b"Welcome.\r\nIt is SSH-")
        time.sleep(0.2)
        caller.sendall(b" time.\r\n")
        greet(caller)

    with server(welcome) as port:
        assert isinstance(dialled(seat(port))["ada"], Line)


def test_the_second_port_where_the_first_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "_NEXT_PORT_SECONDS", 0.2)
    with deaf_port() as blocked, server(greet) as open_:
        began = time.monotonic()
        how = dialled(seat(blocked, open_))["ada"]
        assert isinstance(how, Line)
        assert how.port == open_
        assert time.monotonic() - began < SECONDS


def test_the_first_port_where_both_answer() -> None:
    with server(greet) as one, server(greet) as two:
        how = dialled(seat(one, two))["ada"]
        assert isinstance(how, Line)
        assert how.port == one


def test_what_each_port_did_is_told() -> None:
    with deaf_port() as one:
        two = closed_port()
        told = str(fault(one, two))
    assert told == (
        f"127.0.0.1 port {one} does not answer, port {two} can't be reached (Connection refused); tried for 2 seconds"
    )


def test_an_unknown_name_is_not_tried_again() -> None:
    began = time.monotonic()
    how = dialled(seat(22, host="no-such-host.invalid"), seconds=30)["ada"]
    assert isinstance(how, SeatError)
    assert str(how).startswith("no-such-host.invalid has a name that is not known")
    assert not how.passing
    assert time.monotonic() - began < 20


def test_dead_machines_hold_up_nobody() -> None:
    with deaf_port() as dead, server(greet) as live:
        seats = [seat(dead if n % 3 else live, id_=str(n)) for n in range(60)]
        seconds: list[float] = []
        began = time.monotonic()
        with Dialler(3.0) as dialler:
            for each in seats:
                dialler.add(each)
            while len(dialler):
                for _, how in dialler.step():
                    if isinstance(how, Line):
                        seconds.append(time.monotonic() - began)
                        how.sock.close()
        assert len(seconds) == 20
        assert max(seconds) < 2.5, "long before the dead are given up"
        assert time.monotonic() - began < 3 + BUSY_SECONDS


def test_step_can_be_woken() -> None:
    with Dialler(30) as dialler:
        threading.Timer(0.1, dialler.wake).start()
        began = time.monotonic()
        assert list(dialler.step(20)) == []
        assert time.monotonic() - began < 15
