"""`up` of a whole class against `up` of a program of one resource: on the engine without the CLI, and on the CLI.

What the smallest program costs is the engine's own; the rest is ours: keys, hashes, files, and an sshd for each seat.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.timing import Contender, run
from provisioning import pulumi_cli
from rehearsal import ports, sshd
from stacks.errors import RequestError
from stacks.folders import PROJECT_ROOT, make_private, stack_folder, write_private
from stacks.settings import NAMESPACE

GOAL = 1.5
SEATS = 50
STACK, STACK_OF_ONE = "bench", "bench-one"  # stacks that only the bench makes and removes
UP, UP_AGAIN = "up from nothing", "up without a change"

_ONE_RESOURCE = Path(__file__).parent / "one_resource"


def check() -> None:
    """Raises RequestError where no machine can be brought up here, or a seminar has the name of the bench's stack."""
    if sshd.find() is None:
        raise RequestError(sshd.MISSING)
    if (PROJECT_ROOT / f"Pulumi.{STACK}.yaml").exists():
        raise RequestError(f"Pulumi.{STACK}.yaml is there, but the bench makes and removes that stack; rename yours.")


def write_stack_file(folder: Path, stack: str, seats: int) -> None:
    """Write the settings of a rehearsal with so many numbered participants."""
    document = {"config": {f"{NAMESPACE}:cloud": "local", f"{NAMESPACE}:participants": str(seats)}}
    write_private(folder / f"Pulumi.{stack}.yaml", yaml.safe_dump(document))


def remove(stack: str) -> None:
    """End and remove all that the stack made, whatever state it is in. Ctrl-C has to wait for it."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sshd.remove_all(stack)
        shutil.rmtree(stack_folder(stack), ignore_errors=True)
        ports.forget()
    finally:
        signal.signal(signal.SIGINT, interrupt)


def without_cli() -> tuple[Contender, Contender]:
    """The baseline and the class on the engine without the CLI."""
    return (
        _without_cli("one resource", "bench.one_resource.engine", STACK_OF_ONE),
        _without_cli(f"{SEATS} seats", "rehearsal.engine", STACK),
    )


def _without_cli(name: str, module: str, stack: str) -> Contender:
    def up() -> None:
        run([sys.executable, "-m", module, "up", stack], cwd=PROJECT_ROOT)

    return Contender(
        name=name,
        begin=lambda: write_stack_file(make_private(stack_folder(stack)), stack, SEATS),
        steps={UP: up, UP_AGAIN: up},
        clean=lambda: remove(stack),
    )


def with_cli(folder: Path) -> tuple[Contender, Contender] | None:
    """The baseline and the class on the Pulumi CLI, which keeps everything in `folder`. None where there is no CLI."""
    if pulumi_cli.find() is None:
        return None
    ours = yaml.safe_load((PROJECT_ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    return (
        _with_cli(
            "pulumi, one resource", STACK_OF_ONE, folder / "one", project={**ours, "config": {}}, program=_ONE_RESOURCE
        ),
        _with_cli(f"pulumi, {SEATS} seats", STACK, folder / "class", project=ours, program=PROJECT_ROOT),
    )


def pulumi_in(
    folder: Path, stack: str, *, project: dict[str, Any], program: Path, plugins: tuple[str, ...] = ()
) -> Callable[..., None]:
    """Make a project of the CLI's own in a new folder. Returns what runs `pulumi` on its stack; there must be a CLI."""
    binary = pulumi_cli.find()
    assert binary is not None  # the caller looked
    env = {
        **pulumi_cli.environment(),
        "PATH": os.pathsep.join(
            [*plugins, str(Path(binary).parent), os.environ.get("PATH", "")]
        ),  # its own lie beside it
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": (folder / "backend").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "bench",
    }
    here = {"main": str(program), "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}}
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**project, **here}), encoding="utf-8")

    def pulumi(*words: str) -> None:
        run([binary, *words, "--stack", stack, "--non-interactive"], cwd=folder, env=env)

    return pulumi


def _with_cli(name: str, stack: str, folder: Path, *, project: dict[str, Any], program: Path) -> Contender:
    backend = folder / "backend"
    pulumi = pulumi_in(folder, stack, project=project, program=program)

    def begin() -> None:
        backend.mkdir()
        write_stack_file(folder, stack, SEATS)
        pulumi("stack", "init")

    def up() -> None:
        pulumi("up", "--yes", "--skip-preview")

    def clean() -> None:
        remove(stack)
        shutil.rmtree(backend, ignore_errors=True)
        (folder / f"Pulumi.{stack}.yaml").unlink(missing_ok=True)

    return Contender(name=name, begin=begin, steps={UP: up, UP_AGAIN: up}, clean=clean)
