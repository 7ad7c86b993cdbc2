"""Machines for the measurements: for each seat a real sshd in a network namespace of its own, and a wire to them.

Everything is in namespaces (network, mounts, processes) that `words` makes for the whole measurement, so that nothing
of it is seen outside and the kernel removes it all when the measurement ends, however it does. Needs root.

    this process -- direct or delayed wire -- switch -- machine 01 (10.77.0.1), machine 02, ...
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from rehearsal import sshd
from stacks.credentials import new_key
from stacks.errors import EngineError, RequestError
from stacks.folders import PROJECT_ROOT, make_private, stack_folder, state_file, write_private
from stacks.outputs import HandOver, HandOverSeat, SeatSecrets, Secrets
from stacks.values import Secret

STACK = "bench-fleet"  # a stack that only the bench makes and removes
USER, _UID = "participant", 61184  # on the machines alone; the number is systemd's first dynamic one, so nobody's
HOME = Path("/srv") / USER
NOTEBOOK_PORT = 8888
STUB = Path(__file__).parent / "stub" / "jupyter"
PASSWORD, PASSWORD_HASH = "stub-stub-stub", "argon2:stub"
ROUND_TRIP_MS = 100
_TOOLS = ("ip", "unshare", "nsenter", "mount", "perl")
_SECONDS = 30.0

_SSHD_CONFIG = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {keys}
PidFile none
AuthenticationMethods publickey
UsePAM no
StrictModes no
MaxStartups 200
PrintMotd no
SetEnv PATH=/usr/bin:/bin SEMINAR_JUPYTER={stub}
Subsystem sftp internal-sftp
"""


def words(*command: str) -> list[str]:
    """The command in namespaces of its own. Raises RequestError where they can't be made here."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if os.getuid() != 0 or missing or sys.platform != "linux" or sshd.find() is None:
        raise RequestError(
            "Machines in network namespaces need Linux, root, sshd and the commands "
            f"{', '.join(_TOOLS)}{f' (not here: {chr(44).join(missing)})' if missing else ''}."
        )
    return ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *command]


class Machines:
    """So many machines, up; to be made once, in the namespaces of `words`."""

    def __init__(self, folder: Path, count: int) -> None:
        """Raises EngineError where one does not come up."""
        # In memory: on ext4, who makes files soon after others were deleted waits for places to become free.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder)], check=True)
        self._folder = folder
        self.addresses = [f"10.77.{n // 250}.{n % 250 + 1}" for n in range(count)]
        self._others: list[subprocess.Popen[str]] = []
        self._key, public_key = new_key("organiser")
        self.key_file, self.known_hosts_file = folder / "key", folder / "known_hosts"
        write_private(self.key_file, self._key)
        (folder / "authorized_keys").write_text(public_key + "\n")
        self._add_user()
        self._switch = self._in_namespace("exec sleep infinity", [])
        self._lay_wires()
        host_keys = [self._machine(n) for n in range(count)]
        lines = [f"{address} {key}\n" for address, key in zip(self.addresses, host_keys, strict=True)]
        self.known_hosts_file.write_text("".join(lines))
        self._hand_over(host_keys)
        self.delayed(False)
        self._await_all()

    def delayed(self, yes: bool) -> None:
        """From now on, packets take the delayed wire, or the direct one."""
        here, there = ("dev near", "dev far") if yes else ("via 10.75.0.2", "via 10.75.0.1")
        _ip(f"route replace 10.77.0.0/16 {here} src 10.76.0.1")
        _ip(f"route replace 10.76.0.1 {there}", inside=self._switch)

    def dead(self, machines: Sequence[int]) -> None:
        """From now on, these machines drop every packet, and only these."""
        _ip("route flush type blackhole", inside=self._switch)
        _ip(*(f"route add blackhole {self.addresses[n]}/32" for n in machines), inside=self._switch)

    def reset(self) -> None:
        """End what runs for the machines' user and empty their homes."""
        victims = [p for p in psutil.process_iter(["uids"]) if p.info["uids"] and p.info["uids"].real == _UID]
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(victims, timeout=_SECONDS)
        for n in range(len(self.addresses)):
            for path in self._home(n).iterdir():  # the folder itself is mounted in its machine
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def close(self) -> None:
        """End the machines' processes; what they were in goes with the namespaces."""
        for process in self._others:
            process.kill()
            process.wait()
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)
        shutil.rmtree(stack_folder(STACK), ignore_errors=True)

    def _home(self, n: int) -> Path:
        return self._folder / f"{n:03}" / "home"

    def _add_user(self) -> None:
        users = self._folder / "passwd"
        users.write_text(f"{Path('/etc/passwd').read_text()}{USER}:*:{_UID}:{_UID}::{HOME}:/bin/sh\n")
        users.chmod(0o644)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for command in (f"mount --bind {users} /etc/passwd", f"mount -t tmpfs tmpfs {HOME.parent}", f"mkdir {HOME}"):
            subprocess.run(command.split(), check=True)

    def _in_namespace(self, script: str, arguments: list[str], *more: str) -> int:
        """Run the script in a network namespace of its own, once told to; returns its process number."""
        process = subprocess.Popen(
            ["unshare", "--net", *more, "sh", "-c", f"echo; read -r _; {script}", "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        self._others.append(process)
        return process.pid

    def _go(self, pid: int) -> None:
        process = next(each for each in self._others if each.pid == pid)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    def _lay_wires(self) -> None:
        wire = subprocess.Popen(
            [sys.executable, "-m", "bench.fleet.wire", "near", "far", str(ROUND_TRIP_MS / 2)],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert wire.stdout is not None
        if wire.stdout.readline() != "ready\n":
            raise EngineError("The delayed wire was not laid; /dev/net/tun is needed.")
        self._others.append(wire)
        _ip(
            "link set lo up",
            "addr add 10.76.0.1/32 dev lo",
            f"link add direct type veth peer name direct netns {self._switch}",
            "addr add 10.75.0.1/30 dev direct",
            "link set direct up",
            f"link set far netns {self._switch}",
            "link set near up",
        )
        _ip(
            "link set lo up",
            "addr add 10.75.0.2/30 dev direct",
            "link set direct up",
            "link set far up",
            "link add seats type bridge",
            "addr add 10.77.255.254/16 dev seats",
            "link set seats up",
            inside=self._switch,
        )
        _in(self._switch, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self._go(self._switch)

    def _machine(self, n: int) -> str:
        """Make one machine; returns its public host key."""
        home = self._home(n)
        folder = home.parent
        home.mkdir(parents=True)
        os.chown(home, _UID, _UID)
        private, public = new_key("host")
        write_private(folder / "host_key", private)
        config = _SSHD_CONFIG.format(folder=folder, keys=self._folder / "authorized_keys", stub=STUB)
        (folder / "sshd_config").write_text(config)
        script = 'mount --bind "$1" "$2" && exec "$3" -D -f "$4" -E "$5"'
        files = [str(home), str(HOME), str(sshd.find()), str(folder / "sshd_config"), str(folder / "log")]
        pid = self._in_namespace(script, files, "--mount")
        _ip(f"link add machine{n} master seats type veth peer name eth0 netns {pid}", inside=self._switch)
        _ip(f"link set machine{n} up", inside=self._switch)
        _ip(
            "link set lo up",
            "link set eth0 up",
            f"addr add {self.addresses[n]}/16 dev eth0",
            "route add default via 10.77.255.254",
            inside=pid,
        )
        self._go(pid)
        return " ".join(public.split()[:2])

    def _await_all(self) -> None:
        deadline = time.monotonic() + _SECONDS
        for address in self.addresses:
            while not sshd.greets(22, address):
                if time.monotonic() > deadline:
                    raise EngineError(f"The machine at {address} does not answer.")
                time.sleep(0.05)

    def _hand_over(self, host_keys: list[str]) -> None:
        """Write the state of a seminar of these machines, so that `fab --stack bench-fleet` knows it."""
        seats = tuple(
            HandOverSeat(
                id=f"{n + 1:03}",
                name=f"Participant {n + 1:03}",
                machine=f"{n + 1:03}",
                host=address,
                ssh_ports=(22,),
                user=USER,
                notebook_port=NOTEBOOK_PORT,
                local_port=NOTEBOOK_PORT,
                host_key=host_keys[n],
            )
            for n, address in enumerate(self.addresses)
        )
        own = SeatSecrets(password=Secret(PASSWORD), password_hash=Secret(PASSWORD_HASH), private_key=Secret(self._key))
        secrets = Secrets(organiser_key=Secret(self._key), seats={seat.id: own for seat in seats})
        handover = HandOver(seminar=STACK, workdir="learnml", interface="notebook", seats=seats)
        outputs: dict[str, Any] = {"handover": handover.to_dict(), "secrets": secrets.to_dict()}
        make_private(stack_folder(STACK))
        write_private(state_file(STACK), json.dumps({"outputs": outputs}))


def _in(pid: int, *command: str, told: str = "") -> None:
    subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *command], input=told, text=True, check=True)


def _ip(*lines: str, inside: int | None = None) -> None:
    """Run `ip` with each line, in this network namespace or in that of a process."""
    told = "".join(f"{line}\n" for line in lines)
    _in(inside or os.getpid(), "ip", "-batch", "-", told=told)
