"""The Fabric tasks over real sshd and real Jupyter: each verb, and what goes wrong on the morning of the class."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest

from rehearsal import proof
from tests.conftest import FAB, Project
from tests.provisioning.machines import another_machine

pytestmark = pytest.mark.xdist_group("running")  # they share three seats, so one worker runs them all


def _jupyter(project: Project, seat: str) -> psutil.Process:
    return psutil.Process(int((project.machine(seat) / "home/.local/share/seminar/notebook.pid").read_text()))


def _ended(process: psutil.Process) -> bool:
    """Whether it has ended; that its parent has taken note may come later."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _login(port: int, password: str) -> tuple[int, str]:
    """Log in straight at the notebook's port; returns the status and the session's cookies."""
    with closing(http.client.HTTPConnection("localhost", port, timeout=60)) as client:
        client.request("GET", "/login")
        first = client.getresponse()
        first.read()
        jar = SimpleCookie(first.headers["Set-Cookie"])
        form = urlencode({"_xsrf": jar["_xsrf"].value, "password": password})
        headers = {"Cookie": f"_xsrf={jar['_xsrf'].value}", "Content-Type": "application/x-www-form-urlencoded"}
        client.request("POST", "/login?next=/api", form, headers)
        answer = client.getresponse()
        answer.read()
    for value in answer.headers.get_all("Set-Cookie", []):
        jar.load(value)
    return answer.status, "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())


def _status_with(port: int, cookies: str) -> int:
    with closing(http.client.HTTPConnection("localhost", port, timeout=60)) as client:
        client.request("GET", "/api/status", headers={"Cookie": cookies})
        answer = client.getresponse()
        answer.read()
        return answer.status


@contextmanager
def _held(port: int) -> Iterator[None]:
    code = f"import socket,time; s=socket.create_server(('127.0.0.1',{port})); print(1,flush=True); time.sleep(99)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        yield
    finally:
        holder.kill()
        holder.communicate()


def test_a_second_start_changes_nothing(running: Project) -> None:
    before = {id_: _jupyter(running, id_).pid for id_ in running.seats()}
    seats = running.fab_json("start-notebook")
    assert {seat["outcome"] for seat in seats.values()} == {"unchanged"}
    assert {id_: _jupyter(running, id_).pid for id_ in running.seats()} == before


def test_jupyter_listens_on_loopback_alone(running: Project) -> None:
    for id_, seat in running.seats().items():
        listening = [c.laddr for c in _jupyter(running, id_).net_connections("tcp") if c.status == "LISTEN"]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", seat["notebook_port"])]


def test_status_from_a_folder_below_the_root(running: Project) -> None:
    done = running.fab("status", "--json", cwd="docs")
    assert done.returncode == 0, done.stderr
    seats = {seat["id"]: seat for seat in json.loads(done.stdout)["seats"]}
    assert {seat["state"] for seat in seats.values()} == {"running"}
    assert {seat["password"] for seat in seats.values()} == {"yes"}
    assert seats["ada"]["name"] == "Ada Lovelace"


def test_only_and_the_table(running: Project) -> None:
    done = running.fab("status", "--only", "curie,ada")
    assert done.returncode == 0
    assert "Ada Lovelace" in done.stdout
    assert "Satyendra" not in done.stdout
    assert "2 of 2 seats are well." in done.stdout
    assert len(max(done.stdout.splitlines(), key=len)) <= 80


def test_stop_and_start(running: Project) -> None:
    server = _jupyter(running, "bose")
    assert running.fab_json("stop-notebook", "--only", "bose")["bose"]["outcome"] == "changed"
    assert _ended(server)
    assert running.fab_json("stop-notebook", "--only", "bose")["bose"]["outcome"] == "unchanged"
    assert running.fab_json("status", "--only", "bose")["bose"]["state"] == "stopped"
    assert running.fab_json("start-notebook", "--only", "bose")["bose"]["outcome"] == "changed"


def test_a_jupyter_that_died_is_named_and_healed(running: Project) -> None:
    _jupyter(running, "ada").kill()
    done = running.fab("status")
    assert done.returncode == 1
    assert "ada: Jupyter has died" in done.stdout
    assert "2 of 3 seats are well." in done.stdout
    assert "Again for the others: fab status --stack rehearsal --failed" in done.stdout
    assert list(running.fab_json("status", "--failed")) == ["ada"]
    assert running.fab_json("start-notebook")["ada"]["outcome"] == "changed"


def test_a_jupyter_that_hangs_is_started_anew(running: Project) -> None:
    # Its login proves nothing while it stands still; the proof's patience is 60 seconds, so a shorter one is set here.
    server = _jupyter(running, "ada")
    server.suspend()
    code = "from provisioning import notebook, tasks; notebook.ANSWER_SECONDS = 3.0; import invoke; "
    code += "tasks.start_notebook(invoke.Context(), only='ada')"
    done = running.python("-c", code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _ended(server)
    assert _jupyter(running, "ada").is_running()


def test_the_notebook_port_held_by_another_program(running: Project) -> None:
    running.fab("stop-notebook", "--only", "bose")
    port = running.seats()["bose"]["notebook_port"]
    with _held(port):
        done = running.fab("start-notebook")
        assert done.returncode == 1
        assert f"bose: port {port} on the machine is held by another program" in done.stdout
        assert "2 of 3 seats are well." in done.stdout
    assert running.fab("start-notebook").returncode == 0


def test_a_dead_machine_costs_nobody_else_anything(running: Project) -> None:
    listener = psutil.Process(int((running.machine("curie") / "sshd.pid").read_text()))
    listener.kill()
    done = running.fab("status")
    assert done.returncode == 1
    assert "curie: 127.0.0.1 port" in done.stdout
    assert "can't be reached (Connection refused)" in done.stdout
    assert "2 of 3 seats are well." in done.stdout
    assert running.up().returncode == 0
    assert running.fab("status").returncode == 0


def test_a_swapped_host_key_is_refused(running: Project) -> None:
    folder = running.machine("curie")
    kept = (folder / "host_key").read_bytes()
    pid = int((folder / "sshd.pid").read_text())
    (folder / "host_key").unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key"], check=True)
    os.kill(pid, signal.SIGHUP)  # sshd starts itself again with the new key
    time.sleep(0.5)
    done = running.fab("start-notebook", "--only", "curie")
    assert done.returncode == 1
    assert "shows another host key than the stack made" in done.stdout
    tunnel = running.run("sh", "-c", running.outputs()["tunnels"]["curie"])
    assert tunnel.returncode == 255
    assert "Host key verification failed" in tunnel.stderr
    (folder / "host_key.pub").unlink()
    (folder / "host_key").write_bytes(kept)
    os.kill(pid, signal.SIGHUP)
    time.sleep(0.5)
    assert running.fab("status", "--only", "curie").returncode == 0


def test_a_stranger_key_and_passwords_are_refused_by_ssh(running: Project, tmp_path: Path) -> None:
    seat = running.seats()["ada"]
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    words = ["ssh", "-F", "none", "-i", str(key), "-p", str(seat["ssh_ports"][0]), "-o", "IdentitiesOnly=yes"]
    words += ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    words += ["-o", f'UserKnownHostsFile="{seat["files"]}/known_hosts"']
    done = running.run(*words, f"{seat['user']}@{seat['host']}", "true")
    assert done.returncode == 255
    assert "Permission denied (publickey)." in done.stderr


def test_set_password_for_one_seat(running: Project) -> None:
    before = running.seats()
    port = before["ada"]["notebook_port"]
    status, cookies = _login(port, before["ada"]["password"])
    assert status == 302
    assert _status_with(port, cookies) == 200
    others = {id_: _jupyter(running, id_).pid for id_ in ("bose", "curie")}

    password = 'it\'s "quoted", has $HOME, `id` and \\n'
    done = running.fab("set-password", "--only", "ada", stdin=password + "\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert password not in done.stdout + done.stderr

    after = running.seats()
    assert after["ada"]["password"] == password
    assert after["bose"] == before["bose"]
    assert {id_: _jupyter(running, id_).pid for id_ in others} == others
    assert _status_with(port, cookies) == 403, "the older session must be logged out"
    assert _login(port, before["ada"]["password"])[0] == 401
    assert _login(port, password)[0] == 302
    assert Path(after["ada"]["files"], "password").read_text() == password + "\n"
    assert running.up().returncode == 0
    assert running.seats()["ada"]["password"] == password, "a later `up` keeps it"

    done = running.fab("set-password", "--only", "ada", "--generate")
    assert done.returncode == 0, done.stdout + done.stderr
    made = running.seats()["ada"]["password"]
    assert made != password
    assert _login(port, made)[0] == 302


@pytest.mark.parametrize("password", ["short", "a" * 201, "tab\tinside it", " space at an end"])
def test_a_password_that_can_not_be_is_a_sentence(running: Project, password: str) -> None:
    before = running.seats()
    done = running.fab("set-password", "--only", "ada", stdin=password + "\n")
    assert done.returncode == 2
    assert done.stderr.startswith("The password has ")
    assert running.seats() == before


def test_token_is_the_way_without_a_password(running: Project) -> None:
    first = running.fab_json("start-notebook", "--only", "bose", "--token")["bose"]["url"]
    again = running.fab_json("start-notebook", "--only", "bose", "--token")["bose"]
    assert again["url"] == first
    assert again["outcome"] == "unchanged"
    seat = running.seats()["bose"]
    token = first.partition("?token=")[2]
    assert len(token) == 48
    request = f"http://localhost:{seat['notebook_port']}/api/status?token={token}"
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 200
    assert _status_with(seat["notebook_port"], "") == 403
    assert running.fab_json("status", "--only", "bose")["bose"]["password"] == "token"
    assert running.fab_json("start-notebook", "--only", "bose")["bose"]["outcome"] == "changed"
    assert _login(seat["notebook_port"], seat["password"])[0] == 302


def test_run_a_command_everywhere(running: Project) -> None:
    done = running.fab("run", "--command", "pwd; echo $((6 * 7)) >&2")
    assert done.returncode == 0
    for id_ in ("ada", "bose", "curie"):
        assert f"== {id_}: exit 0\n{running.machine(id_)}/home\n42\n" in done.stdout
    failed = running.fab("run", "--only", "ada", "--", "exit", "3")
    assert failed.returncode == 1
    assert "== ada: exit 3" in failed.stdout


def test_tunnel_takes_a_free_port_and_comes_back(running: Project) -> None:
    seat = running.seats()["ada"]
    with _held(seat["local_port"]):
        fab = running.popen(FAB, "tunnel", "--only", "ada", "--no-browser")
        assert fab.stdout is not None
        line = fab.stdout.readline()
        assert line.startswith("Open http://localhost:"), line
        url = line.split()[1]
        assert int(url.rpartition(":")[2]) != seat["local_port"]
        with urllib.request.urlopen(f"{url}/api", timeout=60) as response:
            assert response.status == 200
        ssh = next(child for child in psutil.Process(fab.pid).children(recursive=True) if child.name() == "ssh")
        told = " ".join(ssh.cmdline())
        assert seat["password"] not in told
        ssh.kill()
        assert "The tunnel dropped; again in" in fab.stdout.readline()
        assert fab.stdout.readline().startswith(f"Open {url} "), "the same port, so that the page goes on"
        fab.send_signal(signal.SIGINT)
        rest, _ = fab.communicate(timeout=30)
    assert "The tunnel is closed." in rest
    assert fab.returncode == 0


def test_nothing_secret_in_argv_output_or_open_files(running: Project) -> None:
    """Looked for in every argument list while a start runs, in the output at highest verbosity, and in file modes."""
    seats = running.seats()
    organiser = running.outputs()["secrets"]["organiser_key"]
    secret = [
        organiser,
        *(seat[key] for seat in seats.values() for key in ("password", "password_hash", "private_key")),
    ]
    running.fab("stop-notebook")
    fab = running.popen(FAB, "--debug", "--echo", "start-notebook")
    seen = []
    while fab.poll() is None:
        for process in Path("/proc").glob("[0-9]*") if Path("/proc").exists() else []:
            try:
                seen.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        time.sleep(0.05)
    output = fab.communicate()[0]
    assert fab.returncode == 0, output
    assert any("jupyter-notebook" in line for line in seen) or not Path("/proc").exists()
    for text in secret:
        assert not any(text in line for line in seen)
        assert text not in output
        assert text.splitlines()[0 if len(text.splitlines()) == 1 else 1] not in output
    for path in (running.root / ".seminar").rglob("*"):
        if "home" not in path.parts or path.suffix == ".json":
            assert path.is_symlink() or path.stat().st_mode & 0o077 == 0, path


def test_a_start_that_was_killed_is_finished_by_the_next(running: Project) -> None:
    for seconds in (0.4, 0.8, 1.5):
        running.fab("stop-notebook", "--only", "ada")
        fab = running.popen(FAB, "start-notebook", "--only", "ada")
        time.sleep(seconds)
        fab.kill()
        fab.communicate()
        done = running.fab("start-notebook", "--only", "ada")
        assert done.returncode == 0, done.stdout + done.stderr
        servers = [p for p in running.processes() if "jupyter-notebook" in " ".join(p.cmdline())]
        home = str(running.machine("ada"))
        assert sum(p.environ().get("SEMINAR_MACHINE") == home for p in servers) == 1


def test_ctrl_c_reports_what_was_done(running: Project) -> None:
    running.fab("stop-notebook", "--only", "ada,bose")
    fab = running.popen(FAB, "start-notebook")
    assert fab.stdout is not None
    assert fab.stdout.readline().startswith("curie: unchanged")
    fab.send_signal(signal.SIGINT)
    rest, _ = fab.communicate(timeout=30)
    assert fab.returncode == 1
    assert "1 of 3 seats is well." in rest
    assert "ada: was not finished; run this again to finish it." in rest
    assert "Again for the others: fab start-notebook --stack rehearsal --failed" in rest
    again = running.fab_json("start-notebook", "--failed")
    assert list(again) == ["ada", "bose"]
    assert {seat["outcome"] for seat in again.values()} <= {"changed", "unchanged"}, again
    done = running.fab("start-notebook", "--failed")
    assert done.returncode == 0
    assert done.stderr == "Nobody failed when `fab start-notebook` last ran; without --failed it runs on everyone.\n"


def test_no_jupyter_on_the_machine_and_none_to_be_had(running: Project) -> None:
    if shutil.which("jupyter-notebook", path="/usr/bin:/bin"):
        pytest.skip("this computer's own PATH has a Jupyter")
    with another_machine(running, "ada", SEMINAR_PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="/nowhere"):
        done = running.fab("start-notebook", "--only", "ada")
        assert done.returncode == 1
        assert "has no jupyter with 'notebook' and none could be installed: it needs the Internet" in done.stdout
        assert "No matching distribution found" in done.stdout
        assert not list((running.machine("ada") / "home/.local/share/seminar").glob("jupyter*"))
    assert running.fab("status", "--only", "ada").returncode == 0


@pytest.mark.timeout(600)
def test_a_jupyter_is_installed_beside_the_image_s_torch(running: Project, tmp_path: Path) -> None:
    """The image's Python has a torch and no Jupyter: the default kernel of the one installed imports it."""
    if shutil.which("jupyter-notebook", path="/usr/bin:/bin"):
        pytest.skip("this computer's own PATH has a Jupyter")
    image = tmp_path / "image"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", image), check=True)
    (packages,) = image.glob("lib/python*/site-packages")
    (packages / "torch.py").write_text("__version__ = 'of the image'\n")
    (packages / "anyio.py").write_text("raise ImportError('too old for Jupyter')\n")
    seat = running.seats()["ada"]
    pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_") and " " not in value}
    assert running.fab("stop-notebook", "--only", "ada").returncode == 0
    with another_machine(running, "ada", SEMINAR_PYTHON=str(image / "bin/python"), **pip):
        done = running.fab("start-notebook", "--only", "ada")
        assert done.returncode == 0, done.stdout + done.stderr
        assert running.fab_json("start-notebook", "--only", "ada")["ada"]["outcome"] == "unchanged"
        address = f"http://localhost:{seat['notebook_port']}"
        assert proof.compute(address, seat["password"], "import torch; print(torch.__version__)") == "of the image"
    assert running.fab("start-notebook", "--only", "ada").returncode == 0  # with the rehearsal's own again
