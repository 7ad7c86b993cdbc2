"""A rehearsal machine: an OpenSSH sshd on loopback, run by the ordinary user, with its own host key, port and home.

Everything that runs on a machine carries its folder in the environment variable MACHINE_VARIABLE, so that removing the
machine ends exactly its processes.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import psutil

from rehearsal import ports
from stacks import clients
from stacks.folders import make_private, stack_folder, write_private
from stacks.loopback import is_free
from stacks.outputs import HandOverSeat

MISSING = (
    "No OpenSSH server was found on this computer; the rehearsal's machines need one. "
    "Install the package openssh-server, for example with `sudo apt-get install openssh-server`."
)
MACHINE_VARIABLE = "SEMINAR_MACHINE"
HOST = "127.0.0.1"
_LOWEST_SSH_PORT = 22000
_START_SECONDS = 15.0
_END_SECONDS = 6.0  # Jupyter gives its kernels 5 seconds to end

# `sftp-server -d` starts in the machine's home; sshd's internal-sftp would start in the user's own.
_LOGIN = """\
#!/bin/sh
cd "$HOME" || exit 1
umask 022
case ${{SSH_ORIGINAL_COMMAND-}} in
  "") exec "${{SHELL:-/bin/sh}}" ;;
  internal-sftp*) exec {sftp_server} -d "$HOME" ;;
  *) exec /bin/sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""

_CONFIG = """\
# Written by the rehearsal; changes are lost.
Port {port}
ListenAddress {host}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/authorized_keys"
PidFile "{folder}/sshd.pid"
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
AllowTcpForwarding local
PermitOpen 127.0.0.1:* localhost:*
AllowAgentForwarding no
X11Forwarding no
PermitUserRC no
PrintMotd no
PrintLastLog no
MaxStartups 100
SetEnv HOME="{folder}/home" PATH="{path}" SEMINAR_MACHINE="{folder}" SEMINAR_JUPYTER="{jupyter}"
Subsystem sftp internal-sftp
ForceCommand exec {login}
"""


def find() -> str | None:
    """Where sshd is, or None. Its path must be absolute: it starts itself again for every connection."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
    found = shutil.which("sshd", path=places)
    return os.path.abspath(found) if found else None


def ensure(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Make the machine be as declared and run: files, ports, sshd. Does only what is missing; mends what is broken.

    Returns `addresses` (by seat id, what HandOverSeat adds to Seat) and `problem`, "" or a sentence.
    """
    folder = Path(machine["folder"])
    try:
        wanted = {"ssh": _LOWEST_SSH_PORT}
        for seat in machine["laptops"]:
            wanted[f"notebook {seat}"] = int(machine["notebook_port"])
            wanted[f"local {seat}"] = int(machine["local_port"])
        make_private(folder / "home")
        claimed = ports.claim(folder, wanted)
        changed = _write_machine(folder, machine, claimed["ssh"])
        addresses = {seat: _write_laptop(machine, seat, claimed) for seat in machine["laptops"]}
        if changed or not is_healthy(folder):
            _end(_listener(folder))
            problem = _start(folder, claimed["ssh"])
        else:
            problem = ""
    except (OSError, subprocess.SubprocessError) as error:
        return {"addresses": {}, "problem": f"Machine {machine['machine']} could not be made in {folder}: {error}."}
    return {"addresses": addresses, "problem": f"Machine {machine['machine']}: {problem}" if problem else ""}


def is_healthy(folder: str | os.PathLike[str]) -> bool:
    """Whether the machine's sshd runs."""
    return bool(_listener(Path(folder)))


def remove(machine: Mapping[str, Any]) -> None:
    """End every process of the machine and remove its folder and its participants' files."""
    folder = Path(machine["folder"])
    _end(processes(folder))
    shutil.rmtree(folder, ignore_errors=True)
    for laptop in machine["laptops"].values():
        shutil.rmtree(laptop["folder"], ignore_errors=True)


def remove_all(stack: str) -> None:
    """End and remove every machine found on disk, declared or not."""
    for folder in (stack_folder(stack) / "machines").glob("*"):
        _end(processes(folder))


def left(stack: str) -> list[int]:
    """The numbers of the processes that run yet on any machine of the stack, also where its folder is gone."""
    machines = os.path.join(stack_folder(stack), "machines", "")
    on_them = [
        process
        for process in psutil.process_iter()
        if (_quietly(lambda p=process: p.environ().get(MACHINE_VARIABLE)) or "").startswith(machines)
        or (_quietly(process.name, "").startswith("sshd") and machines in " ".join(_quietly(process.cmdline, [])))
    ]
    return [process.pid for process in _still_alive(on_them) if process.pid != os.getpid()]


def processes(folder: Path) -> list[psutil.Process]:
    """Everything that runs on the machine, sshd's own processes first."""
    found = {process.pid: process for process in _listener(folder)}
    for process in list(found.values()):
        found |= {child.pid: child for child in _quietly(lambda p=process: p.children(recursive=True), [])}
    ssh_port = ports.read(folder).get("ssh")
    for process in psutil.process_iter():
        if (
            process.pid in found
            or process.pid == os.getpid()
            or _quietly(lambda p=process: p.uids().real) != os.getuid()
        ):
            continue
        # sshd writes its title over its environment: a session whose listener died is known by its socket.
        if _quietly(lambda p=process: p.environ().get(MACHINE_VARIABLE)) == str(folder) or (
            ssh_port and _is_session(process) and ssh_port in _ports_of(process)
        ):
            found[process.pid] = process
    return list(found.values())


def _is_session(process: psutil.Process) -> bool:
    # The other machines' listeners are known by their titles; to ask each for its sockets would cost milliseconds.
    return _quietly(process.name, "").startswith("sshd") and "[listener]" not in " ".join(_quietly(process.cmdline, []))


def _ports_of(process: psutil.Process) -> set[int]:
    return {c.laddr.port for c in _quietly(lambda: process.net_connections("tcp"), []) if c.laddr}


def _quietly(look: Any, otherwise: Any = None) -> Any:
    """What `look` sees of a process, or `otherwise` if it is gone or not ours."""
    try:
        return look()
    except (psutil.Error, OSError):
        return otherwise


def _listener(folder: Path) -> list[psutil.Process]:
    try:
        process = psutil.Process(int((folder / "sshd.pid").read_text()))
    except (OSError, ValueError, psutil.Error):
        return []
    # A process number may have been given to another since; the listener's title holds its command line.
    title = " ".join(_quietly(process.cmdline, []))
    return [process] if str(folder / "sshd_config") in title else []


def _end(victims: list[psutil.Process]) -> None:
    for process in victims:
        _quietly(process.terminate)
    for process in _still_alive(victims):
        _quietly(process.kill)
    _still_alive(victims)


def _still_alive(victims: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run yet after a while. One that waits only for init to take note has ended."""
    deadline = time.monotonic() + _END_SECONDS
    while victims and time.monotonic() < deadline:
        victims = [process for process in victims if _quietly(process.status) not in (None, psutil.STATUS_ZOMBIE)]
        time.sleep(0.01 if victims else 0)
    return victims


def _write_machine(folder: Path, machine: Mapping[str, Any], ssh_port: int) -> bool:
    """Write the machine's files; returns whether sshd must start anew to see them."""
    bin_folder = Path(sys.prefix) / "bin"
    sftp_servers = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")
    sftp_server = next((path for path in sftp_servers if os.path.exists(path)), sftp_servers[0])
    config = _CONFIG.format(
        port=ssh_port,
        host=HOST,
        folder=folder,
        path=f"{bin_folder}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        jupyter=bin_folder / "jupyter",
        login=shlex.quote(str(folder / "login")),
    )
    keys = [machine["organiser_key"], *(laptop["public_key"] for laptop in machine["laptops"].values())]
    write_private(folder / "login", _LOGIN.format(sftp_server=sftp_server), mode=0o700)
    write_private(folder / "authorized_keys", "".join(f"{key}\n" for key in keys))
    return any(
        [
            write_private(folder / "host_key", machine["host_private_key"]),
            write_private(folder / "sshd_config", config),
        ]
    )


def _write_laptop(machine: Mapping[str, Any], seat: str, claimed: Mapping[str, int]) -> dict[str, Any]:
    """Write what the participant would have on the laptop; returns the seat's address."""
    laptop = machine["laptops"][seat]
    folder = make_private(Path(laptop["folder"]))
    address: dict[str, Any] = {
        "host": HOST,
        "ssh_ports": [claimed["ssh"]],
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "notebook_port": claimed[f"notebook {seat}"],
        "local_port": claimed[f"local {seat}"],
        "files": str(folder),
    }
    described = HandOverSeat(id=seat, name="", machine=machine["machine"], host_key=machine["host_key"], **address)
    write_private(folder / clients.KEY_FILE, laptop["private_key"])
    write_private(folder / clients.PUTTY_KEY_FILE, clients.putty_key(laptop["private_key"], f"seminar-{seat}"))
    write_private(folder / clients.KNOWN_HOSTS_FILE, clients.known_hosts(described))
    write_private(folder / clients.CONFIG_FILE, clients.ssh_config(described, PurePath(folder)))
    write_private(folder / clients.PASSWORD_FILE, laptop["password"] + "\n")
    return address


def _start(folder: Path, port: int) -> str:
    """Start sshd and wait until it answers. Returns "" or what went wrong."""
    binary = find()
    if binary is None:
        return MISSING
    if not is_free(port):
        return f"port {port} on this computer is held by another program; end that program and run this again."
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's sshd locks its unprivileged half in
    log = folder / "sshd.log"
    log.touch(mode=0o600)
    (folder / "sshd.pid").unlink(missing_ok=True)
    started = subprocess.run(
        [binary, "-f", str(folder / "sshd_config"), "-E", str(log)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_START_SECONDS,
        start_new_session=True,
        umask=0o077,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", MACHINE_VARIABLE: str(folder)},
    )
    deadline = time.monotonic() + _START_SECONDS
    pause = 0.004
    while started.returncode == 0 and time.monotonic() < deadline:
        if is_healthy(folder) and greets(port):
            return ""
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    last = (started.stderr.strip() or log.read_text(errors="replace").strip()).splitlines()[-1:]
    return f"sshd did not start ({last[0] if last else 'without a word'}); see {log}."


def greets(port: int, host: str = HOST) -> bool:
    """Whether an sshd answers there."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
