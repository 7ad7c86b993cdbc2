"""The materials become the working directory's content; what the participant has is never overwritten."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Project


def _one_seat(project: Project, materials: str) -> Path:
    project.roster("ada,Ada Lovelace")
    project.setting("materials", materials)
    done = project.up()
    assert done.returncode == 0, done.stderr
    return project.machine("ada") / "home" / "learnml"


def _start(project: Project) -> str:
    done = project.fab_json("start-notebook")["ada"]
    assert done["outcome"] in ("changed", "unchanged"), done
    return str(done["outcome"])


def test_a_folder(project: Project) -> None:
    source = project.root / "class"
    (source / "data").mkdir(parents=True)
    (source / "01 Begin.ipynb").write_text("{}")
    (source / "data" / "größe.csv").write_text("1\n")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / ".git").mkdir()
    home = _one_seat(project, "class")
    assert _start(project) == "changed"
    assert (home / "01 Begin.ipynb").read_text() == "{}"
    assert (home / "data" / "größe.csv").read_text() == "1\n"
    assert (home / "run.sh").stat().st_mode & 0o111
    assert not (home / ".git").exists()
    assert _start(project) == "unchanged"

    (home / "01 Begin.ipynb").write_text("the participant's work")
    (source / "01 Begin.ipynb").write_text("a new version")
    (source / "02 Go on.ipynb").write_text("{}")
    assert _start(project) == "changed"
    assert (home / "01 Begin.ipynb").read_text() == "the participant's work"
    assert (home / "02 Go on.ipynb").read_text() == "{}"

    # What lay_materials laid counts as the organiser's: pushed over, unless the participant changed it.
    (source / "02 Go on.ipynb").write_text("mended")
    pushed = project.fab_json("push", "class")["ada"]
    assert (home / "02 Go on.ipynb").read_text() == "mended"
    assert [each["own"] for each in pushed["beside"]] == ["01 Begin.ipynb"]
    assert (home / "01 Begin.ipynb").read_text() == "the participant's work"
    assert _start(project) == "changed", "another version of the materials"
    assert (home / "02 Go on.ipynb").read_text() == "mended"

    shutil.rmtree(source)
    gone = project.fab("start-notebook")
    assert gone.returncode == 2
    assert "The materials 'class' are no folder here" in gone.stderr


def test_sixty_megabytes_of_data(project: Project) -> None:
    """Sent in pieces: Paramiko alone would copy all that is left for each packet, minutes of it."""
    source = project.root / "class"
    source.mkdir()
    (source / "data.bin").write_bytes(random.Random(1).randbytes(60_000_000))
    home = _one_seat(project, "class")
    began = time.monotonic()
    assert _start(project) == "changed"
    assert time.monotonic() - began < 60
    assert (home / "data.bin").read_bytes() == (source / "data.bin").read_bytes()


def test_a_git_url(project: Project, tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("there is no git on this computer")
    source = tmp_path / "class"
    source.mkdir()
    (source / "begin.ipynb").write_text("{}")
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "init", "-q", source], check=True)
    subprocess.run(["git", "-C", source, "add", "."], check=True)
    subprocess.run(["git", "-C", source, *who, "commit", "-qm", "Begin"], check=True)
    home = _one_seat(project, source.as_uri())
    assert _start(project) == "changed"
    assert (home / "begin.ipynb").read_text() == "{}"
    assert _start(project) == "unchanged"


def test_a_git_url_that_fails_is_a_sentence(project: Project) -> None:
    _one_seat(project, "file:///nowhere/class.git")
    done = project.fab("start-notebook")
    assert done.returncode == 1
    assert "ada: git can't fetch the materials from file:///nowhere/class.git" in done.stdout


def test_a_working_directory_that_can_not_be_made(project: Project) -> None:
    home = _one_seat(project, "")
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text("a file with that name")
    done = project.fab("start-notebook")
    assert done.returncode == 1
    assert "ada: the working directory learnml can't be made; something else has that name" in done.stdout
