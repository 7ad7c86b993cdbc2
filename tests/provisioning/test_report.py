"""The table: names of every script in their columns, failures last, and nothing that steers a terminal."""

from __future__ import annotations

import pytest

from provisioning import report
from provisioning.fleet import Outcome, SeatResult
from stacks.outputs import HandOverSeat
from tests.provisioning.machines import seat


def named(name: str, id_: str, outcome: Outcome = "changed", reason: str = "", evidence: str = "") -> SeatResult:
    one = seat(id_=id_)
    return SeatResult(HandOverSeat(**{**vars(one), "name": name}), outcome, reason, evidence)


def shown(capsys: pytest.CaptureFixture[str], *results: SeatResult) -> list[str]:
    report.show("spring", results, {"Seen": lambda _: "here"}, as_json=False, again="fab status --stack spring")
    return capsys.readouterr().out.splitlines()


def test_names_of_every_script_stay_in_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(
        capsys,
        named("Ada Lovelace", "ada"),
        named("李清照", "li"),  # each letter two columns wide
        named("Nguye\u0302\u0303n Du", "du"),  # two marks that take none
    )
    assert lines[3] == "  Ada Lovelace  ada   ✓ changed  here"
    assert lines[4] == "  李清照        li    ✓ changed  here"
    assert lines[5] == "  Nguye\u0302\u0303n Du     du    ✓ changed  here"
    assert lines[-1] == "3 of 3 seats are well."


def test_failures_come_last_with_reason_and_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    bad = named("Ada", "ada", "failed", "its disk is full", "line one\nline two")
    lines = shown(capsys, bad, named("Bose", "bose"))
    assert [line.split()[1] for line in lines[3:5]] == ["bose", "ada"]
    assert lines[6:] == [
        "ada: its disk is full.",
        "    line one",
        "    line two",
        "1 of 2 seats is well.",
        "Again for the others: fab status --stack spring --failed",
    ]


def test_a_machine_can_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, named("Ada", "ada", "failed", "no", "\x1b]0;owned\x07\x1b[2Jgone\ttab"))
    assert "    \ufffd]0;owned\ufffd\ufffd[2Jgone\ttab" in lines


def test_a_narrow_terminal_cuts_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "44")
    lines = shown(capsys, named("A name that is much too long for it", "ada"))
    assert lines[3] == "  A name that is mu…  ada   ✓ changed  here"
    assert max(map(len, lines[1:4])) <= 44
    assert "\x1b" not in "".join(lines)
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[32m✓ changed\x1b[0m" in "".join(shown(capsys, named("Ada", "ada")))
