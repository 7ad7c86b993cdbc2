"""The preview without an account says what the real `pulumi preview` says, which has the state and asks the cloud."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preview.compare import CHANGED, CREATED, DELETED, REPLACED
from tests.doubles.account import an_account
from tests.seminar import LATER, NEEDS, STACK, Seminar
from tests.stacks.test_aws_engine import OnAws
from tests.stacks.test_azure_engine import OnAzure

pytestmark = NEEDS

_STEPS = {"create": CREATED, "update": CHANGED, "replace": REPLACED, "delete": DELETED}
Told = dict[tuple[str, str], str]  # kind and name -> what becomes of it

# What changes, as roster and settings; the first person keeps their seat in each.
CHANGES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "people, type, end and door": (
        ["curie", "ada"],
        {"size": "cpu-large", "ends": LATER, "allowed_cidrs": ["192.88.99.0/24", "192.31.196.0/24"]},
    ),
    "image, market, disk, addresses and no end": (
        ["bose", "ada"],
        {"image": "ubuntu-24.04", "spot": True, "disk_gib": 200, "stable_addresses": True, "ends": None},
    ),
}


def by_the_engine(seminar: Seminar) -> Told:
    told: Told = {}
    for step in json.loads(seminar.pulumi("preview", "--json"))["steps"]:
        kinds, name = step["urn"].split("::")[2:]
        kind = kinds.rsplit("$", maxsplit=1)[-1]
        if step["op"] in _STEPS and not kind.startswith("pulumi:"):
            told[kind, name] = _STEPS[step["op"]]
    return told


def by_the_preview(seminar: Seminar) -> Told:
    done = seminar.project.python("-m", "preview", STACK, "--against", "HEAD", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["against"]
    return {(change["kind"], change["name"]): change["what"] for change in found["resources"]}


def commit(root: Path) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "--quiet"), ("add", f"Pulumi.{STACK}.yaml", "roster.csv"), ("commit", "-q", "-m", "it is")):
        subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture(params=["aws", "azure"])
def seminar(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Seminar]:
    """One that is up, and committed as it is."""
    if request.param == "azure":
        yield _up(OnAzure(tmp_path))
        return
    with an_account() as account:
        account.publish(line="ubuntu-24.04")
        yield _up(OnAws(tmp_path, account))


def _up(seminar: Seminar) -> Seminar:
    seminar.up()
    commit(seminar.project.root)
    return seminar


def test_both_say_the_same(seminar: Seminar) -> None:
    before = dict(seminar.settings)
    for change, (people, settings) in CHANGES.items():
        seminar.settings = dict(before)
        seminar.set(**settings)
        seminar.enrol(*people)
        assert by_the_preview(seminar) == by_the_engine(seminar), change

    done = seminar.project.run("sh", "preview/live.sh", "HEAD", str(before["cloud"]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "== class\nPreviewing update (class)" in done.stdout
    assert "There is no state of it" in seminar.project.run("sh", "preview/live.sh", "HEAD", "local").stdout

    # No setting replaces a machine that is there, so take away what keeps it so.
    seminar.settings = dict(before)
    seminar.set(image="ubuntu-24.04")
    seminar.enrol("ada", "bose")
    for source, kept in (("aws.py", '"ami", '), ("azure.py", '"storageProfile", ')):
        path = seminar.project.root / "stacks" / source
        assert kept in path.read_text()
        path.write_text(path.read_text().replace(kept, ""))
    told = by_the_preview(seminar)
    assert told == by_the_engine(seminar)
    assert sorted(name for (_, name), what in told.items() if what == REPLACED) == ["machines-ada", "machines-bose"]
