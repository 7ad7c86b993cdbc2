"""The morning in one command: stopped at each of its steps, and gone on with; and a seat that fails holds up nobody."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.conftest import FAB, NO_CLI, Project


def read_until(fab: subprocess.Popen[str], text: str) -> str:
    """Read what it says until a line has the text; returns all of it."""
    assert fab.stdout is not None
    said = ""
    for line in fab.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said, but:\n{said}")


def interrupt(fab: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C, as a terminal does: all that runs there gets it. Returns the exit code and the last words."""
    os.killpg(fab.pid, signal.SIGINT)
    assert fab.stdout is not None
    said = fab.stdout.read()
    return fab.wait(timeout=60), said


@pytest.mark.timeout(400)
def test_the_morning_stopped_at_each_step_and_gone_on_with(project: Project) -> None:
    for step in ("Bringing up 3 machines", "2/4  Their notebooks"):
        fab = project.popen(FAB, "begin", "--no-browser")
        assert read_until(fab, step).startswith("No seminar was named and none is up: this is the rehearsal,")
        code, said = interrupt(fab)
        assert code == 1, said
        assert "Traceback" not in said
        assert "running this again goes on from here." in said
    fab = project.popen(FAB, "begin", "--no-browser")
    said = read_until(fab, "The board: http://127.0.0.1:")
    assert "3 of 3 seats are well." in said
    assert "To send: ada, bose, curie." in said
    code, last = interrupt(fab)
    assert (code, last.strip().splitlines()[-1]) == (0, "The board is closed.")
    pids = {
        id_: (project.machine(id_) / "home/.local/share/seminar/notebook.pid").read_text() for id_ in project.seats()
    }

    done = project.fab("begin", "--no-board")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓ unchanged") == 3
    assert "`fab board --stack rehearsal` shows it." in done.stdout
    for id_, pid in pids.items():
        assert (project.machine(id_) / "home/.local/share/seminar/notebook.pid").read_text() == pid


def test_a_seat_that_fails_holds_up_nobody(project: Project) -> None:
    assert project.up().returncode == 0
    (project.machine("bose") / "home" / "learnml").write_text("in the way")
    done = project.fab("begin", "--no-board")
    assert done.returncode == 1
    assert "bose: the working directory learnml can't be made; something else has that name" in done.stdout
    assert "2 of 3 seats are well." in done.stdout
    assert "Again for the others: fab start-notebook --stack rehearsal --failed" in done.stdout
    assert sorted(path.stem for path in (project.root / "packs/rehearsal").glob("*.zip")) == ["ada", "bose", "curie"]


def test_what_can_t_begin(project: Project) -> None:
    project.roster("ada,Ada", "ada,Another")
    done = project.fab("begin", "--no-board")
    assert done.returncode == 2
    assert "roster.csv" in done.stderr
    assert "Nothing was done; what is wrong stands above." in done.stderr
    cloud = project.fab("begin", "--stack", "spring")
    assert cloud.returncode == 2
    assert "The Pulumi CLI is not on PATH; `make pulumi` installs it into .venv." in cloud.stderr
    assert project.fab("begin", "--wait", "soon").returncode == 2
    assert not (project.root / "packs").exists()


def test_cli_asks_before_it_makes_machines(either: Project) -> None:
    if either.engine != "cli":
        pytest.skip("only the CLI asks")
    done = either.fab("begin", "--stack", "spring")
    assert done.returncode == 2, NO_CLI
    assert "`pulumi up` asks before it makes machines, and there is no terminal to ask on; say --yes" in done.stderr
    unknown = either.fab("begin", "--stack", "spring", "--yes")
    assert unknown.returncode == 1
    assert "no stack named 'spring' found" in unknown.stderr
    assert "The machines were not all made; why stands above." in unknown.stderr
