"""The workflows: each action pinned by its commit, the least rights, and nobody's text in a shell."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.folders import PROJECT_ROOT

WORKFLOWS = sorted((PROJECT_ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (PROJECT_ROOT / "Makefile").read_text()
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def jobs(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def test_they_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "comment", "preview"]


@each
def test_actions_are_pinned_and_say_their_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@each
def test_rights_are_the_least(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] in ({}, {"contents": "read"})
    for name, job in jobs(path).items():
        rights = job.get("permissions", {})
        writes = [right for right, level in rights.items() if level == "write"]
        assert writes == {"comment": ["pull-requests"], "on-aws": ["id-token"], "on-azure": ["id-token"]}.get(name, [])
        assert job["timeout-minutes"] <= 60
        if "id-token" in writes:
            assert "head.repo.full_name == github.repository" in job["if"]
            assert job["environment"] == "seminar-preview"
    assert "pull_request_target" not in path.read_text()
    for step in steps(path):
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_the_one_that_writes_has_the_code_of_the_default_branch() -> None:
    (path,) = (path for path in WORKFLOWS if path.stem == "comment")
    (checkout,) = (step for step in steps(path) if "checkout" in step.get("uses", ""))
    assert set(checkout["with"]) == {"persist-credentials"}
    assert [step["run"] for step in steps(path) if "run" in step] == [
        'python3 -m preview.comment "$RUNNER_TEMP/preview-told"'
    ]


@each
def test_what_they_run_can_be_run_by_hand(path: Path) -> None:
    for step in steps(path):
        told = step.get("run", "")
        assert "${{" not in told  # what others wrote comes as a variable, never as a part of the script
        for target in re.findall(r"^ *make ([a-z-]+)", told, re.MULTILINE):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not on PATH, and no package carries it")
def test_actionlint_has_nothing_to_say() -> None:
    done = subprocess.run(["actionlint"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
