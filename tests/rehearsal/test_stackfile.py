"""The stack's file without the CLI: the values as Pulumi hands them on, what only the CLI can read, each fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from rehearsal.stackfile import StackFile
from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.settings import SeminarSettings

CONFIG = """\
config:
  aws:region: eu-central-1
  seminar:participants: 3
  seminar:workdir: learnml
  seminar:notebook-port: "8901"
  seminar:materials:
"""
ENCRYPTED = CONFIG + "  seminar:password:\n    secure: v1:aaaa:bbbb\nencryptionsalt: v1:cccc\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "Pulumi.spring.yaml"


@pytest.fixture
def seminar_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.seminar` of the test's own."""
    monkeypatch.setattr("stacks.folders.SEMINAR_FOLDER", tmp_path / ".seminar")
    return tmp_path / ".seminar"


def load(file: Path, text: str) -> StackFile:
    file.write_text(text, encoding="utf-8")
    return StackFile.load("spring", file)


def fault(file: Path, text: str | bytes) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        StackFile.load("spring", file)
    return str(caught.value)


def test_values_are_text_and_a_providers_are_left_out(file: Path) -> None:
    found = load(file, CONFIG)
    assert found.values == {"participants": "3", "workdir": "learnml", "notebook-port": "8901", "materials": ""}
    assert found.encrypted == frozenset()
    assert found.settings() == SeminarSettings(seminar="spring", participants=3, notebook_port=8901)
    found.refuse_encrypted()


@pytest.mark.parametrize(("written", "value"), [("true", "true"), ("8901", "8901"), ("~", ""), ("'08'", "08")])
def test_values_are_written_as_pulumi_does(file: Path, written: str, value: str) -> None:
    assert load(file, f"config:\n  seminar:workdir: {written}\n").values == {"workdir": value}


def test_the_checked_in_file_is_read() -> None:
    found = StackFile.load("rehearsal", PROJECT_ROOT / "Pulumi.rehearsal.yaml")
    assert found.settings().cloud == "local"


@pytest.mark.parametrize("text", ["config: [", "a: b: c", "\tconfig:", b"config:\n  a: \xff\n"])
def test_what_is_not_yaml(file: Path, text: str | bytes) -> None:
    told = fault(file, text)
    assert told.startswith("Pulumi.spring.yaml is not YAML: ")
    assert "\n" not in told


@pytest.mark.parametrize("text", ["", "config:\n", "config: 3\n", "config: [a]\n", "- config\n", "name: seminar\n"])
def test_a_file_without_config(file: Path, text: str) -> None:
    assert fault(file, text) == (
        "Pulumi.spring.yaml has no mapping `config:`; see Pulumi.rehearsal.yaml for how it looks."
    )


def test_a_missing_file_names_those_there_are(file: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        StackFile.load("spring", file)
    assert str(caught.value).startswith("There is no Pulumi.spring.yaml; expected one of ")
    assert "rehearsal" in str(caught.value)


def test_an_encrypted_value_is_named_and_left_to_the_cli(file: Path) -> None:
    found = load(file, ENCRYPTED)
    assert found.encrypted == {"password"}
    assert "v1:" not in str(found.values)
    with pytest.raises(SettingsError) as caught:
        found.refuse_encrypted()
    assert str(caught.value).startswith(
        "Pulumi.spring.yaml: seminar:password is encrypted and only the Pulumi CLI can read it; `make pulumi` "
    )


def test_a_repr_shows_no_encrypted_text(file: Path) -> None:
    assert "v1:" not in repr(load(file, ENCRYPTED))


def test_numbered_takes_the_rosters_place(file: Path) -> None:
    found = load(file, "config:\n  aws:region: eu-central-1\n  seminar:roster: people.csv\n  seminar:workdir: work\n")
    many = found.numbered("50")
    assert many.values == {"participants": "50", "workdir": "work"}
    assert many.settings() == SeminarSettings(seminar="spring", participants=50, workdir="work")
    assert many.document["config"] == {
        "aws:region": "eu-central-1",
        "seminar:workdir": "work",
        "seminar:participants": "50",
    }
    assert found.values["roster"] == "people.csv"
    assert many.numbered("2").values["participants"] == "2"


def test_write_keeps_the_salt_and_the_checked_in_file(file: Path, seminar_folder: Path) -> None:
    written = load(file, ENCRYPTED).write()
    assert written == seminar_folder / "spring" / file.name
    assert written.stat().st_mode & 0o777 == 0o600
    load(file, CONFIG).numbered("5").write()
    assert yaml.safe_load(written.read_text(encoding="utf-8")) == {
        "encryptionsalt": "v1:cccc",
        "config": {
            "aws:region": "eu-central-1",
            "seminar:workdir": "learnml",
            "seminar:notebook-port": "8901",
            "seminar:materials": None,
            "seminar:participants": "5",
        },
    }
    assert file.read_text(encoding="utf-8") == CONFIG


def test_what_is_written_is_read_as_it_was(file: Path, seminar_folder: Path) -> None:
    for text in (CONFIG, ENCRYPTED, CONFIG + '  seminar:roster: Łucja\'s "people".csv\n'):
        found = load(file, text)
        again = StackFile.load("spring", found.write())
        assert (again.values, again.encrypted) == (found.values, found.encrypted)


@pytest.mark.usefixtures("seminar_folder")
def test_the_newest_word_is_what_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.folders.PROJECT_ROOT", file.parent)
    copy = load(file, CONFIG).numbered("5").write()
    assert StackFile.read("spring").values["participants"] == "5"
    later = copy.stat().st_mtime + 10
    os.utime(file, (later, later))
    assert StackFile.read("spring").values["participants"] == "3"
