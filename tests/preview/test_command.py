"""`python -m preview` as it is typed: what it prints, in each form, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.preview.stacks import AWS, AZURE, write

pytestmark = pytest.mark.timeout(600)  # each test is some runs of a program

FIFTY = [f"p{n:02}" for n in range(50)]


@pytest.fixture
def root(project: Project) -> Path:
    return project.root


@pytest.mark.parametrize("settings", [AWS, AZURE, {"cloud": "local"}], ids=lambda each: each["cloud"])
def test_fifty_seats(project: Project, root: Path, settings: dict[str, str]) -> None:
    write(root, "spring", settings, *FIFTY)
    done = project.python("-m", "preview", "spring")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("spring: 50 participants")


def test_each_form(project: Project, root: Path) -> None:
    write(root, "spring", AWS, "ada,Ada | <b>@all</b> `x`", "bose")
    text = project.python("-m", "preview", "spring")
    assert text.returncode == 0, text.stderr
    assert text.stderr == ""
    assert text.stdout.startswith("spring: 2 participants")
    assert "Ada | <b>@all</b> `x`" in text.stdout
    told = json.loads(project.python("-m", "preview", "spring", "--json").stdout)
    assert told["format"] == 1
    assert [place["id"] for place in told["places"]] == ["ada", "bose"]
    page = project.python("-m", "preview", "spring", "--markdown").stdout
    assert page.startswith("## spring: 2 participants")
    assert "| `Ada \\| <b>@all</b> 'x'` | `ada` |" in page


def test_above_its_budget_it_is_shown_and_refused(project: Project, root: Path) -> None:
    write(root, "spring", {**AWS, "budget": 500}, "ada")
    for form in ([], ["--markdown"]):
        done = project.python("-m", "preview", "spring", *form)
        assert done.returncode == 2
        assert done.stderr.startswith("Pulumi.spring.yaml: seminar:budget is 500 US dollars")
        assert "Refused" in done.stdout
        assert "Cost of the machines" in done.stdout
    write(root, "spring", {**AWS, "budget": 500, "begins": "2099-03-05 08:00 UTC"}, "ada")
    told = json.loads(project.python("-m", "preview", "spring", "--json").stdout)
    assert told["cost"] == {
        "currency": "USD",
        "per_machine_hour": "0.115",
        "source": "public price lists, docs/aws.md, 2026-11",
        "until_end": "1.15",
        "budget": 500,
    }


def test_faults_are_sentences_in_each_form(project: Project, root: Path) -> None:
    write(root, "spring", {**AWS, "size": "huge", "ends": "2020-01-01 18:00 UTC"})
    (root / "Pulumi.hidden.yaml").write_text("config:\n  seminar:region: {secure: v1:abc}\n")
    for form in ([], ["--json"], ["--markdown"]):
        done = project.python("-m", "preview", "spring", *form)
        assert done.returncode == 2
        for key in ("size", "ends", "participants"):
            assert f"Pulumi.spring.yaml: seminar:{key} " in done.stderr
            assert not form or f"Pulumi.spring.yaml: seminar:{key} " in done.stdout
        assert "Traceback" not in done.stderr
    for stack, said in (("hidden", "seminar:region is encrypted"), ("none", "There is no Pulumi.none.yaml")):
        done = project.python("-m", "preview", stack)
        assert done.returncode == 2
        assert said in done.stderr
    done = project.python("-m", "preview", "")
    assert done.returncode == 2
    assert "STACK=aws-example" in done.stderr
