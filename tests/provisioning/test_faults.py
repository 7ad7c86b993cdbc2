"""What goes wrong on the morning of the class, each on real sshd and real Jupyter: one seat's trouble, and a sentence.

A dead listener, a swapped host key, a port that is held, a Jupyter that died or hangs, and a machine without one are in
test_notebook.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.provisioning.machines import Proxy, another_machine, deaf_port, reached_at, server

pytestmark = pytest.mark.xdist_group("faults")
AS_ROOT = pytest.mark.skipif(
    os.getuid() != 0 or sys.platform != "linux", reason="a file system of its own needs root, and Linux"
)


@pytest.fixture(scope="module")
def ssh_port(running: Project) -> int:
    """Where ada's machine really is."""
    return int(running.seats()["ada"]["ssh_ports"][0])


def failed(running: Project, *words: str, others: bool = True) -> str:
    """Run start-notebook; only ada's seat fails. Returns what is told."""
    done = running.fab("start-notebook", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if others:
        assert "2 of 3 seats are well." in done.stdout
    assert "ada: " in done.stdout
    assert "Again for the others: fab start-notebook --stack rehearsal --failed" in done.stdout
    return done.stdout


def test_a_machine_that_drops_every_packet(running: Project) -> None:
    with deaf_port() as port, reached_at(running, "ada", port):
        began = time.monotonic()
        told = failed(running, "--wait", "3")
        assert time.monotonic() - began < 12
    assert f"ada: 127.0.0.1 port {port} does not answer; tried for 3 seconds." in told


def test_a_machine_that_accepts_and_says_nothing(running: Project) -> None:
    done = threading.Event()
    with server(lambda _: (done.wait(20), None)[1]) as port, reached_at(running, "ada", port):
        told = failed(running, "--wait", "3")
        done.set()
    assert f"ada: 127.0.0.1 port {port} accepts the connection and says nothing; tried for 3 seconds." in told


def test_a_machine_whose_first_port_is_blocked_is_reached_on_the_second(running: Project, ssh_port: int) -> None:
    with deaf_port() as port, reached_at(running, "ada", port, ssh_port):
        seat = running.fab_json("start-notebook", "--only", "ada")["ada"]
    assert seat["outcome"] == "unchanged"
    assert seat["seconds"] < 8


def test_a_reset_in_the_middle_of_the_script_heals(running: Project, ssh_port: int) -> None:
    running.fab("stop-notebook", "--only", "ada")
    # The key exchange takes about 2,500 bytes, the script more than 10,000: it is cut in the middle.
    with Proxy(ssh_port, resets=1, after=6000) as proxy, reached_at(running, "ada", proxy.port):
        seat = running.fab_json("start-notebook", "--only", "ada")["ada"]
        assert proxy.connections == 2
    assert seat["outcome"] == "changed"


def test_a_connection_that_resets_every_time(running: Project, ssh_port: int) -> None:
    with Proxy(ssh_port, resets=99, after=6000) as proxy, reached_at(running, "ada", proxy.port):
        told = failed(running)
        assert proxy.connections == 4
    assert "ada: the connection broke off" in told


def test_a_key_that_is_refused_is_not_tried_again(running: Project, ssh_port: int) -> None:
    keys = running.machine("ada") / "authorized_keys"
    kept = keys.read_text()
    keys.write_text("".join(line for line in kept.splitlines(keepends=True) if "organiser" not in line))
    assert keys.read_text() != kept
    try:
        with Proxy(ssh_port) as proxy, reached_at(running, "ada", proxy.port):
            told = failed(running)
            assert proxy.connections == 1
            assert f"ada: 127.0.0.1 port {proxy.port} refuses the organiser's key for " in told
    finally:
        keys.write_text(kept)
    assert running.fab("status", "--only", "ada").returncode == 0


@contextmanager
def _mounted(running: Project, *words: str) -> Iterator[Path]:
    """Another file system where ada's home is, with what was there; her Jupyter is stopped."""
    running.fab("stop-notebook", "--only", "ada")
    home = running.machine("ada") / "home"
    kept = home.parent / "kept"
    shutil.copytree(home, kept, symlinks=True)
    subprocess.run(("mount", *words, home), check=True)
    try:
        yield home
    finally:
        running.fab("stop-notebook", "--only", "ada")
        subprocess.run(("umount", "--lazy", home), check=True)
        shutil.rmtree(kept)
    assert running.fab("start-notebook").returncode == 0


@AS_ROOT
def test_a_full_disk(running: Project) -> None:
    with _mounted(running, "-t", "tmpfs", "-o", "size=256k", "tmpfs") as home:
        (home / ".jupyter").mkdir()
        config = home / ".jupyter/jupyter_server_config.json"
        config.write_text('{"ServerApp": {}}\n')
        subprocess.run(("dd", "if=/dev/zero", f"of={home / 'big'}", "bs=4k"), capture_output=True, check=False)
        told = failed(running)
        assert "can't be written on the machine: 0 MiB are free" in told
        assert "Free space there, then run this again." in told
        assert config.read_text() == '{"ServerApp": {}}\n', "written whole or not at all"
        assert not list(home.rglob("*.new"))
        (home / "big").unlink()


@AS_ROOT
def test_a_home_that_is_read_only(running: Project) -> None:
    with _mounted(running, "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs"):
        told = failed(running)
    assert "can't be written on the machine: 1 MiB are free, and its home must be writable." in told


def test_a_jupyter_that_dies_at_once(running: Project, tmp_path: Path) -> None:
    _fake(tmp_path, "echo 'the settings are broken' >&2\nexit 3")
    running.fab("stop-notebook", "--only", "ada")
    with another_machine(running, "ada", SEMINAR_JUPYTER=tmp_path / "jupyter"):
        told = failed(running)
    assert "ada: Jupyter ended at once; its log says why." in told
    assert "    the settings are broken" in told
    assert running.fab("start-notebook").returncode == 0


def test_a_jupyter_that_never_listens(running: Project, tmp_path: Path) -> None:
    _fake(tmp_path, "echo 'thinking'\nexec sleep 600")
    running.fab("stop-notebook", "--only", "ada")
    code = "from provisioning import notebook, tasks; notebook.START_SECONDS = 2; import invoke; "
    code += "tasks.start_notebook(invoke.Context(), only='ada')"
    with another_machine(running, "ada", SEMINAR_JUPYTER=tmp_path / "jupyter"):
        done = running.python("-c", code)
    assert "ada: Jupyter did not begin to listen within 2 seconds." in done.stdout, done.stdout + done.stderr
    assert "    thinking" in done.stdout
    assert not any("sleep 600" in " ".join(process.cmdline()) for process in running.processes())
    assert running.fab("start-notebook").returncode == 0


def _fake(folder: Path, script: str) -> None:
    """A jupyter that does nothing but this."""
    for name in ("jupyter", "jupyter-notebook"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="libfaketime's wheel is for Linux on x86-64"
)
@pytest.mark.parametrize(("offset", "well"), [("+365d", True), ("-365d", False)])
def test_a_clock_that_is_a_year_off(running: Project, offset: str, well: bool) -> None:
    """Ahead, the class can work, and the organiser is told. Behind, every browser would forget the login at once."""
    import libfaketime

    library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
    jupyter = Path(sys.prefix) / "bin/jupyter"
    env = {"LD_PRELOAD": library, "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1", "SEMINAR_JUPYTER": jupyter}
    running.fab("stop-notebook", "--only", "ada")
    with another_machine(running, "ada", **env):
        if well:
            done = running.fab("start-notebook")
            assert done.returncode == 0, done.stdout + done.stderr
            assert "ada: its clock is 365 days ahead; certificates and the dates of files go wrong." in done.stdout
            assert running.fab_json("status", "--only", "ada")["ada"]["note"].startswith("its clock is 365 days ahead")
        else:
            told = failed(running)
            assert "ada: the participant's browser would forget the login at once, because the machine's clock" in told
        running.fab("stop-notebook", "--only", "ada")
    assert running.fab("start-notebook").returncode == 0


def test_a_link_of_10_kb_a_second(running: Project, ssh_port: int) -> None:
    running.fab("stop-notebook", "--only", "ada")
    with Proxy(ssh_port, bytes_per_second=10_000) as proxy, reached_at(running, "ada", proxy.port):
        began = time.monotonic()
        seat = running.fab_json("start-notebook", "--only", "ada")["ada"]
        assert seat["outcome"] == "changed", seat
        assert time.monotonic() - began < 60
        assert proxy.carried < 40_000


def test_an_output_of_50_mb(running: Project) -> None:
    command = "head -c 50000000 /dev/zero | tr '\\000' x; echo; echo the end"
    seat = running.fab_json("run", "--command", command, "--only", "ada")["ada"]
    assert seat["outcome"] == "unchanged"
    assert len(seat["output"]) == 1_000_000
    assert seat["output"].endswith("xxx\nthe end\n")


def test_a_command_that_is_cut_short_is_not_run_again(running: Project) -> None:
    seat = running.fab_json("run", "--command", "echo once >>runs; kill -9 $$", "--only", "ada")["ada"]
    assert seat["outcome"] == "failed"
    assert seat.get("exit") == 137 or "was ended by a signal" in seat["reason"]
    seat = running.fab_json("run", "--command", "echo once >>runs; kill -9 $PPID; sleep 5", "--only", "ada")["ada"]
    assert seat["outcome"] == "failed"
    assert seat["reason"].endswith("the command may have begun")
    runs = running.machine("ada") / "home/runs"
    assert runs.read_text() == "once\n" * 2
    runs.unlink()


def test_a_machine_that_forbids_forwarding(running: Project) -> None:
    """No tunnel can be, and no restart heals that: the Jupyter that runs is left alone."""
    config = running.machine("ada") / "sshd_config"
    kept = config.read_text()
    pid = (running.machine("ada") / "home/.local/share/seminar/notebook.pid").read_text()
    config.write_text(kept.replace("AllowTcpForwarding local", "AllowTcpForwarding no"))
    listener = int((running.machine("ada") / "sshd.pid").read_text())
    os.kill(listener, signal.SIGHUP)
    time.sleep(0.5)
    try:
        told = failed(running)
    finally:
        config.write_text(kept)
        os.kill(listener, signal.SIGHUP)
        time.sleep(0.5)
    assert "ada: the machine's sshd lets nobody forward, so no tunnel can be." in told
    assert (running.machine("ada") / "home/.local/share/seminar/notebook.pid").read_text() == pid


def test_a_program_on_the_port_that_never_ends_its_answer(running: Project) -> None:
    """A deadline for the whole proof, not for each byte."""

    def drip(caller: socket.socket) -> None:
        caller.sendall(b"HTTP/1.1 403 Forbidden\r\n")
        with contextlib.suppress(OSError):
            while True:
                caller.sendall(b"X-More: yes\r\n")
                time.sleep(0.2)

    code = "from provisioning import login, inventory, remote, fleet\nlogin.ANSWER_SECONDS = 2.0\n"
    code += "found = inventory.load('rehearsal', 'ada')\nkey = remote.read_key(found.secrets.organiser_key)\n"
    code += "def work(seat): login.prove(seat, found.secrets.seats['ada']); return 'unchanged', {}\n"
    code += (
        "result = fleet.over(found.seats, key, work, connect_seconds=5)[0]\nprint(result.reason, result.seconds < 5)"
    )
    with server(drip) as port:
        kept = running.state.read_text()
        state = json.loads(kept)
        for each in state["outputs"]["handover"]["seats"]:
            each["notebook_port"] = port
        running.state.write_text(json.dumps(state))
        try:
            done = running.python("-c", code)
        finally:
            running.state.write_text(kept)
    assert done.stdout == "Jupyter did not answer within 2 seconds True\n", done.stderr


def test_a_login_that_prints_50_mb_before_the_answer(running: Project) -> None:
    """A machine may print what it likes before the script does; the answer is found behind it."""
    login = running.machine("ada") / "login"
    kept = login.read_text()
    login.write_text(kept.replace("umask 022", "umask 022\nhead -c 50000000 /dev/zero | tr '\\000' x; echo"))
    assert login.read_text() != kept
    try:
        assert running.fab_json("status", "--only", "ada")["ada"]["state"] == "running"
    finally:
        login.write_text(kept)


def test_a_file_name_that_is_no_utf_8(running: Project) -> None:
    work = os.fsencode(running.machine("ada") / "home/learnml")
    with open(work + b"/caf\xe9.ipynb", "w") as file:
        file.write("{}")
    assert running.fab_json("start-notebook", "--only", "ada")["ada"]["outcome"] == "unchanged"
    assert running.fab_json("run", "--command", "ls learnml", "--only", "ada")["ada"]["output"] == "caf\ufffd.ipynb\n"
    shown = running.fab("run", "--only", "ada", "--", "ls", "learnml")
    assert "caf\ufffd.ipynb" in shown.stdout
    os.unlink(work + b"/caf\xe9.ipynb")
