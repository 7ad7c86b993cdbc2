"""Logging in: what a machine shows or refuses is told by one sentence, and says whether waiting may heal it."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest

from provisioning import remote
from provisioning.dial import Line
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat
from tests.provisioning.machines import ORGANISER, seat, server


def fault(where: HandOverSeat) -> SeatError:
    sock = socket.create_connection((where.host, where.ssh_ports[0]))
    line = Line(where, where.ssh_ports[0], sock)
    with pytest.raises(SeatError) as caught, remote.connect(line, ORGANISER, time.monotonic() + 60):
        pass
    assert sock.fileno() == -1, "the line is closed"
    return caught.value


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LOGIN_SECONDS", 1.0)


def test_a_server_that_greets_and_hangs_up() -> None:
    with server(lambda caller: caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        error = fault(seat(port))
    assert str(error).startswith(f"127.0.0.1 port {port} began as SSH and broke off")
    assert error.passing


def test_a_server_that_greets_and_says_nothing_more() -> None:
    def greet(caller: socket.socket) -> None:
        caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        while caller.recv(4096):
            pass

    with server(greet) as port:
        began = time.monotonic()
        error = fault(seat(port))
        assert time.monotonic() - began < 8
    assert "began as SSH and broke off" in str(error)
    assert error.passing


@pytest.mark.parametrize("host_key", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "nonsense"])
def test_a_host_key_that_can_not_be_read(host_key: str) -> None:
    with server(lambda caller: caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        error = fault(replace(seat(port), host_key=host_key))
    assert str(error) == "the hand-over's host key can't be read; run `pulumi up` again"
    assert not error.passing
