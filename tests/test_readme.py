"""README.md's tables: every setting with its default, every task of `fab`, and nothing that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning import namespace
from rehearsal.stackfile import StackFile
from stacks.folders import PROJECT_ROOT
from stacks.roster import enrol

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def rows(first_cell: str) -> list[list[str]]:
    """The table rows whose first cell matches, as cells without their backquotes."""
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in README.splitlines() if line[:1] == "|"]
    return [[cell.strip("`") for cell in row] for row in found if re.fullmatch(first_cell, row[0])]


def test_settings_and_their_defaults() -> None:
    declared: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    assert [row[:3] for row in rows("`seminar:[a-z-]+`")] == [
        [
            key,
            entry["type"],
            entry["default"]
            if entry["default"] and isinstance(entry["default"], str)
            else json.dumps(entry["default"]),
        ]
        for key, entry in declared.items()
    ]


@pytest.mark.parametrize("path", sorted(PROJECT_ROOT.glob("Pulumi.*.yaml")), ids=lambda path: path.name)
def test_the_stack_files_to_copy_are_right(path: Path) -> None:
    settings = StackFile.load(path.name[7:-5], path).settings()
    assert enrol(settings)


def test_tasks_and_their_options() -> None:
    told = {row[0].removeprefix("fab "): set(re.findall(r"--[a-z-]+", row[2])) for row in rows("`fab [a-z-]+`")}
    assert told == {
        name: {f"--{argument.names[0]}" for argument in namespace[name].get_arguments()}
        for name in namespace.task_names
    }
