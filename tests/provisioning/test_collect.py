"""`fab collect` on real sshd: every archive is whole and provable, and what is not in it is said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioning import archive, programs
from provisioning.archive import ArchiveError, Work
from tests.conftest import STACK, Project
from tests.provisioning.machines import Proxy, reached_at

pytestmark = [pytest.mark.xdist_group("collect"), pytest.mark.timeout(400)]
AS_ROOT = pytest.mark.skipif(
    os.getuid() != 0 or sys.platform != "linux", reason="a file system of its own needs root, and Linux"
)
NOT_ROOT = pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")


class Seat:
    """ada's work on the machine, and what was collected of it."""

    def __init__(self, machines: Project) -> None:
        self.machines = machines
        self.home = machines.machine("ada") / "home"
        self.work = self.home / "learnml"
        self.folder = machines.root / "collected" / STACK / "ada"

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def collect(self, *words: str) -> dict[str, Any]:
        seat = self.machines.fab_json("collect", "--only", "ada", *words)["ada"]
        assert seat["outcome"] in ("changed", "unchanged"), seat
        return seat

    def told(self, *words: str) -> str:
        """What is printed where ada's seat fails."""
        done = self.machines.fab("collect", "--only", "ada", *words)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """The newest archive's files, unpacked by another program than the one that wrote them."""
        with zipfile.ZipFile(archive.archives(self.folder)[-1]) as newest:
            assert newest.testzip() is None
            return {name: newest.read(name) for name in newest.namelist()}

    def names(self) -> set[str]:
        return {name.removeprefix("work/") for name in self.files() if name.startswith("work/")}

    def text(self) -> str:
        return self.files()["COLLECTED.txt"].decode()


@pytest.fixture
def ada(machines: Project) -> Iterator[Seat]:
    seat = Seat(machines)
    seat.work.mkdir()
    yield seat
    shutil.rmtree(seat.work, ignore_errors=True)
    shutil.rmtree(machines.root / "collected", ignore_errors=True)
    shutil.rmtree(seat.home / ".local/share/seminar", ignore_errors=True)


def test_an_archive_with_checksums_and_again(ada: Seat, tmp_path: Path) -> None:
    ada.put("01 Begin.ipynb", '{"cells": []}')
    ada.put("data/größe – 李.csv", "1\n")
    ada.put("run.sh", "#!/bin/sh\n").chmod(0o755)
    ada.put("empty file", "")
    (ada.work / "empty folder").mkdir()
    first = ada.collect()
    assert (first["outcome"], first["files"]) == ("changed", 4)
    path = Path(first["archive"])
    assert path.parent == ada.folder
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (ada.folder, ada.folder.parent, ada.folder.parent.parent)} == {
        0o700
    }
    done = subprocess.run(("sha256sum", "-c", path.name + ".sha256"), cwd=ada.folder, capture_output=True, check=False)
    assert done.returncode == 0
    with zipfile.ZipFile(path) as found:
        found.extractall(tmp_path)
        assert found.getinfo("work/run.sh").external_attr >> 16 & 0o111
    done = subprocess.run(("sha256sum", "-c", "--quiet", "SHA256SUMS"), cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "work/data/größe – 李.csv").read_text() == "1\n"
    assert (tmp_path / "work/empty folder").is_dir()
    assert sorted(os.listdir(ada.folder)) == [".lock", path.name, path.name + ".sha256"]

    again = ada.collect()
    assert (again["outcome"], again["archive"], again["fetched_bytes"]) == ("unchanged", str(path), 0)

    # Only what is new travels; what was collected before comes out of the archive that is here.
    ada.put("02.ipynb", "new")
    (ada.work / "run.sh").rename(ada.work / "go.sh")
    third = ada.collect()
    assert (third["outcome"], third["files"], third["fetched_bytes"]) == ("changed", 5, 3)
    assert third["archive"] > str(path)
    assert path.exists(), "older ones are kept"
    assert ada.files()["work/go.sh"] == b"#!/bin/sh\n"
    assert "work/run.sh" not in ada.files()


def test_what_is_left_out_is_said(ada: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        ".ipynb_checkpoints/a.ipynb",
        "deep/__pycache__/a.pyc",
        "node_modules/x/y.js",
        "venv/pyvenv.cfg",
        "venv/bin/python",
        "venv/lib/python3/site.py",
        "venv/inside.ipynb",
        "mycache/CACHEDIR.TAG",
        "mycache/big",
        "work.ipynb",
        ".git/HEAD",
    ):
        ada.put(name, name)
    ada.put("data.bin", bytes(3 << 20))
    with open(ada.work / "sparse", "wb") as file:
        file.truncate(1 << 40)
    (ada.work / "link").symlink_to("/etc/passwd")
    os.mkfifo(ada.work / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        with monkeypatch.context() as here:
            here.chdir(ada.work)  # a socket's path must be short
            listener.bind("socket")
        seat = ada.collect("--largest-mib", "2")
    assert ada.names() == {"venv/pyvenv.cfg", "venv/inside.ipynb", "work.ipynb", ".git/HEAD", "deep/"} - {"deep/"}
    assert seat["note"] == "left out for their size: data.bin (3 MiB), sparse (1048576 MiB)"
    text = ada.text()
    for line in (
        "Too large:\n  data.bin (3 MiB)\n",
        "  deep/__pycache__\n",
        "  venv/bin\n",
        "  link -> /etc/passwd\n",
        "No file:\n  pipe\n  socket\n",
    ):
        assert line in text
    assert ada.collect("--largest-mib", "4")["files"] == 5
    assert "data.bin" in ada.names()


def test_what_the_organiser_gave_is_left_out_until_it_is_changed(ada: Seat, tmp_path: Path) -> None:
    for name in ("given.csv", "given.ipynb"):
        (tmp_path / name).write_text(name)
    assert ada.machines.fab("push", str(tmp_path), "--only", "ada").returncode == 0
    ada.put("given.ipynb", "worked on")
    ada.put("own.ipynb", "own")
    ada.collect()
    assert ada.names() == {"given.ipynb", "own.ipynb"}
    assert "As the organiser gave it:\n  given.csv\n" in ada.text()
    ada.collect("--given")
    assert ada.names() == {"given.csv", "given.ipynb", "own.ipynb"}


def test_names_that_trip_others_over(ada: Seat) -> None:
    names = [b"two\nlines", b"back\\..\\slash", b"c:evil", b"caf\xe9.ipynb", b"-rf", b"$(id)", b" ", b"a" * 255, b"%0a"]
    for name in names:
        with open(os.fsencode(ada.work) + b"/" + name, "wb") as file:
            file.write(name)
    assert ada.collect()["files"] == len(names)
    assert ada.names() == {
        *("two%0alines", "back%5c..%5cslash", "c%3aevil", "caf%e9.ipynb"),
        *("-rf", "$(id)", " ", "a" * 255, "%0a"),
    }
    assert ada.files()["work/caf%e9.ipynb"] == b"caf\xe9.ipynb"
    assert "  caf\\xe9.ipynb is work/caf%e9.ipynb\n" in ada.text()
    assert ada.collect()["outcome"] == "unchanged"


def test_no_working_directory_yet_and_one_that_was_moved(ada: Seat) -> None:
    ada.work.rmdir()
    seat = ada.collect()
    assert (seat["files"], seat["note"]) == (0, "there is no working directory yet, so that the archive is empty")
    assert ada.collect()["outcome"] == "unchanged"
    (ada.home / ".local/share/seminar").mkdir(parents=True, exist_ok=True)
    (ada.home / ".local/share/seminar/put").touch()
    assert "ada: the working directory learnml is gone: it was moved, or removed" in ada.told()


@NOT_ROOT
def test_what_can_not_be_read_is_said_where_modes_count(ada: Seat) -> None:
    ada.put("closed", "x").chmod(0)
    assert "ada: could not be read: closed (Permission denied); the rest is in " in ada.told()


def test_what_can_not_be_read_is_said(ada: Seat) -> None:
    """A file whose reading fails, also for root."""
    ada.put("good", "good")
    ada.put("bad", "bad")
    opening = "    if not stat.S_ISREG(os.fstat(file)"
    with program(
        ada, opening, f'    if name == b"bad":\n        raise PermissionError(13, "Permission denied")\n{opening}'
    ):
        assert "ada: could not be read: bad (Permission denied); the rest is in " in ada.told()
        assert "ada: could not be read: bad" in ada.told(), "the second time as well"
    assert ada.names() == {"good"}
    assert "Could not be read:\n  bad (Permission denied)\n" in ada.text()
    assert ada.collect()["fetched_bytes"] == 3


@contextmanager
def program(ada: Seat, text: str, instead: str) -> Iterator[None]:
    """The machine's program with another text in one place."""
    script = ada.machines.root / "provisioning/scripts/collect.py"
    kept = script.read_text()
    assert kept.count(text) == 1
    script.write_text(kept.replace(text, instead))
    try:
        yield
    finally:
        script.write_text(kept)


def test_a_file_that_changes_while_it_is_read(ada: Seat) -> None:
    """One that is written all the time is kept as it was read, and named; the next collection looks again."""
    log = ada.put("train.log", "a line\n")
    ada.put("twin of it", "a line\n")
    grows = f"open({str(log)!r}, 'ab').write(b'another\\n')"
    with program(ada, "    found, size, packer =", f"    {grows}\n    found, size, packer ="):
        told = ada.told()
    assert "ada: could not be read: twin of it (it changed while it was read; collect again)" in told
    log.write_bytes(b"a longer line\n")
    with program(ada, "    found, size, packer =", f"    {grows}\n    found, size, packer ="):
        seat = ada.collect()
    assert seat["note"] == "changed while read, and kept as read: train.log"
    assert "Changed while it was read, and is here as it was read:\n  train.log\n" in ada.text()
    assert [file.changed for file in archive.prove(ada.folder).work.files] == [True, False]
    seat = ada.collect()
    assert (seat["outcome"], seat["note"]) == ("changed", "")
    assert ada.files()["work/train.log"] == log.read_bytes()


def test_a_transfer_that_breaks_off_is_tried_again(ada: Seat) -> None:
    for number in range(8):
        ada.put(f"{number}.bin", random.Random(number).randbytes(200_000))
    port = int(ada.machines.seats()["ada"]["ssh_ports"][0])
    with Proxy(port, answers_reset=1, after=1_000_000) as proxy, reached_at(ada.machines, "ada", proxy.port):
        seat = ada.collect()
        assert proxy.connections == 2
    assert seat["files"] == 8
    assert not (ada.folder / ".part").exists()


def test_what_has_arrived_does_not_travel_again(ada: Seat) -> None:
    """The machine's program ends in the middle; the next run fetches the rest."""
    for number in range(8):
        ada.put(f"{number}.bin", random.Random(number).randbytes(200_000))
    sending = "    for again in (False, True):\n"
    with program(ada, sending, f"    if number == 5:\n        sys.exit(0)\n{sending}"):
        assert "ada: collect ended with status 0 and no answer." in ada.told()
    assert archive.archives(ada.folder) == []
    assert ada.collect()["fetched_bytes"] == 600_000
    assert ada.names() == {f"{number}.bin" for number in range(8)}


def test_a_transfer_that_stalls_is_noticed(ada: Seat) -> None:
    ada.put("a.bin", random.Random(1).randbytes(4_000_000))
    code = "from provisioning import programs, fleet, tasks; programs.QUIET_SECONDS = 1.0; fleet.RETRY_SECONDS = (); "
    code += "import invoke; tasks.collect(invoke.Context(), only='ada')"
    port = int(ada.machines.seats()["ada"]["ssh_ports"][0])
    with Proxy(port, stalls=200_000) as proxy, reached_at(ada.machines, "ada", proxy.port):
        done = ada.machines.python("-c", code)
    assert "ada: nothing has moved for 1 seconds." in done.stdout, done.stdout + done.stderr
    assert archive.archives(ada.folder) == []


@AS_ROOT
def test_a_full_disk_here(ada: Seat) -> None:
    ada.put("small", "small")
    ada.collect()
    older = archive.prove(ada.folder)
    kept = ada.folder.parent.with_name("kept")
    ada.put("big.bin", random.Random(1).randbytes(3_000_000))
    shutil.copytree(ada.folder.parent, kept)
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", ada.folder.parent), check=True)
    try:
        shutil.copytree(kept, ada.folder.parent, dirs_exist_ok=True)
        assert "ada: its work may need 6 MiB on this computer, and 3 MiB are free in" in ada.told()
        # There is room for what travels, and none for the archive beside it.
        code = "from provisioning import collect, tasks; collect._Fetch._refuse_unless_room = lambda *_: None; "
        code += "import invoke; tasks.collect(invoke.Context(), only='ada')"
        done = ada.machines.python("-c", code)
        assert "ada: the work can't be kept on this computer (No space left on device): " in done.stdout, done.stderr
        assert archive.prove(ada.folder).sha256 == older.sha256
        assert sorted(os.listdir(ada.folder)) == [".lock", older.path.name, older.path.name + ".sha256"]
    finally:
        subprocess.run(("umount", "--lazy", ada.folder.parent), check=True)
    assert ada.collect()["files"] == 2


def test_a_damaged_archive_is_seen_and_made_anew(ada: Seat) -> None:
    ada.put("a", "a" * 1000)
    path = Path(ada.collect()["archive"])
    whole = path.read_bytes()
    assert archive.prove(ada.folder).path == path
    for damaged in (whole[:-1], b"", whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match="is damaged: its checksum is not the one beside it"):
            archive.prove(ada.folder)
    assert ada.collect()["outcome"] == "changed"
    assert archive.prove(ada.folder).path != path


def test_an_archive_that_was_made_up_is_seen(ada: Seat) -> None:
    """The checksum beside it is right, and what is inside is not what its list says."""
    ada.put("a", "a")
    path = Path(ada.collect()["archive"])
    for change in ({"work/a": b"b"}, {"work/more": b"x"}, {"work/a": None}, {"collected.json": b"{}"}):
        with zipfile.ZipFile(path) as old:
            members: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path.with_suffix(".made"), "w") as made:
            for name, content in {**members, **change}.items():
                if content is not None:
                    made.writestr(name, content)
        forged = path.with_name("ada-20990101T000000Z.zip")
        path.with_suffix(".made").rename(forged)
        sha256 = hashlib.sha256(forged.read_bytes()).hexdigest()
        forged.with_name(forged.name + ".sha256").write_text(f"{sha256}  {forged.name}\n")
        with pytest.raises(ArchiveError):
            archive.prove(ada.folder)


def test_a_machine_that_lies_is_refused(ada: Seat) -> None:
    """It is its participant's: what it tells is looked at before anything is written."""
    file = {"name": "a", "sha256": "0" * 64, "size": 1, "mtime": 0, "executable": False}
    told = {"files": [file], "folders": [], "left_out": [], "unreadable": [], "fingerprint": "", "absent": False}
    assert Work.from_dict(told).files[0].member == "work/a"
    for change in (
        {"name": "../a"},
        {"name": "/a"},
        {"name": "a//b"},
        {"name": "a/./b"},
        {"name": ""},
        {"name": "a\0b"},
        {"name": 1},
        {"sha256": "../../x"},
        {"size": -1},
        {"size": None},
        {"mtime": float("inf")},
    ):
        with pytest.raises(ValueError, match=r"."):
            Work.from_dict({**told, "files": [{**file, **change}]})
    ada.put("a", "a")
    packed = "waiting += packer.compress(piece) if piece else packer.flush()"
    for text, instead in (
        ('"name": shown(name), "sha256": sha256', '"name": "../" + shown(name), "sha256": sha256'),
        (packed, packed.replace("(piece)", "(bytes(100_000_000))")),
        ('tell(state="file", file=number', 'tell(state="file", file=number + 1'),
        ("sha256=sha256, **{", 'sha256="f" * 64, **{'),
    ):
        code = "from provisioning import fleet, tasks; fleet.RETRY_SECONDS = (); import invoke; "
        with program(ada, text, instead):
            done = ada.machines.python("-c", code + "tasks.collect(invoke.Context(), only='ada')")
        assert "✗ failed" in done.stdout, instead
        assert "unexpected" not in done.stdout
        assert archive.archives(ada.folder) == []
    assert not (ada.folder.parent / "a").exists()
    assert ada.collect()["files"] == 1


def test_two_at_once(ada: Seat) -> None:
    ada.put("a.bin", random.Random(1).randbytes(5_000_000))
    port = int(ada.machines.seats()["ada"]["ssh_ports"][0])
    with Proxy(port, stalls=200_000) as proxy, reached_at(ada.machines, "ada", proxy.port):
        first = ada.machines.popen(str(Path(sys.prefix) / "bin/fab"), "collect", "--only", "ada")
        deadline = time.monotonic() + 120
        while not (ada.folder / ".part/arriving").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "another run is collecting this seat's work right now" in ada.told()
        first.kill()
        first.wait()
    assert ada.collect()["files"] == 1


def test_a_request_that_can_not_be(machines: Project) -> None:
    done = machines.fab("collect", "--largest-mib", "10 MB")
    assert done.returncode == 2
    assert "--largest-mib '10 MB' is no size in MiB; expected 0 (any) or more, such as 500." in done.stderr


def test_all_seats_and_what_is_printed(machines: Project) -> None:
    done = machines.fab("collect")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 seats are well." in done.stdout
    assert "The archives are in collected/rehearsal/." in done.stdout
    told = json.loads(machines.fab("collect", "--json").stdout)
    assert {seat["outcome"] for seat in told["seats"]} == {"unchanged"}
    assert (
        machines.run("git", "--version").returncode != 0 or "/collected/" in (machines.root / ".gitignore").read_text()
    )


def test_the_program_stands_alone() -> None:
    program = programs.parameters("collect")["program"]
    assert "provisioning" not in program
    assert len(program) < 100_000, "one argument takes 128 KiB"
    compile(program, "collect", "exec")
