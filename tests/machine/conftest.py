"""One machine that is really booted, with a class on it; shared by the tests of a file, in their order."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stacks.access import SSH_PORTS
from tests.machine import image, seminar, vm

CLOUDS = {"service": "aws", "socket": "azure"}  # whose user data each machine is given
LONG_SECONDS = 600.0  # for what takes seconds, where it is emulated on a busy computer
_SSH_SECONDS = 300.0


@dataclass
class Booted:
    """The machine, the organiser's side of it, and what was seen while it booted."""

    name: str
    machine: vm.Machine
    room: seminar.Classroom
    folder: Path
    host_keys: set[str] = field(default_factory=set)

    def ssh(
        self, user: str, command: str, *, key: str = "organiser", port: int = 22
    ) -> subprocess.CompletedProcess[str]:
        """Log in with that key, the organiser's or the participant's, and run a command; as strict as the packs."""
        words = self.words(key, port)
        return subprocess.run(
            [*words, f"{user}@127.0.0.1", command], capture_output=True, text=True, timeout=_SSH_SECONDS, check=False
        )

    def words(self, key: str, port: int, *options: str) -> list[str]:
        """The ssh command up to whom."""
        own = self.machine.ports[port]
        known = self.folder / "known_hosts"
        known.write_text(
            "".join(f"[127.0.0.1]:{each} {self.room.seat['host_key']}\n" for each in self.machine.ports.values())
        )
        told = [
            "BatchMode=yes",
            "ConnectTimeout=60",  # a machine that goes down may say nothing more
            "ServerAliveInterval=20",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={known}",
            *options,
        ]
        return ["ssh", "-F", "none", "-i", str(self.folder / key), "-p", str(own), *(f"-o{each}" for each in told)]

    def participant(self, command: str) -> str:
        """What a command prints that the participant runs; it must end well."""
        return self._well("participant", command, "participant")

    def root(self, command: str) -> str:
        """What a command prints that the administrator runs with sudo; it must end well."""
        return self._well("debian", f"sudo sh -c {shlex.quote(command)}", "organiser")

    def becomes(self, command: str, wanted: str) -> str:
        """Run a command of the participant's until it prints what is wanted; returns what it printed last."""
        deadline = time.monotonic() + LONG_SECONDS
        seen = ""
        while time.monotonic() < deadline:
            seen = self.ssh("participant", command).stdout.strip()
            if seen == wanted:
                break
            time.sleep(0.5)
        return seen

    def runs_by_itself(self) -> None:
        """Wait until the notebook is well, without ever starting it."""
        deadline = time.monotonic() + LONG_SECONDS
        while (seen := self.room.fab("status", "--wait", "300")).get("state") != "running":
            assert time.monotonic() < deadline, seen
        assert seen["password"] == "yes"

    @contextmanager
    def tunnel(self) -> Iterator[str]:
        """The participant's way to the notebook; yields its address."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        words = [
            *self.words("participant", 22, "ExitOnForwardFailure=yes"),
            "-N",
            "-L",
            f"127.0.0.1:{port}:127.0.0.1:8888",
        ]
        ssh = subprocess.Popen([*words, "participant@127.0.0.1"], stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + _SSH_SECONDS
            while ssh.poll() is None and time.monotonic() < deadline:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                    break
                time.sleep(0.1)
            yield f"http://localhost:{port}"
        finally:
            ssh.terminate()
            ssh.wait()

    def _well(self, user: str, command: str, key: str) -> str:
        done = self.ssh(user, command, key=key)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def booted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A machine on its first boot, as soon as SSH answers."""
    if why := image.missing():
        pytest.skip(why)
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    disk = image.image(name)
    accel = vm.accelerator(disk, folder)
    declared = seminar.declare(CLOUDS[name], folder)
    with vm.Machine(disk, accel, folder, declared.user_data) as machine:
        (machine.metadata / "ends").write_text(seminar.ENDS)
        began = time.monotonic()
        room = seminar.Classroom(folder, declared, [machine.ports[port] for port in SSH_PORTS])
        keys = {"organiser": room.organiser_key, "participant": room.secrets["private_key"]}
        for each, text in keys.items():
            (folder / each).write_text(text)
            (folder / each).chmod(0o600)
        machine.await_ssh(22)
        found = Booted(name, machine, room, folder, {_host_key(machine.ports[22])})
        print(f"\n{name}: image made in {disk.made_seconds:.0f} s, {accel}, SSH after {time.monotonic() - began:.0f} s")
        yield found
        print(f"\n{name}: the end of its console\n{machine.said()}")


def _host_key(port: int) -> str:
    """The key, or keys, that sshd shows at the first time that it shows any: it may just be starting anew."""
    words = ("ssh-keyscan", "-T", "60", "-p", str(port), "127.0.0.1")
    deadline = time.monotonic() + LONG_SECONDS
    said = ""
    while not said and time.monotonic() < deadline:
        said = subprocess.run(words, capture_output=True, text=True, timeout=_SSH_SECONDS, check=False).stdout
    return "\n".join(line.partition(" ")[2] for line in said.splitlines() if not line.startswith("#"))
