"""The settings: each key's default, a good value, each bad one as a sentence; Pulumi.yaml says the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.settings import HIGHEST_PORT, NAMESPACE, SeminarSettings, password_fault

PORTS = "a whole number from 1024 to 65535, for example 8888."
PEOPLE = "a whole number from 1 to 500, for example 25."
ONE_OF_THEM = "one of them, for example 25."
WORKDIR = (
    "a folder below the home, of letters, digits, dot, dash and underscore, no part beginning with a dot or "
    "a dash, for example learnml."
)
MATERIALS = "a folder, or a git URL such as https://example.org/class.git."
SET_IT_SECRETLY = "`pulumi config set --secret seminar:password`, or `fab set-password`."


def read(given: Mapping[str, str], *, secret: bool = False, root: Path = PROJECT_ROOT) -> SeminarSettings:
    """Three participants and these settings; `secret` where the password is encrypted."""
    secret_keys = ("password",) if secret else ()
    return SeminarSettings.from_mapping(
        {"participants": "3", **given}, seminar="spring", secret_keys=secret_keys, root=root
    )


def faults(given: Mapping[str, str], *, secret: bool = False, root: Path = PROJECT_ROOT) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(given, secret=secret, root=root)
    return caught.value.faults


def test_defaults() -> None:
    assert read({}) == SeminarSettings(
        seminar="spring",
        cloud="local",
        participants=3,
        roster=None,
        workdir="learnml",
        notebook_port=8888,
        local_port=8888,
        interface="notebook",
        password=None,
        materials="",
    )


def test_an_empty_value_is_the_default() -> None:
    empty = {
        field.name.replace("_", "-"): "" for field in dataclasses.fields(SeminarSettings) if field.name != "seminar"
    }
    assert read({**empty, "participants": "3"}) == read({})
    assert read({**empty, "roster": "people.csv"}).participants == 0


@pytest.mark.parametrize(
    ("key", "value", "parsed"),
    [
        ("cloud", "local", "local"),
        ("participants", "1", 1),
        ("participants", "500", 500),
        ("workdir", "class_2/week-1.a", "class_2/week-1.a"),
        ("workdir", "_work", "_work"),
        ("workdir", "learnml..old", "learnml..old"),
        ("notebook-port", "1024", 1024),
        ("notebook-port", "65535", HIGHEST_PORT),
        ("local-port", " 9000 ", 9000),
        ("interface", "lab", "lab"),
        ("materials", "tests", "tests"),
        ("materials", "https://example.org/class.git", "https://example.org/class.git"),
        ("materials", "git@example.org:us/class.git", "git@example.org:us/class.git"),
    ],
)
def test_a_good_value(key: str, value: str, parsed: object) -> None:
    assert getattr(read({key: value}), key.replace("-", "_")) == parsed


@pytest.mark.parametrize(
    ("key", "value", "came", "expected"),
    [
        ("cloud", "mars", "is 'mars'", None),
        ("interface", "Notebook", "is 'Notebook'", "notebook or lab."),
        ("participants", "many", "is 'many'", PEOPLE),
        ("participants", "2.5", "is '2.5'", PEOPLE),
        ("participants", "-1", "is -1", PEOPLE),
        ("participants", "501", "is 501", PEOPLE),
        ("participants", "9" * 50, f"is '{'9' * 40}'", PEOPLE),
        ("participants", "٣", "is '٣'", PEOPLE),
        ("notebook-port", "1023", "is 1023", PORTS),
        ("notebook-port", "65536", "is 65536", PORTS),
        ("notebook-port", "0x22b8", "is '0x22b8'", PORTS),
        ("local-port", "0", "is 0", PORTS),
        ("local-port", "eighty", "is 'eighty'", PORTS),
        ("workdir", "learn ml", "is 'learn ml'", WORKDIR),
        ("workdir", "-rf", "is '-rf'", WORKDIR),
        ("workdir", "a/-b", "is 'a/-b'", WORKDIR),
        ("workdir", "..", "is '..'", WORKDIR),
        ("workdir", "a/../../b", "is 'a/../../b'", WORKDIR),
        ("workdir", ".ssh", "is '.ssh'", WORKDIR),
        ("workdir", "/srv", "is '/srv'", WORKDIR),
        ("workdir", "a//b", "is 'a//b'", WORKDIR),
        ("workdir", "a/", "is 'a/'", WORKDIR),
        ("workdir", "a'b", 'is "a\'b"', WORKDIR),
        ("workdir", 'a"b', "is 'a\"b'", WORKDIR),
        ("workdir", "$HOME", "is '$HOME'", WORKDIR),
        ("workdir", "a\nb", "is 'a\\nb'", WORKDIR),
        ("workdir", "x" * 201, f"is '{'x' * 80}'", WORKDIR),
        ("materials", "nowhere", "is 'nowhere', which is no folder", MATERIALS),
        ("materials", "README.md", "is 'README.md', which is no folder", MATERIALS),
        ("materials", "ext::sh -c id", "is 'ext::sh -c id', which is no folder", MATERIALS),
        ("materials", "x" * 300, f"is '{'x' * 80}', which is no folder", MATERIALS),
        ("materials", "a\0b", "is 'a\\x00b', which is no folder", MATERIALS),
    ],
)
def test_a_bad_value_is_one_sentence(key: str, value: str, came: str, expected: str | None) -> None:
    [fault] = faults({key: value})
    start = f"Pulumi.spring.yaml: seminar:{key} {came}; expected "
    assert fault.startswith(start)
    assert expected is None or fault == start + expected
    assert fault.endswith(".")


def test_materials_are_looked_for_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "class 1").mkdir()
    assert read({"materials": "class 1"}, root=tmp_path).materials == "class 1"
    assert read({"materials": str(tmp_path)}, root=tmp_path).materials == str(tmp_path)
    assert len(faults({"materials": "class 2"}, root=tmp_path)) == 1


def test_participants_or_roster_and_not_both(tmp_path: Path) -> None:
    assert read({"participants": "", "roster": "people.csv"}, root=tmp_path).roster == tmp_path / "people.csv"
    assert read({"participants": "0", "roster": "/srv/people.csv"}, root=tmp_path).roster == Path("/srv/people.csv")
    assert faults({"roster": "people.csv"}) == (
        "Pulumi.spring.yaml: seminar:participants is 3 and roster is set too; expected only one of them.",
    )
    for nobody in ("", "0"):
        [fault] = faults({"participants": nobody})
        assert fault == (
            f"Pulumi.spring.yaml: seminar:participants is not set and neither is roster; expected {ONE_OF_THEM}"
        )


@pytest.mark.parametrize(
    ("key", "hint"),
    [("work-dir", "seminar:workdir"), ("notebook-prot", "seminar:notebook-port"), ("pasword", "seminar:password")],
)
def test_an_unknown_key_names_the_nearest(key: str, hint: str) -> None:
    assert faults({key: "hush-hush"}) == (f"Pulumi.spring.yaml: seminar:{key} is not a setting; expected {hint}.",)


def test_an_unknown_key_near_none_names_them_all() -> None:
    [fault] = faults({"zzz": "1"})
    for field in dataclasses.fields(SeminarSettings):
        assert field.name == "seminar" or field.name.replace("_", "-") in fault


def test_all_faults_at_once() -> None:
    bad = {"cloud": "mars", "participants": "-1", "workdir": "..", "notebook-port": "80", "local-port": "x"}
    bad |= {"interface": "vim", "password": "in the clear", "materials": "nowhere", "zzz": "1"}
    found = faults(bad)
    assert len(found) == 9
    assert all(fault.startswith("Pulumi.spring.yaml: seminar:") for fault in found)


@pytest.mark.parametrize("password", ["open sesame", 'it\'s "$HOME" `id` \\n', "пароль-für-alle", "x" * 8, "x" * 200])
def test_an_encrypted_password_is_taken_as_it_is(password: str) -> None:
    assert read({"password": password}, secret=True).password == password


@pytest.mark.parametrize(
    ("password", "came", "expected"),
    [
        ("hush-7c", "has 7 characters", "8 to 200."),
        ("q" * 201, "has 201 characters", "8 to 200."),
        ("hush\nhush", "has a control character, or a space at an end", "letters, digits, signs and spaces between "),
        ("hush-hush ", "has a control character, or a space at an end", "letters, digits, signs and spaces between "),
    ],
)
def test_a_bad_password_is_never_echoed(password: str, came: str, expected: str) -> None:
    assert password_fault(password) is not None
    [fault] = faults({"password": password}, secret=True)
    assert fault.startswith(f"Pulumi.spring.yaml: seminar:password {came}; expected {expected}")
    assert password.strip() not in fault


def test_a_password_in_clear_text_is_refused_and_never_echoed() -> None:
    assert faults({"password": "open sesame"}) == (
        f"Pulumi.spring.yaml: seminar:password stands in clear text; expected {SET_IT_SECRETLY}",
    )
    assert len(faults({"password": " "})) == 1


def test_a_secret_is_masked_wherever_a_repr_is_printed() -> None:
    settings = read({"password": "open sesame"}, secret=True)
    assert repr(settings.password) == "Secret('***')"
    for shown in (
        repr(settings),
        f"{settings.password!r}",
        str([settings.password]),
        str(dataclasses.asdict(settings)),
    ):
        assert "sesame" not in shown
        assert "***" in shown


def test_pulumi_yaml_says_the_same() -> None:
    declared: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    known = {
        f"{NAMESPACE}:{field.name.replace('_', '-')}": "" if field.default is None else field.default
        for field in dataclasses.fields(SeminarSettings)
        if field.name != "seminar"
    }
    assert {key: entry["default"] for key, entry in declared.items()} == known
    for entry in declared.values():
        assert set(entry) == {"type", "default", "description"}
        assert entry["type"] == ("integer" if isinstance(entry["default"], int) else "string")
        assert entry["description"].endswith(".")


def test_a_materials_url_with_a_password_is_refused_and_not_echoed() -> None:
    (told,) = faults({"materials": "https://ada:open-sesame@example.org/class.git"})
    assert "materials is a URL with a password in it; expected" in told
    assert "sesame" not in told
