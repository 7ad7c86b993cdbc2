"""`--against` as it is typed, in a git checkout: what is read from the other revision, and the exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, copy_project
from tests.preview.stacks import AWS, roster, write

pytestmark = pytest.mark.timeout(600)  # each test is some runs of a program


class Checkout:
    """A checkout of the project with a seminar committed, whose files a test changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._project = Project(root)

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a seminar")

    def preview(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._project.python("-m", "preview", *words)

    def against(self, stack: str, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit code with --fail-on-replace, and what is told."""
        done = self.preview(stack, "--against", "HEAD", "--fail-on-replace", "--json", *words)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    root = copy_project(tmp_path_factory.mktemp("checkout") / "a seminar")
    for heavy in ("docs", "bench", "tests"):
        shutil.rmtree(root / heavy)
    (root / ".gitignore").write_text(".venv\n.seminar\n__pycache__\n")
    write(root, "spring", AWS, "ada", "bose")
    write(root, "over", {**AWS, "ends": "2020-03-05 18:00 UTC"}, "ada")
    write(root, "broken", {**AWS, "sise": "huge"}, "ada")
    checkout = Checkout(root)
    checkout.git("init", "--quiet")
    checkout.commit()
    return checkout


@pytest.fixture
def here(committed: Checkout) -> Checkout:
    """The checkout as it was committed."""
    committed.git("reset", "--quiet", "--hard")
    committed.git("clean", "--quiet", "--force", "-d")
    return committed


def test_roster_and_settings_are_read_from_the_revision(here: Checkout) -> None:
    code, told = here.against("spring")
    assert (code, told["against"]["seats"]) == (0, [])

    roster(here.root / "spring.csv", "bose,Satyen", "ada", "late")
    code, told = here.against("spring")
    assert code == 0
    assert {seat["id"]: (seat["before"], seat["after"], seat["machine"]) for seat in told["against"]["seats"]} == {
        "bose": ("Name of bose", "Satyen", ""),
        "late": (None, "Name of late", "created"),
    }

    (here.root / "spring.csv").rename(here.root / "people.csv")
    write(here.root, "spring", {**AWS, "roster": "people.csv", "size": "cpu-large"})
    roster(here.root / "people.csv", "ada")
    code, told = here.against("spring")
    assert (code, told["against"]["lost"]) == (1, ["bose"])
    page = here.preview("spring", "--against", "HEAD", "--markdown").stdout
    assert "**1 running seat would be lost to whoever sits there, with all files: bose.**" in page
    assert "| `Name of bose` | `bose` | **deleted** |" in page
    assert here.preview("spring", "--against", "HEAD").returncode == 0  # nobody asked for more


def test_a_new_seminar_and_a_deleted_one(here: Checkout) -> None:
    write(here.root, "autumn", AWS, "ada")
    code, told = here.against("autumn")
    assert (code, told["against"]["is_new"]) == (0, True)

    (here.root / "Pulumi.spring.yaml").unlink()
    code, told = here.against("spring")
    assert (code, told["against"]["lost"]) == (1, ["ada", "bose"])
    assert "`pulumi destroy --stack spring` removes them" in told["against"]["notes"][0]
    assert here.preview("spring", "--against", "HEAD").stdout.startswith("spring: deleted by this change")

    (here.root / "Pulumi.over.yaml").unlink()
    assert here.against("over")[0] == 0  # its end was past


def test_what_was_past_or_broken_there(here: Checkout) -> None:
    write(here.root, "over", AWS, "ada")
    code, told = here.against("over")
    assert (code, told["against"]["lost"]) == (0, [])
    assert told["against"]["settings"] == {"ends": ["2020-03-05 18:00 UTC", AWS["ends"]]}

    write(here.root, "broken", AWS, "ada")
    code, told = here.against("broken")
    assert code == 1  # nobody can tell
    assert "seminar:sise is not a setting" in told["against"]["faults"][0]
    assert told["places"]
    (here.root / "Pulumi.broken.yaml").unlink()
    code, told = here.against("broken")
    assert (code, len(told["against"]["faults"])) == (1, 1)


def test_every_seminar_that_a_change_touches(here: Checkout) -> None:
    def changed(*words: str) -> tuple[int, str]:
        done = here.preview("--changed", "--against", "HEAD", *words)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    code, told = changed("--markdown")
    assert code == 0
    assert told.startswith("No seminar is touched by this change")
    assert json.loads(changed("--json")[1])["stacks"] == []

    roster(here.root / "spring.csv", "ada", "bose", "late")
    write(here.root, "autumn", {**AWS, "cloud": "azure", "region": "westeurope"}, "ada")
    (here.root / "Pulumi.over.yaml").unlink()
    code, told = changed("--json", "--fail-on-replace")
    assert code == 0
    assert [report["stack"] for report in json.loads(told)["stacks"]] == ["autumn", "over", "spring"]
    assert changed("--names", "any") == (0, "autumn\nspring\n")
    assert changed("--names", "azure") == (0, "autumn\n")
    assert [line for line in changed("--markdown")[1].splitlines() if line.startswith("## ")] == [
        "## autumn: 1 participant on Azure in westeurope",
        "## over: deleted by this change",
        "## spring: 3 participants on AWS in eu-central-1",
    ]
    write(here.root, "spring", {**AWS, "size": "huge"}, "ada")
    assert changed()[0] == 2


def test_faults_are_sentences(here: Checkout, tmp_path: Path) -> None:
    write(here.root, "spring", {**AWS, "size": "huge"}, "ada")
    code, told = here.against("spring")
    assert code == 2
    assert "seminar:size is 'huge'" in told["faults"][0]
    for words, said in (
        (("spring", "--against", "no-such-branch"), "--against is 'no-such-branch', which this checkout does not have"),
        (("spring", "--against=--all"), "--against is '--all'"),
        (("none", "--against", "HEAD"), "There is no Pulumi.none.yaml"),
        (("spring", "--fail-on-replace"), "--fail-on-replace came without --against"),
        (("--changed",), "--changed came without --against"),
    ):
        done = here.preview(*words)
        assert done.returncode == 2
        assert said in done.stderr
    outside = copy_project(tmp_path / "no checkout")
    done = Project(outside, env={"GIT_CEILING_DIRECTORIES": str(tmp_path)}).python(
        "-m", "preview", "rehearsal", "--against", "HEAD"
    )
    assert done.returncode == 2
    assert "is not a git checkout" in done.stderr
