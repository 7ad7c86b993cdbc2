"""The settings: each key's default, a good value, each bad one as a sentence; Pulumi.yaml says the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.reading import HIGHEST_PORT
from stacks.settings import NAMESPACE, SeminarSettings
from stacks.values import password_fault

PORTS = "a whole number from 1024 to 65535, for example 8888."
PEOPLE = "a whole number from 1 to 500, for example 25."
ONE_OF_THEM = "one of them, for example 25."
WORKDIR = (
    "a folder below the home, of letters, digits, dot, dash and underscore, no part beginning with a dot or "
    "a dash, for example learnml."
)
MATERIALS = "a folder, or a git URL such as https://example.org/class.git."
SET_IT_SECRETLY = "`pulumi config set --secret seminar:password`, or `fab set-password`."

ON_AWS = {"cloud": "aws", "region": "eu-central-1", "allowed-cidrs": '["198.51.100.0/24"]'}
ON_AZURE = {"cloud": "azure", "region": "westeurope", "allowed-cidrs": '["198.51.100.0/24"]'}
NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def read(given: Mapping[str, str], *, secret: bool = False, root: Path = PROJECT_ROOT) -> SeminarSettings:
    """Three participants and these settings; `secret` where the password is encrypted."""
    secret_keys = ("password",) if secret else ()
    return SeminarSettings.from_mapping(
        {"participants": "3", **given},
        seminar="spring",
        secret_keys=secret_keys,
        root=root,
        now=NOW,
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
    ("key", "value", "parsed"),
    [
        ("cloud", "aws", "aws"),
        ("region", "us-gov-west-1", "us-gov-west-1"),
        ("allowed-cidrs", '["198.51.100.0/24", "2001:db8:1::/48"]', ("198.51.100.0/24", "2001:db8:1::/48")),
        ("allowed-cidrs", "198.51.100.7, 198.51.100.7/32", ("198.51.100.7/32",)),
        ("allowed-cidrs", '["anywhere"]', ("0.0.0.0/0", "::/0")),
        ("size", "gpu-large", "gpu-large"),
        ("machine-type", "u-6tb1.112xlarge", "u-6tb1.112xlarge"),
        ("image", "ami-0123456789abcdef0", "ami-0123456789abcdef0"),
        ("image", "ubuntu-24.04", "ubuntu-24.04"),
        ("image", "base-oss-nvidia-driver-gpu-ubuntu-22.04", "base-oss-nvidia-driver-gpu-ubuntu-22.04"),
        ("disk-gib", "16384", 16384),
        ("ends", "2027-03-05 18:00 Europe/Berlin", datetime(2027, 3, 5, 18, tzinfo=ZoneInfo("Europe/Berlin"))),
        ("ends", "2027-03-05T17:00:00Z", datetime(2027, 3, 5, 17, tzinfo=timezone.utc)),
        ("ends", "2027-03-05 17:00:00 +0000 UTC", datetime(2027, 3, 5, 17, tzinfo=timezone.utc)),
        ("ends", "2027-03-05 18:00:00 +0100 +0100", datetime(2027, 3, 5, 17, tzinfo=timezone.utc)),
        ("ends", "2027-03-05T18:00+0530", datetime(2027, 3, 5, 12, 30, tzinfo=timezone.utc)),
        ("ends", "2027-03-05 18:00 America/Argentina/Salta", datetime(2027, 3, 5, 21, tzinfo=timezone.utc)),
        ("spot", "true", True),
        ("stable-addresses", "false", False),
        ("budget", "500", 500),
        ("begins", "2020-03-05 08:00 UTC", datetime(2020, 3, 5, 8, tzinfo=timezone.utc)),
        ("price-per-hour", "0.526", Decimal("0.526")),
    ],
)
def test_a_good_value_for_a_cloud(key: str, value: str, parsed: object) -> None:
    assert getattr(read({**ON_AWS, key: value}), key.replace("-", "_")) == parsed


ENDS = "a date, a time and a zone, for example 2027-03-05 18:00 Europe/Berlin."


@pytest.mark.parametrize(
    ("key", "value", "came", "expected"),
    [
        ("region", "", "is not set", "a region of AWS, for example eu-central-1."),
        ("region", "eu-centrl-1", "is 'eu-centrl-1'", "a region of AWS, for example eu-central-1."),
        ("region", "mars", "is 'mars'", "a region of AWS, for example eu-central-1."),
        ("allowed-cidrs", "", "is not set", "the networks that may reach SSH, such as "),
        ("allowed-cidrs", "[]", "is not set", "the networks that may reach SSH, such as "),
        ("allowed-cidrs", "0.0.0.0/0", "has 0.0.0.0/0, which is open to the world", "the venue's networks, or "),
        ("allowed-cidrs", "::/0", "has ::/0, which is open to the world", "the venue's networks, or "),
        ("allowed-cidrs", "0.0.0.0/1,128.0.0.0/1", "has 0.0.0.0/1, which is open", "the venue's networks, or "),
        ("allowed-cidrs", "10.1.2.3/24", "has '10.1.2.3/24' (did you mean 10.1.2.0/24?)", "networks such as "),
        ("allowed-cidrs", "campus", "has 'campus' (not a network)", "networks such as "),
        ("allowed-cidrs", '["198.51.100.0/24", 7.5]', "has '7.5' (not a network)", "networks such as "),
        ("allowed-cidrs", '["198.51.100.0/24"', "has '[\"198.51.100.0/24\"' (not a network)", "networks such as "),
        ("allowed-cidrs", "2001:db8::/48", "has IPv6 networks alone", "an IPv4 network as well."),
        ("allowed-cidrs", ",".join(f"10.0.{n}.0/24" for n in range(31)), "has 31 networks", "at most 30 of IPv4"),
        ("size", "huge", "is 'huge'", "cpu-small or cpu-large or gpu-small or gpu-large."),
        ("machine-type", "Standard_D4s_v5", "is 'Standard_D4s_v5'", "an EC2 instance type, for example g5.xlarge."),
        ("image", "windows", "is 'windows'", "a line of Deep Learning AMIs such as oss-nvidia-driver-gpu-pytorch-"),
        ("image", "ami-123", "is 'ami-123'", "a line of Deep Learning AMIs such as oss-nvidia-driver-gpu-pytorch-"),
        ("disk-gib", "16385", "is 16385", "a whole number from 1 to 16384, for example 200."),
        ("ends", "2027-03-05 18:00", "is '2027-03-05 18:00', which has no time zone", ENDS),
        ("ends", "2027-03-05", "is '2027-03-05'", ENDS),
        ("ends", "tomorrow", "is 'tomorrow'", ENDS),
        ("ends", "2027-02-30 18:00 UTC", "is '2027-02-30 18:00 UTC', which no calendar has", ENDS),
        ("ends", "2027-03-05 18:00 Europe/Berln", "has the time zone 'Europe/Berln', which is not known", ENDS),
        ("ends", "2027-03-05 18:00 +25:00", "has the time zone '+25:00', which is not known", ENDS),
        ("ends", "2026-11-23 12:00 UTC", "is '2026-11-23 12:00 UTC', which is past", "a moment to come;"),
        ("spot", "yes", "is 'yes'", "true or false."),
        ("stable-addresses", "1", "is '1'", "true or false."),
        ("budget", "500 EUR", "is '500 EUR'", "a whole number from 1 to 1000000, for example 500."),
        ("budget", "-1", "is -1", "a whole number from 1 to 1000000, for example 500."),
        ("begins", "monday", "is 'monday'", ENDS),
        ("price-per-hour", "0,526", "is '0,526'", "an amount above 0, for example 0.526."),
        ("price-per-hour", "0.00", "is '0.00'", "an amount above 0, for example 0.526."),
    ],
)
def test_a_bad_value_for_a_cloud_is_one_sentence(key: str, value: str, came: str, expected: str) -> None:
    found = faults({**ON_AWS, key: value})
    assert found[0].startswith(f"Pulumi.spring.yaml: seminar:{key} {came}")
    assert f"; expected {expected}" in found[0]
    assert found[0].endswith(".")
    assert all(fault.startswith("Pulumi.spring.yaml: seminar:allowed-cidrs ") for fault in found[1:])


@pytest.mark.parametrize(
    ("key", "value", "parsed"),
    [
        ("cloud", "azure", "azure"),
        ("region", "swedencentral", "swedencentral"),
        ("machine-type", "Standard_NC4as_T4_v3", "Standard_NC4as_T4_v3"),
        ("machine-type", "Standard_M416s_8_v2", "Standard_M416s_8_v2"),
        ("machine-type", "Standard_E4-2ds_v5", "Standard_E4-2ds_v5"),
        ("image", "ubuntu-24.04", "ubuntu-24.04"),
        ("image", "microsoft-dsvm:ubuntu-2204:2204-gen2:25.06.18", "microsoft-dsvm:ubuntu-2204:2204-gen2:25.06.18"),
        ("disk-gib", "4095", 4095),
    ],
)
def test_a_good_value_for_azure(key: str, value: str, parsed: object) -> None:
    assert getattr(read({**ON_AZURE, key: value}), key.replace("-", "_")) == parsed


URN = "an image as publisher:offer:sku:version, such as microsoft-dsvm:ubuntu-2204:2204-gen2:latest, or ubuntu-24.04."


@pytest.mark.parametrize(
    ("key", "value", "came", "expected"),
    [
        ("region", "", "is not set", "a region of Azure, for example westeurope."),
        ("region", "eu-central-1", "is 'eu-central-1'", "a region of Azure, for example "),
        ("region", "West Europe", "is 'West Europe'", "a region of Azure, for example westeurope."),
        ("region", "mars", "is 'mars'", "a region of Azure, for example westeurope."),
        ("allowed-cidrs", "", "is not set", "the networks that may reach SSH, such as "),
        ("machine-type", "g5.xlarge", "is 'g5.xlarge'", "a size of Azure's, for example Standard_NC8as_T4_v3."),
        ("machine-type", "D2s_v5", "is 'D2s_v5'", "a size of Azure's, for example Standard_NC8as_T4_v3."),
        ("image", "ami-0123456789abcdef0", "is 'ami-0123456789abcdef0'", URN),
        ("image", "ubuntu-2204", "is 'ubuntu-2204'", URN),
        ("image", "a:b:c:newest", "is 'a:b:c:newest'", URN),
        ("image", "a:b:c", "is 'a:b:c'", URN),
        ("disk-gib", "4096", "is 4096", "a whole number from 1 to 4095, for example 200."),
    ],
)
def test_a_bad_value_for_azure_is_one_sentence(key: str, value: str, came: str, expected: str) -> None:
    (found,) = faults({**ON_AZURE, key: value})
    assert found.startswith(f"Pulumi.spring.yaml: seminar:{key} {came}; expected {expected}")
    assert found.endswith(".")


def test_the_end_comes_after_the_beginning() -> None:
    told = faults({**ON_AWS, "begins": "2027-03-05 18:00 UTC", "ends": "2027-03-05 18:00 UTC"})
    assert told == (
        "Pulumi.spring.yaml: seminar:begins is 2027-03-05 18:00, and seminar:ends is no later; expected a moment "
        "before the end.",
    )


def test_what_a_rehearsal_needs_not() -> None:
    rehearsed = read({**ON_AWS, "cloud": "local", "region": "", "allowed-cidrs": "", "image": "Canonical:24_04"})
    assert (rehearsed.region, rehearsed.allowed_cidrs) == ("", ())


def test_all_faults_of_a_cloud_and_its_roster_at_once(tmp_path: Path) -> None:
    lines = ["id,name", "ada,", *(f"p{n},P {n}" for n in range(501))]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    found = faults(
        {"cloud": "aws", "participants": "0", "roster": "people.csv", "size": "huge", "ends": "never"}, root=tmp_path
    )
    keys = [fault.split()[1].removeprefix("seminar:") for fault in found[:4]]
    assert keys == ["size", "ends", "region", "allowed-cidrs"]
    assert found[4:] == (
        "people.csv line 2: has no name; write one.",
        "people.csv has 502 participants; expected at most 500.",
    )


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
    assert faults({"roster": "roster.csv"}) == (
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
        f"{NAMESPACE}:{field.name.replace('_', '-')}": _as_yaml(field.default)
        for field in dataclasses.fields(SeminarSettings)
        if field.name != "seminar"
    }
    assert {key: entry["default"] for key, entry in declared.items()} == known
    for entry in declared.values():
        assert set(entry) - {"items"} == {"type", "default", "description"}
        assert entry["type"] == TYPES[type(entry["default"])]
        assert entry["description"].endswith(".")


TYPES = {int: "integer", str: "string", bool: "boolean", list: "array"}


def _as_yaml(default: object) -> object:
    return "" if default is None else list(default) if isinstance(default, tuple) else default


def test_a_materials_url_with_a_password_is_refused_and_not_echoed() -> None:
    (told,) = faults({"materials": "https://ada:open-sesame@example.org/class.git"})
    assert "materials is a URL with a password in it; expected" in told
    assert "sesame" not in told
