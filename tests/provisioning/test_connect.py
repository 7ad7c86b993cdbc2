"""connect.sh and check.sh as a participant runs them, over real sshd and Jupyter; and each way in which they fail."""

from __future__ import annotations

import os
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stacks.credentials import new_key
from tests.conftest import Project
from tests.provisioning.machines import HOST_KEY, closed_port, deaf_port, reached_at
from tests.provisioning.participant import Laptop, Window, packed, unpacked

pytestmark = pytest.mark.xdist_group("connect")
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path / "laptop")


@pytest.fixture
def pack(running: Project, tmp_path: Path) -> Path:
    """Ada's pack, where a participant may well unpack it."""
    return unpacked(packed(running, "ada"), tmp_path / "Ada's 100% & more")


def address(line: str) -> str:
    return next(word for word in line.split() if word.startswith("http://"))


def answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/api", timeout=20) as answer:
        return bool(answer.status == 200)


@pytest.fixture
def taken(running: Project) -> Iterator[int]:
    """Ada's local port, held by another program."""
    port = int(running.seats()["ada"]["local_port"])
    with socket.create_server(("127.0.0.1", port)):
        yield port


@pytest.mark.parametrize("shell", [*SHELLS, "./"])
def test_check_is_ready(pack: Path, laptop: Laptop, shell: str) -> None:
    words = {"busybox": ["busybox", "sh"], "./": []}.get(shell, [shell])
    done = Window([*words, str(pack / "check.sh")], laptop.environment)
    with done:
        line = done.awaits("rehearsal ada")
        assert done.process.wait(timeout=10) == 0, line
    assert line.startswith("rehearsal ada ready: OpenSSH_")
    assert line.endswith("open, host key right, the notebook answers\n")
    assert list(laptop.temporary.iterdir()) == []
    assert laptop.opened == []


@pytest.mark.parametrize("script", ["connect.sh", "connect.command"])
def test_connect_opens_the_browser_once_and_ends_cleanly(
    running: Project, pack: Path, laptop: Laptop, script: str
) -> None:
    for file in pack.iterdir():
        file.chmod(0o755)  # as from a USB stick: ssh itself would refuse the key
    with Window([str(pack / script)], laptop.environment) as window:
        url = address(window.awaits("Connected."))
        assert url == f"http://localhost:{running.seats()['ada']['local_port']}"
        assert answers(url)
        children = window.children()
        assert window.interrupt() == 0
        assert window.awaits("Closed. The notebook goes on")
    assert laptop.opens() == [url]
    psutil.wait_procs(children, timeout=20)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert list(laptop.temporary.iterdir()) == []


def test_closing_the_window_ends_the_tunnel(pack: Path, laptop: Laptop) -> None:
    with laptop.connect(pack) as window:
        window.awaits("Connected.")
        ssh = window.ssh()
        window.process.send_signal(1)  # SIGHUP
        window.process.wait(timeout=20)
        psutil.wait_procs([ssh], timeout=20)  # it was told to end, and need not have ended yet
        assert not ssh.is_running() or ssh.status() == psutil.STATUS_ZOMBIE
    assert list(laptop.temporary.iterdir()) == []


def test_a_tunnel_that_drops_comes_back_on_the_same_port(pack: Path, laptop: Laptop) -> None:
    with laptop.connect(pack) as window:
        url = address(window.awaits("Connected."))
        window.ssh().kill()
        window.awaits("the connection dropped")
        assert [window.awaits("Trying again in").split()[3] for _ in range(5)] == list("54321")
        assert address(window.awaits("Connected.")) == url
        assert answers(url)
    assert laptop.opens() == [url]


def test_a_taken_port_is_passed_over(taken: int, pack: Path, laptop: Laptop) -> None:
    with laptop.connect(pack) as window:
        window.awaits(f"Port {taken} of this computer is taken")
        url = address(window.awaits("Connected."))
        assert url != f"http://localhost:{taken}"
        assert answers(url)
    assert laptop.opens() == [url]


def test_a_taken_port_without_curl_and_wget(taken: int, pack: Path, laptop: Laptop) -> None:
    # Then only ssh itself knows, and says so after its login.
    programs = Path(laptop.environment["PATH"].split(os.pathsep)[0])
    for name in ("sh", "ssh", "cp", "chmod", "cat", "grep", "tail", "tr", "mktemp", "mkfifo", "dirname", "rm", "sleep"):
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    (programs / "uname").symlink_to(shutil.which("uname") or "")
    laptop.environment["PATH"] = str(programs)
    with laptop.connect(pack, shutil.which("sh") or "sh") as window:
        url = address(window.awaits("Connected."))
        assert url != f"http://localhost:{taken}"
        assert answers(url)


def test_two_packs_on_one_laptop(running: Project, tmp_path: Path, laptop: Laptop) -> None:
    port = running.seats()["ada"]["local_port"]
    packs = [unpacked(packed(running, seat), tmp_path) for seat in ("ada", "bose")]
    for folder in packs:  # in a cloud every seat's local port is the same
        script = (folder / "connect.sh").read_text()
        first = next(line for line in script.splitlines() if line.startswith("first_port="))
        (folder / "connect.sh").write_text(script.replace(first, f"first_port='{port}'"))
    with laptop.connect(packs[0]) as one, laptop.connect(packs[1]) as other:
        urls = {address(one.awaits("Connected.")), address(other.awaits("Connected."))}
        assert len(urls) == 2
        assert all(answers(url) for url in urls)


@pytest.mark.parametrize("blocked", ["refuses", "drops"])
def test_a_blocked_port_is_passed_over(running: Project, tmp_path: Path, laptop: Laptop, blocked: str) -> None:
    good = running.seats()["ada"]["ssh_ports"][0]
    with deaf_port() as deaf, reached_at(running, "ada", closed_port() if blocked == "refuses" else deaf, good):
        pack = unpacked(packed(running, "ada"), tmp_path)
        assert f"port {good} open, host key right, the notebook answers" in laptop.check(pack).stdout
        with laptop.connect(pack) as window:
            assert answers(address(window.awaits("Connected.")))


def test_both_ports_blocked(running: Project, tmp_path: Path, laptop: Laptop) -> None:
    one, other = closed_port(), closed_port()
    with reached_at(running, "ada", one, other):
        pack = unpacked(packed(running, "ada"), tmp_path)
    done = laptop.check(pack)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("rehearsal ada NOT ready: ")
    assert f"127.0.0.1 can't be reached (port {one}: Connection refused; port {other}: Connection refused)." in last
    with laptop.connect(pack) as window:
        window.awaits("can't be reached")
        window.awaits("Trying again in 1 s")
        window.awaits("can't be reached")
        assert window.interrupt() == 0
    assert laptop.opened == []


def test_a_wrong_host_key_is_refused_with_a_sentence(pack: Path, laptop: Laptop) -> None:
    known = pack / "known_hosts"
    known.write_text(f"{known.read_text().split()[0]} {HOST_KEY}\n")
    with laptop.connect(pack) as window:
        window.awaits("Stopped: the machine at 127.0.0.1 port")
        assert window.process.wait(timeout=10) == 1
    assert "did not show the host key of this pack" in window.said
    assert "NOT ready: OpenSSH_" in (line := laptop.check(pack).stdout.splitlines()[-1])
    assert "did not show the host key" in line
    assert laptop.opened == []


def test_an_old_key_is_refused_with_a_sentence(pack: Path, laptop: Laptop) -> None:
    (pack / "id_ed25519").write_text(new_key("another")[0])
    with laptop.connect(pack) as window:
        window.awaits("Stopped: the machine does not accept the key of this pack. Ask the organiser for a new pack.")
        assert window.process.wait(timeout=10) == 1


def test_a_notebook_that_is_down_is_waited_for(running: Project, pack: Path, laptop: Laptop) -> None:
    assert running.fab("stop-notebook", "--only", "ada").returncode == 0
    done = laptop.check(pack)
    assert done.returncode == 1
    assert "the notebook on it does not answer. Tell the organiser." in done.stdout.splitlines()[-1]
    with laptop.connect(pack) as window:
        window.awaits("the notebook on it does not answer")
        assert laptop.opened == []
        assert running.fab("start-notebook", "--only", "ada").returncode == 0
        assert answers(address(window.awaits("Connected.")))


def test_started_from_within_the_zip(pack: Path, laptop: Laptop) -> None:
    (pack / "id_ed25519").unlink()
    with laptop.connect(pack) as window:
        window.awaits("id_ed25519 is missing beside this script: unpack the whole zip first")
        assert window.process.wait(timeout=10) == 1


def test_no_ssh_on_the_laptop(pack: Path, laptop: Laptop) -> None:
    programs = Path(laptop.environment["PATH"].split(os.pathsep)[0])
    for name in ("sh", "cp", "chmod", "mktemp", "dirname", "rm"):
        (programs / name).symlink_to(shutil.which(name) or "")
    laptop.environment["PATH"] = str(programs)
    done = laptop.check(pack, shutil.which("sh") or "sh")
    assert done.stdout.splitlines()[-1] == "rehearsal ada NOT ready: there is no ssh on this computer"
