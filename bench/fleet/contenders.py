"""The job of a fleet, done by this project and by what people would pick instead, each in its own fast way.

Every one makes the work folder, writes the config with mode 0600, starts the stub in place of Jupyter, waits until it
listens and reports; done again, it changes nothing. Ours proves a login through the tunnel beside.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from bench.fleet import machines
from bench.fleet.machines import Machines
from stacks.folders import PROJECT_ROOT, SEMINAR_FOLDER

_HERE = Path(__file__).parent
_PEERS = _HERE / "peers"
VENV = SEMINAR_FOLDER / "bench-peers"  # ansible, pyinfra and asyncssh, in an environment of their own
OURS = "fab start-notebook"
RAW, RAW_DEFAULT = "ssh, curve25519 only", "ssh, as it comes"
ANSIBLE, MITOGEN, PYINFRA = "ansible", "ansible with mitogen", "pyinfra"
STEPS, SCRIPT, ASYNCSSH = "ThreadingGroup, in steps", "ThreadingGroup, one script", "asyncssh, gather"
MOST_AT_ONCE = 64  # as many as this project's own

NAMES = (RAW, OURS, RAW_DEFAULT, SCRIPT, STEPS, ASYNCSSH, PYINFRA, MITOGEN, ANSIBLE)


def install_peers() -> None:
    """Make the environment of the peers, unless it is there."""
    pins = (_PEERS / "requirements.txt").read_text()
    mark = VENV / "installed"
    if mark.exists() and mark.read_text() == pins:
        return
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(_PEERS / "requirements.txt")]
    subprocess.run(pip, check=True)
    mark.write_text(pins)


def contenders(room: Machines, folder: Path) -> dict[str, list[str]]:
    """Each contender's command by name. Writes what they need to `folder`."""
    forks = min(len(room.addresses), MOST_AT_ONCE)
    values = {"jupyter": str(machines.STUB), "text": _config_text(), "port": str(machines.NOTEBOOK_PORT)}
    job = (_HERE / "job.sh").read_text()
    script = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items()) + job + "\nmain </dev/null\n"
    (folder / "script.sh").write_text(script)
    (folder / "hosts").write_text("".join(f"{address}\n" for address in room.addresses))
    told = {
        "hosts": room.addresses,
        "user": machines.USER,
        "key": str(room.key_file),
        "known_hosts": str(room.known_hosts_file),
        "script": script,
        "command": f"sh -c {shlex.quote(script)}",
        **values,
    }
    (folder / "told.json").write_text(json.dumps(told))
    common = f"""\
Host *
  User {machines.USER}
  IdentityFile {room.key_file}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {room.known_hosts_file}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
"""
    (folder / "ssh_config").write_text(common)
    (folder / "ssh_config_curve25519").write_text(common + "  KexAlgorithms curve25519-sha256\n")
    _write_ansible(folder, room, values)
    _write_pyinfra(folder, room, values)
    ansible = [str(VENV / "bin" / "ansible-playbook"), "-i", "inventory.ini", "-f", str(forks), "playbook.yml"]

    def ssh(config: str) -> list[str]:
        each = f"ssh -F {folder}/{config} {{}} sh <{folder}/script.sh"
        return ["xargs", "-a", "hosts", "-P", str(forks), "-I{}", "sh", "-c", each]

    python, fab = str(VENV / "bin" / "python"), str(Path(sys.prefix) / "bin" / "fab")
    group = [sys.executable, str(_PEERS / "threading_group.py")]
    return {
        RAW: ssh("ssh_config_curve25519"),
        OURS: [fab, "-r", str(PROJECT_ROOT), "start-notebook", "--stack", machines.STACK],
        RAW_DEFAULT: ssh("ssh_config"),
        SCRIPT: [*group, "script", "told.json"],
        STEPS: [*group, "steps", "told.json"],
        ASYNCSSH: [python, str(_PEERS / "asyncssh_gather.py"), "told.json"],
        PYINFRA: [str(VENV / "bin" / "pyinfra"), "-y", "--parallel", str(forks), "inventory.py", "deploy.py"],
        MITOGEN: ["env", "ANSIBLE_STRATEGY=mitogen_linear", *ansible],
        ANSIBLE: ["env", *ansible],
    }


def _config_text() -> str:
    own = {"hashed_password": machines.PASSWORD_HASH, "password_required": True}
    return json.dumps({"PasswordIdentityProvider": own})


def _write_ansible(folder: Path, room: Machines, values: dict[str, str]) -> None:
    (mitogen,) = VENV.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy")
    config = (_PEERS / "ansible.cfg").read_text()
    config = config.replace("[defaults]\n", f"[defaults]\nstrategy_plugins = {mitogen}\nlocal_tmp = {folder}/ansible\n")
    (folder / "ansible.cfg").write_text(config + f"ssh_args = -F {folder}/ssh_config_curve25519\n")
    (folder / "playbook.yml").write_text((_PEERS / "playbook.yml").read_text())
    shared = "".join(f"{key}={json.dumps(value)}\n" for key, value in values.items())
    lines = [*room.addresses, "[all:vars]", f"job={_HERE / 'job.sh'}", shared]
    (folder / "inventory.ini").write_text("\n".join(lines))


def _write_pyinfra(folder: Path, room: Machines, values: dict[str, str]) -> None:
    data = {
        **values,
        "job": str(_HERE / "job.sh"),
        "ssh_user": machines.USER,
        "ssh_key": str(room.key_file),
        "ssh_known_hosts_file": str(room.known_hosts_file),
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
    }
    (folder / "inventory.py").write_text(f"hosts = ({room.addresses!r}, {data!r})\n")
    (folder / "deploy.py").write_text((_PEERS / "deploy.py").read_text())
