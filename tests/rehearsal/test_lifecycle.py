"""What both engines must do alike: the hand-over, again without change, one more, one fewer, heal, destroy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import NO_CLI, PATH_WITHOUT_CLI, STACK, Project, copy_project

FOUR = ("bose,Satyendra Nath Bose", "dora,Dora", "ada,Ada Lovelace", "curie,Maria Skłodowska Curie")


def _up(project: Project) -> str:
    done = project.up()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _settled(seat: dict[str, Any]) -> dict[str, Any]:
    """The seat without what only this run picked: keys, ports, folders."""
    return {key: seat[key] for key in ("id", "name", "machine", "host", "user")}


def _listener(project: Project, seat: str) -> psutil.Process:
    return psutil.Process(int((project.machine(seat) / "sshd.pid").read_text()))


def test_a_seminar_lives_and_ends(either: Project) -> None:
    _up(either)
    three = either.seats()
    pids = {id_: _listener(either, id_).pid for id_ in three}
    assert list(three) == ["ada", "bose", "curie"]
    tunnels = either.outputs()["tunnels"]
    assert sorted(tunnels) == ["ada", "bose", "curie"]
    assert all(words.startswith("ssh -N -L localhost:") for words in tunnels.values())

    again = _up(either)
    assert "9 unchanged" in again or "7 same" in again
    assert either.seats() == three

    either.roster(*FOUR)  # one more, and another order
    _up(either)
    four = either.seats()
    assert {id_: four[id_] for id_ in three} == three
    assert {id_: _listener(either, id_).pid for id_ in three} == pids

    either.roster(*(line for line in FOUR if not line.startswith("bose")))
    _up(either)
    left = either.seats()
    assert {id_: seat for id_, seat in four.items() if id_ != "bose"} == left
    assert not psutil.pid_exists(pids["bose"]) or psutil.Process(pids["bose"]).status() == psutil.STATUS_ZOMBIE
    assert not either.machine("bose").exists()

    _listener(either, "ada").kill()
    _up(either)
    assert either.seats() == left
    assert _listener(either, "ada").is_running()
    assert _listener(either, "curie").pid == pids["curie"]

    down = either.python("-m", "rehearsal", "down")
    assert down.returncode == 0, down.stderr
    assert either.processes() == []
    assert not either.machine("ada").exists()


def test_both_engines_give_the_same_hand_over(tmp_path: Path) -> None:
    if shutil.which("pulumi") is None:
        pytest.skip(NO_CLI)
    found = []
    for engine in ("in-process", "cli"):
        env = {"PULUMI_CONFIG_PASSPHRASE": "p"} if engine == "cli" else {"PATH": PATH_WITHOUT_CLI}
        project = Project(copy_project(tmp_path / engine), engine, env=env)
        try:
            _up(project)
            document = project.outputs()
        finally:
            project.python("-m", "rehearsal", "down")
        seats = document["handover"]["seats"]
        assert all(sorted(seat) == sorted(seats[0]) for seat in seats)
        found.append(
            {
                "handover": {**document["handover"], "seats": [_settled(seat) for seat in seats]},
                "fields": sorted(seats[0]),
                "types": {key: type(value) for key, value in seats[0].items()},
                "secrets": {id_: sorted(kept) for id_, kept in document["secrets"]["seats"].items()},
                "tunnels": {id_: words.split()[:3] for id_, words in document["tunnels"].items()},
                "putty": {id_: words.split()[:5] for id_, words in document["putty"].items()},
            }
        )
    assert found[0] == found[1]


def test_cli_marks_the_secrets_and_encrypts_them(tmp_path: Path) -> None:
    if shutil.which("pulumi") is None:
        pytest.skip(NO_CLI)
    project = Project(copy_project(tmp_path / "copy"), "cli", env={"PULUMI_CONFIG_PASSPHRASE": "p"})
    try:
        _up(project)
        shown = project.run("pulumi", "stack", "output", "--stack", STACK)
        assert "[secret]" in shown.stdout
        state = (project.root / f".seminar/.pulumi/stacks/seminar/{STACK}.json").read_text()
        for seat in project.seats().values():
            for key in ("password", "password_hash", "private_key"):
                assert seat[key] not in shown.stdout + state
                assert seat[key].replace("\n", "\\n") not in state
        wrong = project.fab("status", PULUMI_CONFIG_PASSPHRASE="wrong")
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("The passphrase does not open this stack's secrets")
        taken = project.python("-m", "rehearsal.engine", "up", STACK)
        assert taken.returncode == 2
        assert "was brought up by the Pulumi CLI" in taken.stderr
    finally:
        project.python("-m", "rehearsal", "down")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_an_engine_that_was_ended_is_mended_by_the_next(either: Project, sent: signal.Signals) -> None:
    """Ended at several moments, from the first resource on; each time the next run completes and nothing doubles."""
    either.setting("participants", 5)
    file = either.root / f"Pulumi.{STACK}.yaml"
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "roster" not in line))
    for seconds in (0.0, 0.4):
        process = either.popen(sys.executable, "-m", "rehearsal", "up")
        until = time.monotonic() + 30
        while not list((either.root / ".seminar").glob("*/machines/*/sshd.pid")) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(seconds)
        os.killpg(process.pid, sent)
        process.communicate()
    done = either.python("-m", "rehearsal", "up")
    assert done.returncode == 0, done.stdout + done.stderr
    listeners = [process for process in either.processes() if "[listener]" in " ".join(process.cmdline())]
    assert len(listeners) == 5
    assert sorted(seat["id"] for seat in either.inventory()) == [f"{n:02}" for n in range(1, 6)]


def test_a_port_that_another_program_took_is_a_sentence(either: Project) -> None:
    _up(either)
    before = either.seats()
    _listener(either, "ada").kill()
    port = before["ada"]["ssh_ports"][0]
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import socket,time; s=socket.create_server(('127.0.0.1',{port})); time.sleep(99)"]
    )
    try:
        until = time.monotonic() + 10
        while not psutil.Process(holder.pid).net_connections() and time.monotonic() < until:
            time.sleep(0.05)
        done = either.up()
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert f"Machine ada: port {port} on this computer is held by another program" in told
        assert "Traceback" not in told
    finally:
        holder.kill()
        holder.wait()
    _up(either)
    assert either.seats() == before
