"""`fab --list` in the project, against the same fab where the fabfile has one task and imports nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.timing import Contender, run
from stacks.folders import PROJECT_ROOT

GOAL = 1.3
_FABFILE = """\
from invoke import task


@task
def nothing(_):
    "Do nothing."
"""


def contenders(folder: Path) -> tuple[Contender, Contender]:
    """The baseline and the project. The baseline's fabfile is written to `folder`."""
    (folder / "fabfile.py").write_text(_FABFILE, encoding="utf-8")
    fab = [str(Path(sys.prefix) / "bin" / "fab"), "--list"]
    return (
        Contender(name="fab, bare", steps={"--list": lambda: run(fab, cwd=folder)}),
        Contender(name="fab, this project", steps={"--list": lambda: run(fab, cwd=PROJECT_ROOT)}),
    )
