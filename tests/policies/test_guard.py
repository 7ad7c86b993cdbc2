"""What breaks a guard rail is refused before the engine hears of it; through the real engine, nothing is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.doubles.account import an_account
from tests.seminar import NEEDS
from tests.stacks.test_aws_engine import OnAws, everything


@pytest.fixture
def seminar(tmp_path: Path) -> Iterator[OnAws]:
    with an_account() as account:
        yield OnAws(tmp_path, account)


class TestWithTheEngine:
    pytestmark = NEEDS

    def test_refused_by_preview_and_by_up(self, seminar: OnAws) -> None:
        seminar.set(budget=1)
        told = seminar.refused()
        assert "seminar:budget is 1 US dollars, and 2 machines of type m6i.large for 0.115 an hour cost up to" in told
        assert everything(seminar.account) == {}

        seminar.set(budget=100_000, price_per_hour=0.5)
        assert seminar.planned()["create"] > 0
        source = seminar.project.root / "stacks" / "aws.py"
        source.write_text(source.read_text().replace("encrypted=True", "encrypted=False"))
        done = seminar.project.run("pulumi", "up", "--yes", "--non-interactive", "--stack", "class")
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert "has a disk that is not encrypted; expected encrypted: true for each." in told
        assert "Traceback" not in told
        assert everything(seminar.account) == {}
        assert "has a disk that is not encrypted" in seminar.refused()  # without the preview that `up` begins with
        assert seminar.machines() == {}


def test_a_rehearsal_is_guarded_as_well(project: Project) -> None:
    source = project.root / "policies" / "rules.py"
    source.write_text(source.read_text().replace('    "pulumi-python:dynamic:LocalMachine",\n', ""))
    done = project.up()
    assert done.returncode != 0
    said = "machine-(ada|bose|curie): pulumi-python:dynamic:LocalMachine is a kind that no guard rail knows"
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
    assert project.processes() == []
