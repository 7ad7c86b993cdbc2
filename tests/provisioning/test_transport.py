"""Login, session and shell go out together: what that saves on a long way, and that it falls back where it must."""

from __future__ import annotations

import time
from collections.abc import Iterator

import paramiko
import pytest

from provisioning import transport
from provisioning.dial import Dialler, Line
from provisioning.remote import connect, read_key
from stacks.outputs import HandOverSeat
from tests.conftest import Project, _project
from tests.provisioning.machines import Proxy

LATE_SECONDS = 0.2  # each way
ROUND_TRIP_SECONDS = 2 * LATE_SECONDS


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A rehearsal of one seat, without Jupyter."""
    for project in _project(tmp_path_factory.mktemp("machine"), "in-process"):
        project.roster("ada,Ada Lovelace")
        done = project.up()
        assert done.returncode == 0, done.stderr
        yield project


def seat_at(machine: Project, port: int) -> tuple[HandOverSeat, paramiko.PKey]:
    outputs = machine.outputs()
    (found,) = outputs["handover"]["seats"]
    return HandOverSeat.from_dict({**found, "ssh_ports": [port]}), read_key(outputs["secrets"]["organiser_key"])


def seconds_for(machine: Project, port: int, *commands: str) -> tuple[float, list[tuple[int, bytes]]]:
    """How long it takes from the call until the commands are done, one after the other, over a long way."""
    with Proxy(port, late_seconds=LATE_SECONDS) as proxy:
        seat, key = seat_at(machine, proxy.port)
        began = time.monotonic()
        with Dialler(10) as dialler:
            dialler.add(seat)
            line = None
            while line is None:
                for _, how in dialler.step():
                    assert isinstance(how, Line), how
                    line = how
        with connect(line, key, began + 60) as remote:
            answers = [remote.run(command, seconds=20) for command in commands]
            return time.monotonic() - began, answers


def test_what_one_flight_saves(machine: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    port = machine.outputs()["handover"]["seats"][0]["ssh_ports"][0]

    def quickest() -> float:
        """Of three: the computer may be busy with other tests."""
        runs = [seconds_for(machine, port, "echo $((6 * 7))") for _ in range(3)]
        assert all(answers == [(0, b"42\n")] for _, answers in runs)
        return min(seconds for seconds, _ in runs)

    together = quickest()
    monkeypatch.setattr(transport, "_EAGER", ())  # any other server
    one_by_one = quickest()
    # Service, session and command wait for nothing: three round trips less.
    assert one_by_one - together > 2.4 * ROUND_TRIP_SECONDS, (together, one_by_one)


def test_a_second_shell_on_the_same_connection(machine: Project) -> None:
    port = machine.outputs()["handover"]["seats"][0]["ssh_ports"][0]
    _, answers = seconds_for(machine, port, "exit 3", "pwd")
    assert answers == [(3, b""), (0, f"{machine.machine('ada')}/home\n".encode())]


def test_paramiko_is_the_version_that_this_was_tried_with() -> None:
    """It stands on methods that Paramiko calls internal: look at transport.py before another version is pinned."""
    assert paramiko.__version__ == "5.1.0"
