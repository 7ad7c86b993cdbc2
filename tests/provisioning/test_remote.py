"""A machine that is not well is told by one sentence, and never waited for without end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from provisioning import remote
from stacks.credentials import new_key
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

HOST_KEY = " ".join(new_key("host")[1].split()[:2])
ORGANISER = remote.read_key(new_key("organiser")[0])


def _seat(*ports: int) -> HandOverSeat:
    return HandOverSeat(
        id="ada",
        name="Ada",
        machine="ada",
        host="127.0.0.1",
        ssh_ports=ports,
        user="ada",
        notebook_port=8888,
        local_port=8888,
        host_key=HOST_KEY,
    )


@contextmanager
def _server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that gives every caller to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    answer(caller)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _fault(*ports: int) -> SeatError:
    with pytest.raises(SeatError) as caught, remote.connect(_seat(*ports), ORGANISER):
        pass
    return caught.value


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 1.0)


def test_refused_may_heal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = _fault(port)
    assert str(error) == f"127.0.0.1 port {port} can't be reached (Connection refused)"
    assert error.passing


def test_a_machine_that_accepts_and_says_nothing() -> None:
    done = threading.Event()
    with _server(lambda _: (done.wait(10), None)[1]) as port:
        began = time.monotonic()
        error = _fault(port)
        assert time.monotonic() - began < 4
        done.set()
    assert str(error).startswith(f"127.0.0.1 port {port} answers, but not as SSH")
    assert error.passing


def test_a_machine_that_speaks_http() -> None:
    with _server(lambda caller: caller.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" * 200)) as port:
        assert "answers, but not as SSH" in str(_fault(port))


def test_an_unknown_name_is_not_tried_again() -> None:
    seat = replace(_seat(22), host="no-such-host.invalid")
    with pytest.raises(SeatError, match=r"the name .* is not known") as caught, remote.connect(seat, ORGANISER):
        pass
    assert not caught.value.passing


def test_the_first_port_s_fault_is_told_when_none_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    assert f"port {ports[0]}" in str(_fault(*ports))
