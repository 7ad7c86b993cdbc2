"""`fab push` on real sshd: only what changed travels, and nothing of a participant's own is ever written over."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioning import programs, push
from stacks.errors import RequestError, SeatError
from tests.conftest import Project
from tests.provisioning.machines import Proxy, reached_at

pytestmark = [pytest.mark.xdist_group("push"), pytest.mark.timeout(400)]
AS_ROOT = pytest.mark.skipif(
    os.getuid() != 0 or sys.platform != "linux", reason="a file system of its own needs root, and Linux"
)


class Class:
    """The organiser's folder, and the working directory of ada."""

    def __init__(self, machines: Project, folder: Path) -> None:
        self.machines = machines
        self.source = folder / "week 1"
        self.source.mkdir()
        self.home = machines.machine("ada") / "home"
        self.work = self.home / "learnml"
        self.record = self.home / ".local/share/seminar/put"

    def push(self, *words: str, only: str = "ada", path: Path | None = None) -> dict[str, dict[str, Any]]:
        return self.machines.fab_json("push", str(path or self.source), "--only", only, *words)

    def ada(self, *words: str) -> dict[str, Any]:
        seat = self.push(*words)["ada"]
        assert seat["outcome"] in ("changed", "unchanged"), seat
        return seat

    def told(self, *words: str) -> str:
        """What is printed where ada's seat fails."""
        done = self.machines.fab("push", str(self.source), "--only", "ada", *words)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob("*"))


@pytest.fixture
def lesson(machines: Project, tmp_path: Path) -> Iterator[Class]:
    made = Class(machines, tmp_path)
    yield made
    for id_ in ("ada", "bose", "curie"):
        home = machines.machine(id_) / "home"
        if (home / "learnml").is_symlink():
            (home / "learnml").unlink()
        shutil.rmtree(home / "learnml", ignore_errors=True)
        (home / ".local/share/seminar/put").unlink(missing_ok=True)


def counts(seat: dict[str, Any]) -> tuple[int, int, int]:
    return seat["sent"], seat["unchanged"], seat["beside_count"]


def test_only_what_changed_travels_and_edits_stay(lesson: Class) -> None:
    begin = lesson.source / "01 Begin.ipynb"
    begin.write_text('{"cells": []}')
    (lesson.source / "run.sh").write_text("#!/bin/sh\n")
    (lesson.source / "run.sh").chmod(0o755)
    (lesson.source / "data/empty folder").mkdir(parents=True)
    (lesson.source / "data/größe – 李.csv").write_text("")
    (lesson.source / ".git").mkdir()
    seats = lesson.push(only="")
    assert {id_: counts(seat) for id_, seat in seats.items()} == dict.fromkeys(("ada", "bose", "curie"), (3, 0, 0))
    assert lesson.names() == ["01 Begin.ipynb", "data", "data/empty folder", "data/größe – 李.csv", "run.sh"]
    assert (lesson.work / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (lesson.work / "01 Begin.ipynb").stat().st_mode & 0o777 == 0o644
    seats = lesson.push(only="")
    assert {seat["outcome"] for seat in seats.values()} == {"unchanged"}
    assert counts(seats["ada"]) == (0, 3, 0)

    # Mended here, and untouched there: it is replaced.
    begin.write_text('{"cells": ["mended"]}')
    assert counts(lesson.ada()) == (1, 2, 0)
    assert (lesson.work / "01 Begin.ipynb").read_text() == begin.read_text()

    # Run there, and mended here: theirs stays, ours lies beside, once.
    (lesson.work / "01 Begin.ipynb").write_text("the participant's work")
    begin.write_text('{"cells": ["mended twice"]}')
    seat = lesson.ada()
    assert counts(seat) == (1, 2, 1)
    assert seat["beside"] == [{"own": "01 Begin.ipynb", "new": "01 Begin.new.ipynb"}]
    assert (lesson.work / "01 Begin.ipynb").read_text() == "the participant's work"
    assert (lesson.work / "01 Begin.new.ipynb").read_text() == begin.read_text()
    seat = lesson.ada()
    assert seat["outcome"] == "unchanged"
    assert counts(seat) == (0, 3, 1)
    assert "01 Begin.ipynb (the new one is 01 Begin.new.ipynb)" in seat["note"]

    # The one beside is ours until they change it, too.
    begin.write_text('{"cells": ["mended three times"]}')
    assert counts(lesson.ada()) == (1, 2, 1)
    assert (lesson.work / "01 Begin.new.ipynb").read_text() == begin.read_text()
    (lesson.work / "01 Begin.new.ipynb").write_text("worked on as well")
    seat = lesson.ada()
    assert seat["beside"][0]["new"] == "01 Begin.new-2.ipynb"
    assert (lesson.work / "01 Begin.new.ipynb").read_text() == "worked on as well"

    # Taken back to what the organiser gave: nobody's edit any more.
    shutil.copy(lesson.work / "01 Begin.new-2.ipynb", lesson.work / "01 Begin.ipynb")
    begin.write_text('{"cells": ["mended four times"]}')
    assert counts(lesson.ada()) == (1, 2, 0)
    assert (lesson.work / "01 Begin.ipynb").read_text() == begin.read_text()

    # Deleted there: it comes again.
    (lesson.work / "run.sh").unlink()
    assert counts(lesson.ada()) == (1, 2, 0)


def test_a_file_and_a_folder_within(lesson: Class) -> None:
    one = lesson.source / "-f trees.ipynb"
    one.write_text("{}")
    seat = lesson.push("--to", "week 2/more", path=one)["ada"]
    assert counts(seat) == (1, 0, 0)
    assert lesson.names() == ["week 2", "week 2/more", "week 2/more/-f trees.ipynb"]


def test_names_that_shells_trip_over(lesson: Class) -> None:
    names = ["-rf", "two\nlines", "back\\slash", "$(id)", "'", '"', "*", " ", "tab\t", ".hidden", "a" * 255]
    for name in names:
        (lesson.source / name).write_text(name)
    assert counts(lesson.ada()) == (len(names), 0, 0)
    assert counts(lesson.ada()) == (0, len(names), 0)
    for name in names:
        assert (lesson.work / name).read_text() == name
        (lesson.source / name).write_text("new")
    assert counts(lesson.ada()) == (len(names), 0, 0), "each is known again by the record"
    (lesson.work / "two\nlines").write_text("edited")
    (lesson.source / "two\nlines").write_text("newer")
    assert lesson.ada()["beside"] == [{"own": "two\\x0alines", "new": "two\\x0alines.new"}]


def test_links_are_not_followed_here(lesson: Class, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private/key").write_text("secret")
    (lesson.source / "a folder").symlink_to(tmp_path / "private")
    (lesson.source / "a file").symlink_to(tmp_path / "private/key")
    os.mkfifo(lesson.source / "pipe")
    done = lesson.machines.fab("push", str(lesson.source), "--only", "ada", "--json")
    assert "Not put: " in done.stderr
    for name in ("a folder (a link)", "a file (a link)", "pipe (no file)"):
        assert name in done.stderr
    assert counts(json.loads(done.stdout)["seats"][0]) == (0, 0, 0)


def test_links_on_the_machine_lead_nowhere(lesson: Class, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    lesson.work.mkdir()
    (lesson.work / "data").symlink_to(outside)
    (lesson.work / "kept").symlink_to(outside / "kept")
    (lesson.work / ".seminar.part").symlink_to(outside / "kept")
    (lesson.source / "data").mkdir()
    for name in ("data/a.csv", "data/b.csv", "kept"):
        (lesson.source / name).write_text("new")
    told = lesson.told()
    assert "ada: 3 files or folders were not put, for there is no folder where one is needed: data; " in told
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"kept": "kept"}
    assert (lesson.work / "kept").is_symlink()
    assert (lesson.work / "kept.new").read_text() == "new"


def test_things_in_the_way(lesson: Class) -> None:
    (lesson.work / "name").mkdir(parents=True)
    (lesson.work / "folder").write_text("a file")
    os.mkfifo(lesson.work / "pipe")
    for name in ("name", "pipe", "folder/x"):
        (lesson.source / name).parent.mkdir(exist_ok=True)
        (lesson.source / name).write_text("new")
    told = lesson.told()
    assert "no folder where one is needed: folder; 2 files were put and 0 were there." in told
    assert (lesson.work / "name.new").read_text() == "new"
    assert (lesson.work / "pipe.new").read_text() == "new"
    assert (lesson.work / "folder").read_text() == "a file"


def test_a_working_directory_that_is_a_link_of_its_participant(lesson: Class, tmp_path: Path) -> None:
    (tmp_path / "larger disk").mkdir()
    lesson.work.symlink_to(tmp_path / "larger disk")
    (lesson.source / "a").write_text("a")
    assert counts(lesson.ada()) == (1, 0, 0)
    assert (tmp_path / "larger disk/a").read_text() == "a"


def test_a_working_directory_that_can_not_be_made(lesson: Class) -> None:
    lesson.work.write_text("a file with that name")
    (lesson.source / "a").write_text("a")
    assert "ada: the working directory learnml can't be made; something else has that name" in lesson.told()
    lesson.work.unlink()


@AS_ROOT
@pytest.mark.parametrize("options", ["size=1200k", "size=3m,ro"])
def test_a_full_or_read_only_disk(lesson: Class, options: str) -> None:
    (lesson.source / "small").write_text("small")
    (lesson.source / "big").write_bytes(random.Random(1).randbytes(1_000_000))
    lesson.work.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", options, "tmpfs", lesson.work), check=True)
    try:
        (lesson.source / "zeros").write_bytes(bytes(2_000_000))
        told = lesson.told()
        assert not list(lesson.work.rglob("*")), "nothing half-written"
        if "ro" in options:
            assert "ada: learnml can't be written on the machine (Read-only file system): 3 MiB are free" in told
        else:
            assert "ada: the files need 3 MiB and 1 MiB are free on the machine; nothing was put." in told
    finally:
        subprocess.run(("umount", "--lazy", lesson.work), check=True)
    assert counts(lesson.ada()) == (3, 0, 0)


@AS_ROOT
def test_a_disk_that_fills_meanwhile(lesson: Class) -> None:
    """What a file needs may be more than its size; what was put stays, and the next run goes on."""
    (lesson.source / "a").write_text("small")
    for number in range(200):
        (lesson.source / f"file {number:03}").write_text("a block each")
    lesson.work.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=50", "tmpfs", lesson.work), check=True)
    try:
        told = lesson.told()
        assert "(No space left on device)" in told
        assert "files were put; free space there, then run this again." in told
        assert not list(lesson.work.glob(".seminar*"))
        subprocess.run(("mount", "-o", "remount,nr_inodes=500", lesson.work), check=True)
        sent, unchanged, beside = counts(lesson.ada())
        assert sent + unchanged == 201
        assert unchanged > 0
        assert beside == 0
    finally:
        subprocess.run(("umount", "--lazy", lesson.work), check=True)


def test_a_transfer_that_breaks_off_is_tried_again(lesson: Class) -> None:
    for number in range(8):
        (lesson.source / f"{number}.bin").write_bytes(random.Random(number).randbytes(100_000))
    port = int(lesson.machines.seats()["ada"]["ssh_ports"][0])
    with Proxy(port, resets=1, after=400_000) as proxy, reached_at(lesson.machines, "ada", proxy.port):
        lesson.ada()
        assert proxy.connections == 2
    for path in lesson.source.iterdir():
        assert (lesson.work / path.name).read_bytes() == path.read_bytes()
    assert len(lesson.names()) == 8


def test_what_was_put_does_not_travel_again(lesson: Class) -> None:
    """The machine's program ends in the middle; the next run puts the rest."""
    for number in range(8):
        (lesson.source / f"{number}").write_text(str(number))
    script = lesson.machines.root / "provisioning/scripts/push.py"
    kept = script.read_text()
    receiving = "            self.receive(folder, file)\n"
    assert receiving in kept
    script.write_text(
        kept.replace(receiving, f"            if self.sent == 5:\n                sys.exit(0)\n{receiving}")
    )
    try:
        assert "ada: push ended with status 0 and no answer." in lesson.told()
    finally:
        script.write_text(kept)
    assert counts(lesson.ada()) == (3, 5, 0)


def test_a_transfer_that_stalls_is_noticed(lesson: Class) -> None:
    (lesson.source / "a.bin").write_bytes(random.Random(1).randbytes(4_000_000))
    code = "from provisioning import programs, fleet, tasks; programs.QUIET_SECONDS = 1.0; fleet.RETRY_SECONDS = (); "
    code += f"import invoke; tasks.push(invoke.Context(), {str(lesson.source)!r}, only='ada')"
    port = int(lesson.machines.seats()["ada"]["ssh_ports"][0])
    with Proxy(port, stalls=200_000) as proxy, reached_at(lesson.machines, "ada", proxy.port):
        done = lesson.machines.python("-c", code)
    assert "ada: nothing has moved for 1 seconds." in done.stdout, done.stdout + done.stderr
    assert counts(lesson.ada()) == (1, 0, 0)


def test_a_request_that_can_not_be(machines: Project, tmp_path: Path) -> None:
    for words, said in (
        (("nowhere",), "'nowhere' is not here; expected a file or a folder"),
        (("/dev/null",), "'/dev/null' is neither a file nor a folder"),
        (("/dev/null/x",), "'/dev/null/x' can't be read (Not a directory)"),
        ((".", "--to", "../up"), "--to '../up' leads out of the working directory"),
        ((".", "--to", "/tmp"), "--to '/tmp' leads out of the working directory"),
    ):
        done = machines.fab("push", *words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
    source = os.fsencode(tmp_path / "names")
    os.mkdir(source)
    for name in (b"/caf\xe9.ipynb", b"/na\xefve"):
        with open(source + name, "w"):
            pass
    with pytest.raises(RequestError) as told:
        push.select(os.fsdecode(source))
    assert len(told.value.faults) == 2
    assert "is a name that is no UTF-8; rename the file" in told.value.faults[0]


def test_a_file_that_changes_here_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "stack_folder", lambda stack: tmp_path / "spool")
    (tmp_path / "a").write_text("a")
    selection = push.select(str(tmp_path / "a"))
    (tmp_path / "a").write_text("b")
    with push.Packed("push-test") as packed, pytest.raises(SeatError, match="was changed on this computer"):
        list(packed.pieces(selection.files[0]))


def test_the_program_stands_alone() -> None:
    """What is sent needs nothing of the project."""
    for name in ("push",):
        program = programs.parameters(name)["program"]
        assert "provisioning" not in program
        assert len(program) < 100_000, "one argument takes 128 KiB"
        compile(program, name, "exec")
