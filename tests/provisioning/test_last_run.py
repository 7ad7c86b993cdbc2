"""`--failed` means those that were not well when the task last ran on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioning import last_run
from provisioning.fleet import Outcome, SeatResult
from tests.provisioning.machines import seat

SEATS = [seat(id_=id_) for id_ in ("ada", "bose", "curie")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(last_run, "stack_folder", lambda stack: tmp_path / stack)
    return tmp_path / "spring"


def keep(task: str, **outcomes: Outcome) -> None:
    last_run.keep("spring", task, [SeatResult(seat(id_=id_), outcome) for id_, outcome in outcomes.items()])


def failed(task: str) -> list[str]:
    return [each.id for each in last_run.failed("spring", task, SEATS)]


def test_who_failed_and_who_was_not_finished() -> None:
    assert failed("status") == []
    keep("status", ada="failed", bose="interrupted", curie="unchanged")
    assert failed("status") == ["ada", "bose"]
    assert failed("run") == [], "each task has its own"


def test_a_run_on_some_says_nothing_of_the_others() -> None:
    keep("status", ada="failed", bose="failed", curie="unchanged")
    keep("status", ada="unchanged")
    assert failed("status") == ["bose"]
    keep("status", curie="failed")
    assert failed("status") == ["bose", "curie"]
    keep("run", ada="failed")
    assert failed("status") == ["bose", "curie"]


def test_who_left_is_not_meant() -> None:
    keep("status", gone="failed", ada="failed")
    assert failed("status") == ["ada"]


def test_it_is_for_the_organiser_alone(folder: Path) -> None:
    keep("status", ada="failed")
    assert (folder / "failed.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "null", "[1]", '{"status": null}', '{"status": [1, null]}', "5"])
def test_a_file_that_is_broken_is_as_none(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "failed.json").write_text(text)
    assert failed("status") == []
    keep("status", ada="failed")
    assert failed("status") == ["ada"]
    assert set(json.loads((folder / "failed.json").read_text())) == {"status"}


def test_what_can_not_be_written_costs_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.write_text("a file where the folder should be")
    keep("status", ada="failed")
    assert "can't be written" in capsys.readouterr().err
