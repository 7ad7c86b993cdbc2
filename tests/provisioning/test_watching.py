"""How a seat is, seen once and seen live: on real sshd and real Jupyter, with a participant who works there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioning.inventory import Inventory, choose
from provisioning.live import Sight, Watch, judge
from provisioning.looking import Seen
from rehearsal import proof
from stacks.outputs import HandOver, Secrets
from tests.conftest import FAB, Project
from tests.provisioning.machines import another_machine, closed_port, reached_at

pytestmark = pytest.mark.xdist_group("watching")
PATIENCE_SECONDS = 90.0


def until(what: Callable[[], Any]) -> Any:
    """What it returns, once that is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came about")


def status(project: Project, seat: str) -> dict[str, Any]:
    return project.fab_json("status", "--only", seat)[seat]


def inventory(project: Project, only: str) -> Inventory:
    found = project.outputs()
    handover = HandOver.from_dict(found["handover"])
    return Inventory("rehearsal", handover, Secrets.from_dict(found["secrets"]), choose(handover.seats, only))


def jupyter(project: Project, seat: str) -> int:
    return int((project.machine(seat) / "home/.local/share/seminar/notebook.pid").read_text())


@contextmanager
def connected(project: Project, seat: str) -> Iterator[None]:
    """A participant's ssh that only forwards, as in the tunnel command."""
    user = project.seats()[seat]["user"]
    words = ["ssh", "-N", "-F", str(project.root / f".seminar/rehearsal/seats/{seat}/ssh_config"), f"{user}@127.0.0.1"]
    ssh = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        ssh.terminate()
        ssh.wait()


def test_tunnels_are_counted_and_the_organiser_s_own_connections_are_not(running: Project) -> None:
    assert status(running, "ada")["tunnels"] == 0
    with connected(running, "ada"), connected(running, "ada"), connected(running, "bose"):
        until(lambda: status(running, "ada")["tunnels"] == 2)
        assert status(running, "bose")["tunnels"] == 1
        assert status(running, "curie")["tunnels"] == 0
    until(lambda: status(running, "ada")["tunnels"] == 0)


def test_a_kernel_at_work_is_seen(running: Project) -> None:
    seat = running.seats()["ada"]
    begun, over = (running.root / name for name in ("begun", "over"))
    code = (
        f"import os, time\nopen({str(begun)!r}, 'w').close()\nwhile not os.path.exists({str(over)!r}): time.sleep(0.1)"
    )
    at = f"http://localhost:{seat['notebook_port']}"
    working = threading.Thread(target=proof.compute, args=(at, seat["password"], code))
    working.start()
    try:
        until(begun.exists)
        seen = until(lambda: (now := status(running, "ada"))["busy"] == 1 and now)
        assert (seen["kernels"], seen["idle_minutes"]) == (1, 0)
    finally:
        over.touch()
        working.join()
    assert status(running, "ada")["kernels"] == 0


def test_what_the_machine_has_left(running: Project) -> None:
    seen = status(running, "ada")
    at_home = os.statvfs(running.machine("ada") / "home")
    assert abs(seen["free_mib"] - at_home.f_bavail * at_home.f_frsize / 2**20) < 2000  # others write, too
    assert seen["free_mib"] < seen["disk_mib"]
    assert 0 < seen["memory_free_mib"] < seen["memory_mib"]
    assert seen["gpu"] is None
    table = running.fab("status").stdout
    assert "GPU" not in table
    assert "Password" not in table


@pytest.mark.parametrize(
    ("says", "gpu"),
    [
        ("35, 3072, 15360\\n0, 10, 15360", "35 %, 3.0 of 15.0 GiB; 0 %, 0.0 of 15.0 GiB"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver", None),
    ],
)
def test_gpus(running: Project, tmp_path: Path, says: str, gpu: str | None) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\nprintf "{says}\\n"\n')
    program.chmod(0o755)
    with another_machine(running, "ada", PATH=f"{tmp_path}:/usr/bin:/bin"):
        assert status(running, "ada")["gpu"] == gpu
        assert ("GPU" in running.fab("status").stdout) is (gpu is not None)


def test_a_token_is_kept_by_a_restart_and_a_password_takes_its_place(running: Project) -> None:
    first = running.fab_json("start-notebook", "--token", "--only", "bose")["bose"]["url"]
    seen = status(running, "bose")
    assert (seen["password"], seen["kernels"]) == ("token", 0)
    assert "Password" in running.fab("status").stdout
    before = jupyter(running, "bose")
    restarted = running.fab_json("restart-notebook", "--only", "bose")["bose"]
    assert (restarted["outcome"], restarted["url"]) == ("changed", first)
    assert jupyter(running, "bose") != before
    assert running.fab_json("start-notebook", "--only", "bose")["bose"]["outcome"] == "changed"
    before = jupyter(running, "bose")
    assert running.fab_json("restart-notebook", "--only", "bose")["bose"]["outcome"] == "changed"
    assert jupyter(running, "bose") != before
    assert status(running, "bose")["password"] == "yes"


def test_logs(running: Project) -> None:
    done = running.fab("logs", "--only", "ada,curie", "--lines", "3")
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split("== ")
    assert [part.split(":")[0] for part in parts] == ["", "ada", "curie"]
    assert "ServerApp" in parts[1]
    assert len(parts[1].strip().splitlines()) == 4
    assert "--lines '0' is no number that fits; expected 1 to 10000." in running.fab("logs", "--lines", "0").stderr


def test_what_stands_behind_the_dashes(running: Project) -> None:
    done = running.fab("run", "--only", "ada", "--", "printf", "%s|", "two words", "$HOME")
    assert "== ada: exit 0\ntwo words|$HOME|\n" in done.stdout
    assert f"\n{running.machine('ada')}/home\n" in running.fab("run", "--only", "ada", "--", "echo $HOME | cat").stdout
    other = running.fab("status", "--", "df")
    assert other.returncode == 2
    assert "`fab status` takes no command behind --; `fab run -- df` does." in other.stderr
    twice = running.fab("run", "--command", "df", "--", "ls")
    assert twice.returncode == 2
    assert "`fab run` was given two commands, 'df' and 'ls'." in twice.stderr
    none = running.fab("run")
    assert none.returncode == 2
    assert "`fab run` was given no command; for example: fab run -- df -h ." in none.stderr


def test_live_over_one_connection(running: Project) -> None:
    log = running.machine("curie") / "sshd.log"
    logins = log.read_text().count("Accepted publickey")
    seen: list[Sight] = []
    with Watch(inventory(running, "curie"), every=0.2, seen=seen.append) as watch:
        until(lambda: len(seen) >= 5)
        assert (seen[-1].light, seen[-1].reason) == ("amber", "nobody is connected")
        assert log.read_text().count("Accepted publickey") - logins == 1
        with connected(running, "curie"):
            until(lambda: (seen[-1].light, seen[-1].reason) == ("green", "no notebook is open"))
            os.kill(jupyter(running, "curie"), signal.SIGKILL)
            died = until(lambda: seen[-1].light == "red" and seen[-1])
            assert died.reason == "Jupyter has died; `fab start-notebook` starts it"
            assert "ServerApp" in died.evidence
            assert watch.sights() == [seen[-1]]
            logins = log.read_text().count("Accepted publickey")
            assert running.fab("start-notebook", "--only", "curie").returncode == 0
            watch.look_now("curie")
            until(lambda: seen[-1].light == "green")
            assert log.read_text().count("Accepted publickey") - logins == 1  # start-notebook's
    until(lambda: not any(thread.name == "watch curie" for thread in threading.enumerate()))


def test_a_machine_that_is_lost_and_comes_back(running: Project) -> None:
    seen: list[Sight] = []
    found = inventory(running, "bose")
    port = found.seats[0].ssh_ports[0]
    with reached_at(running, "bose", closed_port()):
        away = inventory(running, "bose")
    with Watch(replace(away, connect_seconds=1.0), every=0.2, seen=seen.append):
        lost = until(lambda: seen and seen[-1])
        assert lost.light == "red"
        assert "can't be reached" in lost.reason
    with Watch(found, every=0.2, seen=seen.append):
        until(lambda: seen[-1].light == "amber")
        listener = int((running.machine("bose") / "sshd.pid").read_text())
        session = next(iter(_children(listener)))
        os.kill(session, signal.SIGKILL)
        broken = until(lambda: seen[-1].light == "red" and seen[-1])
        assert "the connection broke off" in broken.reason, port
        until(lambda: seen[-1].light == "amber")


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children()]


def test_watch_tells_each_change_once_where_it_is_piped(running: Project) -> None:
    fab = running.popen(FAB, "watch", "--only", "ada", "--every", "1")
    assert fab.stdout is not None
    assert fab.stdout.readline().split(" ", 1)[1] == "ada: amber, nobody is connected\n"
    with connected(running, "ada"):
        assert fab.stdout.readline().split(" ", 1)[1] == "ada: green, no notebook is open\n"
    assert fab.stdout.readline().split(" ", 1)[1] == "ada: amber, nobody is connected\n"
    fab.send_signal(signal.SIGINT)
    assert fab.wait(timeout=30) == 0
    assert fab.stdout.read() == ""
    assert "--every 'x' is no number that fits; expected 1 to 3600." in running.fab("watch", "--every", "x").stderr


FACTS = {
    "state": "running",
    "password": "yes",
    "free_mib": 90_000,
    "disk_mib": 150_000,
    "memory_free_mib": 8000,
    "memory_mib": 16_000,
    "tunnels": 1,
    "kernels": 1,
    "busy": 0,
    "idle_minutes": 0,
    "gpu": None,
}


@pytest.mark.parametrize(
    ("facts", "light", "reason"),
    [
        ({}, "green", "at work"),
        ({"busy": 1}, "green", "a kernel is at work"),
        ({"kernels": 0, "idle_minutes": None}, "green", "no notebook is open"),
        ({"idle_minutes": 25}, "green", "nothing ran for 25 minutes"),
        ({"tunnels": None}, "green", "at work"),
        ({"tunnels": 0}, "amber", "nobody is connected"),
        (
            {"free_mib": 900, "memory_free_mib": 500},
            "amber",
            "little disk is left, 900 MiB; little memory is left, 500 MiB",
        ),
        ({"password": "other", "kernels": None, "busy": None}, "amber", "its password is not the stack's"),
        ({"free_mib": 12}, "red", "the disk is full, 12 MiB are free"),
        ({"state": "stopped"}, "red", "the notebook is not started"),
    ],
)
def test_the_light_and_its_reason(facts: dict[str, Any], light: str, reason: str) -> None:
    assert judge(Seen({**FACTS, **facts})) == (light, reason)


def test_a_fault_comes_before_all_else_and_a_note_wants_an_eye() -> None:
    assert judge(Seen({**FACTS, "free_mib": 12}, "Jupyter has died")) == ("red", "Jupyter has died")
    assert judge(Seen(dict(FACTS), note="its clock is 3 hours ahead")) == ("amber", "its clock is 3 hours ahead")


def test_facts_are_the_same_for_programs(running: Project) -> None:
    told = json.loads(running.fab("status", "--json").stdout)["seats"][0]
    assert set(FACTS) <= set(told)
