"""What only a machine that is really booted shows, on the user data of the whole program and with the real tasks.

The tests of a machine stand in the order of a class: it boots, is started, used and broken, and ends. Without KVM every
second here is an emulated one, so that no test measures by this computer's clock.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rehearsal.proof import compute
from stacks.access import SSH_PORTS
from stacks.ends import as_utc
from tests.machine import wire
from tests.machine.conftest import LONG_SECONDS, Booted
from tests.machine.seminar import ENDS

if os.environ.get("SEMINAR_MACHINE") != "1":
    pytest.skip("`make test-machine` boots virtual machines, for half an hour", allow_module_level=True)

pytestmark = pytest.mark.timeout(3600)
each = pytest.mark.parametrize("booted", ["service", "socket"], indirect=True, scope="module")
first = pytest.mark.parametrize("booted", ["service"], indirect=True, scope="module")

UNIT = "seminar-notebook.service"
PID = "cat ~/.local/share/seminar/notebook.pid"
CONFIG = "~/.jupyter/jupyter_server_config.json"


@each
def test_the_first_key_that_sshd_ever_shows_is_the_handed_over_one(booted: Booted) -> None:
    assert booted.host_keys == {booted.room.seat["host_key"]}


@each
def test_a_start_waits_for_the_boot_and_is_proved(booted: Booted) -> None:
    deadline = time.monotonic() + 2 * LONG_SECONDS
    while "still sets itself up" in (seat := booted.room.fab("start-notebook", "--wait", "300")).get("reason", ""):
        assert time.monotonic() < deadline, booted.machine.said()
    assert seat["outcome"] == "changed", seat
    assert booted.room.fab("start-notebook")["outcome"] == "unchanged"


@each
def test_cloud_init_ended_without_a_complaint(booted: Booted) -> None:
    booted.root("cloud-init status --wait >/dev/null || true")
    said = json.loads(booted.root("cat /run/cloud-init/status.json"))["v1"]
    stages = [stage for stage in said.values() if isinstance(stage, dict)]
    assert [stage["errors"] for stage in stages if stage.get("errors")] == []
    assert [stage["recoverable_errors"] for stage in stages if stage.get("recoverable_errors")] == []
    assert booted.root("systemctl --failed --plain --no-legend") == ""


@each
def test_the_way_in_is_a_key_to_the_own_user(booted: Booted) -> None:
    assert booted.root("id -un") == "root"
    assert booted.participant("id -un; sudo -n true 2>/dev/null || echo no sudo") == "participant\nno sudo"
    assert booted.ssh("participant", "id -un", key="organiser").stdout == "participant\n"
    assert "Permission denied (publickey)" in booted.ssh("debian", "true", key="participant").stderr
    assert "Permission denied (publickey)" in booted.ssh("root", "true", key="organiser").stderr
    words = booted.words(
        "participant", 22, "PubkeyAuthentication=no", "PreferredAuthentications=password,keyboard-interactive"
    )
    done = subprocess.run([*words, "participant@127.0.0.1", "true"], capture_output=True, text=True, timeout=300)
    assert "Permission denied (publickey)" in done.stderr


@each
@pytest.mark.parametrize("port", SSH_PORTS)
def test_a_participant_logs_in_through_each_ssh_port(booted: Booted, port: int) -> None:
    booted.room.at(booted.machine.ports[port])
    seen = booted.room.fab("status")
    booted.room.at(*booted.machine.ports.values())
    assert (seen["state"], seen["password"]) == ("running", "yes"), seen


@each
def test_its_jupyter_is_the_image_s_or_an_own_one(booted: Booted) -> None:
    unit = booted.participant(f"cat ~/.config/systemd/user/{UNIT}")
    expected = {"service": "/home/participant/.local/share/seminar/jupyter", "socket": "/opt/pytorch"}[booted.name]
    assert f'"{expected}/bin/jupyter-notebook"' in unit


@each
def test_the_unit_is_private_right_and_holds_no_secret(booted: Booted) -> None:
    path = f"~/.config/systemd/user/{UNIT}"
    assert booted.participant(f"stat -c %a {path} ~/.local/share/seminar/settings {CONFIG}") == "600\n600\n600"
    assert UNIT not in booted.participant(f"systemd-analyze --user verify {path} 2>&1")
    unit = booted.participant(f"cat {path}; cat /proc/$({PID})/environ | tr '\\0' '\\n'; ps -eo args")
    for secret in booted.room.secrets.values():
        assert secret not in unit


@each
def test_nobody_but_root_reaches_the_metadata_address(booted: Booted) -> None:
    ask = "curl -s -m 60 -X PUT http://169.254.169.254/latest/api/token"
    told = "curl -s -m 60 -H 'X-aws-ec2-metadata-token: a token' http://169.254.169.254/latest/user-data"
    assert booted.root(ask) == "a token"
    assert "ed25519_private" in booted.root(told)
    refused = 7  # curl's word for a connection that can't be made; 28 would be one that nobody answers
    assert booted.participant(f"{ask}; echo $?") == str(refused)
    assert booted.ssh("debian", f"{ask}; echo $?").stdout == f"{refused}\n"


@each
def test_only_the_ssh_ports_answer_from_outside(booted: Booted) -> None:
    assert wire.open_ports(booted.machine.wire) == list(SSH_PORTS)


@each
@pytest.mark.parametrize("port", SSH_PORTS)
def test_ssh_audit_finds_no_failure(booted: Booted, port: int) -> None:
    program = Path(sys.prefix) / "bin" / "ssh-audit"
    words = (
        program,
        "--timeout",
        "60",
        "--skip-rate-test",
        "-l",
        "fail",
        "-p",
        str(booted.machine.ports[port]),
        "127.0.0.1",
    )
    done = subprocess.run(words, capture_output=True, text=True, timeout=LONG_SECONDS)
    assert "[fail]" not in done.stdout
    assert done.returncode in (0, 2), done.stdout + done.stderr  # 2: warnings


@first
def test_a_token_in_place_of_the_password_and_back(booted: Booted) -> None:
    assert "/?token=" in booted.room.fab("start-notebook", "--token")["url"]
    assert booted.room.fab("status")["password"] == "token"
    assert booted.room.fab("start-notebook")["outcome"] == "changed"


@first
def test_a_new_password_is_taken_up(booted: Booted) -> None:
    before = booted.participant(PID)
    booted.room.new_password()
    code = "from provisioning import inventory, verbs; print(verbs.set_password(inventory.load())[0].outcome)"
    done = booted.room.project.python("-c", code)
    assert done.stdout == "changed\n", done.stderr
    assert booted.participant(PID) != before
    seen = booted.room.fab("status")
    assert (seen["state"], seen["password"]) == ("running", "yes"), seen


@first
def test_a_program_that_takes_all_memory_ends_alone(booted: Booted) -> None:
    before = booted.participant(PID)
    greedy = "taken = []\nwhile True: taken.append(b'x' * 67108864)"
    with booted.tunnel() as base:
        code = f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {greedy!r}]).returncode)"
        assert compute(base, booted.room.secrets["password"], code) == "-9"
    assert booted.participant(PID) == before
    assert "Out of memory" in booted.root("dmesg")


@each
def test_a_jupyter_that_is_killed_is_back_and_what_its_notebooks_began_is_gone(booted: Booted) -> None:
    before = booted.participant(PID)
    began = "import subprocess\nprint(subprocess.Popen(['sleep', '98765'], start_new_session=True).poll())"
    with booted.tunnel() as base:
        assert compute(base, booted.room.secrets["password"], began) == "None"
    assert booted.participant("pgrep -cx sleep") == "1"
    booted.participant(f"kill -9 {before}")
    booted.runs_by_itself()
    assert booted.participant(PID) != before
    assert booted.participant("pgrep -cx sleep || true") == "0"
    said = booted.root(f"journalctl USER_UNIT={UNIT} -o json --no-pager -q | tail -n 40")
    moments = [(int(line["__REALTIME_TIMESTAMP"]), line["MESSAGE"]) for line in map(json.loads, said.splitlines())]
    killed = max(moment for moment, text in moments if "status=9/KILL" in text)
    again = min(moment for moment, text in moments if moment > killed and text.startswith("Started "))
    assert (again - killed) / 1e6 < 10


@each
def test_a_stop_is_kept_and_a_start_undoes_it(booted: Booted) -> None:
    assert booted.room.fab("stop-notebook")["outcome"] == "changed"
    assert (
        booted.participant(f"systemctl --user is-enabled {UNIT}; systemctl --user is-active {UNIT}; true")
        == "disabled\ninactive"
    )
    assert booted.participant("pgrep -u participant -f '[j]upyter' || echo none") == "none"
    assert booted.room.fab("status")["state"] == "stopped"
    assert booted.room.fab("stop-notebook")["outcome"] == "unchanged"
    assert booted.room.fab("start-notebook")["outcome"] == "changed"


@first
def test_a_full_disk_is_a_sentence_and_leaves_the_settings_whole(booted: Booted) -> None:
    before, running = booted.participant(f"cat {CONFIG}"), booted.participant(PID)
    # All that is free for users, and a little of what is root's.
    booted.root("fallocate -l $(($(df --output=avail -B1 / | tail -n 1) + 16777216)) /full")
    try:
        booted.room.new_password()
        seat = booted.room.fab("start-notebook")
        assert seat["outcome"] == "failed"
        assert re.search(r"can't be written on the machine: 0 MiB are free", seat["reason"]), seat
        assert booted.participant(f"cat {CONFIG}") == before
        assert booted.participant(PID) == running  # what ran goes on
    finally:
        booted.root("rm -f /full")
    assert booted.room.fab("start-notebook")["outcome"] == "changed"


@each
def test_after_a_reboot_all_is_as_before_without_anyone(booted: Booted) -> None:
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = booted.participant(boot)
    booted.ssh("debian", "sudo systemctl reboot")
    deadline = time.monotonic() + LONG_SECONDS
    while (now := booted.ssh("participant", boot).stdout.strip()) in ("", before):
        assert time.monotonic() < deadline, booted.machine.said()
        time.sleep(1)
    assert now != before
    booted.runs_by_itself()
    assert booted.room.fab("start-notebook")["outcome"] == "unchanged"
    assert booted.participant("curl -s -m 60 http://169.254.169.254/; echo $?") == "7"
    for port in SSH_PORTS:
        assert booted.ssh("participant", "true", port=port).returncode == 0  # with the host key as before


@each
def test_at_the_seminar_s_end_it_powers_itself_off(booted: Booted) -> None:
    assert booted.becomes("cat /var/lib/seminar-ends", ENDS) == ENDS
    # Past on Azure too, which is given an hour to stop the machine first.
    (booted.machine.metadata / "ends").write_text(as_utc(datetime.now(timezone.utc) - timedelta(hours=2)))
    assert booted.machine.is_off(LONG_SECONDS), booted.machine.said()
