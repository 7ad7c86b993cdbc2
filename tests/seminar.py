"""A seminar in a cloud through the real engine: a copy of the project with a stack, and the CLI with a double."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_CLI, Project, copy_project
from tests.doubles.protocol import NO_CAPACITY

STACK = "class"
TOMORROW = (datetime.now(timezone.utc) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M UTC")
LATER = (datetime.now(timezone.utc) + timedelta(days=2)).strftime("%Y-%m-%d %H:%M UTC")
NEEDS = [pytest.mark.skipif(shutil.which("pulumi") is None, reason=NO_CLI), pytest.mark.timeout(900)]


class Seminar:
    """A copy of the project with a stack in a cloud, whose plugin is in the folder `plugins`."""

    def __init__(self, folder: Path, plugins: Path, settings: dict[str, Any]) -> None:
        self.project = Project(copy_project(folder / "a seminar"), "cli")
        self.project.env = {
            "PATH": os.pathsep.join((str(plugins), os.environ["PATH"])),
            "PULUMI_CONFIG_PASSPHRASE": "a passphrase for tests",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(folder / "pulumi-home"),
        }
        self.settings = {"roster": "roster.csv", "allowed-cidrs": ["192.88.99.0/24"], "ends": TOMORROW, **settings}
        self.set()
        self.enrol("ada", "bose")
        self.pulumi("stack", "init")

    def set(self, **settings: Any) -> None:
        """Change settings; None takes one away."""
        self.settings |= {key.replace("_", "-"): value for key, value in settings.items()}
        kept = {key: value for key, value in self.settings.items() if value is not None}
        path = self.project.root / f"Pulumi.{STACK}.yaml"
        salt = (
            [line for line in path.read_text().splitlines() if line.startswith("encryptionsalt")]
            if path.exists()
            else []
        )
        lines = [f"  seminar:{key}: {json.dumps(value)}" for key, value in kept.items()]
        path.write_text("\n".join([*salt, "config:", *lines, ""]))

    def enrol(self, *ids: str) -> None:
        self.project.roster(*[f"{id_},Name of {id_}" for id_ in ids])

    def pulumi(self, *words: str, **env: str) -> str:
        """Run the CLI; returns what it printed, having ended well."""
        done = self.project.run("pulumi", *words, "--non-interactive", "--stack", STACK, **env)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def up(self, *words: str, **env: str) -> None:
        self.pulumi("up", "--yes", "--skip-preview", *words, **env)

    def planned(self) -> dict[str, int]:
        """What a preview says it would do, by operation."""
        summary = json.loads(self.pulumi("preview", "--json"))["changeSummary"]
        return {what: count for what, count in summary.items() if what != "same"}

    def machines(self) -> dict[str, str]:
        """Participant -> what tells their machine from one that is made anew."""
        raise NotImplementedError

    def hosts(self) -> dict[str, str]:
        handover = json.loads(self.pulumi("stack", "output", "handover", "--json"))
        return {seat["id"]: seat["host"] for seat in handover["seats"]}

    def refused(self, **env: str) -> str:
        """What an `up` that does not end well prints: sentences and no stack trace."""
        done = self.project.run("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", STACK, **env)
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert "Traceback" not in told
        return told

    def check_that_secrets_stay_so(self, *more: str) -> None:
        """Neither the state nor the outputs show them."""
        self.up()
        state = (self.project.root / f".seminar/.pulumi/stacks/seminar/{STACK}.json").read_text()
        assert "machines-ada" in state
        for word in ("PRIVATE KEY", "cloud-config", "argon2id", *more):
            assert word not in state
        assert "PRIVATE KEY" not in self.pulumi("stack", "output", "--json")

    def check_that_one_without_room_costs_nobody_else(self, said: str) -> None:
        """A machine that the cloud has no room for is told, the others are handed over, and the next `up` makes it."""
        self.enrol("ada", "bose", "curie")
        words = ("up", "--yes", "--skip-preview", "--non-interactive", "--continue-on-error", "--stack", STACK)
        done = self.project.run("pulumi", *words, **{NO_CAPACITY: "bose"})
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert said in told
        assert "Traceback" not in told
        assert sorted(self.machines()) == ["ada", "curie"]
        assert set(self.hosts()) == {"ada", "bose", "curie"}
        found = json.loads(self.project.fab("status", "--only", "bose", "--json").stdout)["seats"]
        assert "its machine has no address: it was not made" in found[0]["reason"]
        before = self.machines()
        self.up()
        assert {**self.machines(), "bose": ""} == {**before, "bose": ""}
