"""A copy of the project for the tests that run it, so that a rehearsal of one's own next door is left alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
STACK = "rehearsal"
NO_CLI = "the Pulumi CLI is not on PATH (`make pulumi` installs it)"


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    root: Path
    engine: str = "in-process"
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    patience_seconds: float = 150.0  # with each command

    def run(self, *words: str, stdin: str = "", cwd: str = ".", **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy; never raises for its exit code."""
        return subprocess.run(
            words,
            cwd=self.root / cwd,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", **self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=self.patience_seconds,
            check=False,
        )

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in the copy, in a process group of its own."""
        process = subprocess.Popen(
            words,
            cwd=self.root,
            env={**os.environ, **self.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def python(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, *words, **env)

    def fab(self, *words: str, stdin: str = "", cwd: str = ".", **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(FAB, *words, stdin=stdin, cwd=cwd, **env)

    def fab_json(self, *words: str) -> dict[str, dict[str, Any]]:
        """Run a task with --json; returns its seats by id."""
        done = self.fab(*words, "--json")
        assert done.stdout, done.stderr
        return {seat["id"]: seat for seat in json.loads(done.stdout)["seats"]}

    def up(self) -> subprocess.CompletedProcess[str]:
        """Bring the machines up with this copy's engine, without Jupyter."""
        if self.engine == "in-process":
            return self.python("-m", "rehearsal.engine", "up", STACK)
        if not (self.root / f".seminar/.pulumi/stacks/seminar/{STACK}.json").exists():
            made = self.run("pulumi", "stack", "init", STACK, "--non-interactive")
            assert made.returncode == 0, made.stderr
        return self.run("pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", STACK)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets among them."""
        if self.engine == "in-process":
            return dict(json.loads(self.state.read_text())["outputs"])
        done = self.run("pulumi", "stack", "output", "--json", "--show-secrets", "--stack", STACK)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def seats(self) -> dict[str, dict[str, Any]]:
        """The hand-over's seats with their secrets, by id."""
        found = self.outputs()
        return {seat["id"]: {**seat, **found["secrets"]["seats"][seat["id"]]} for seat in found["handover"]["seats"]}

    def inventory(self) -> list[dict[str, Any]]:
        """The hand-over's seats with their tunnel commands, whichever engine made them."""
        code = (
            "import json\nfrom provisioning import inventory\nfrom stacks.clients import tunnel_command\n"
            "from dataclasses import asdict\nfound = inventory.load()\n"
            "print(json.dumps([{**asdict(seat), 'tunnel': tunnel_command(seat)} for seat in found.seats]))"
        )
        done = self.python("-c", code)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def snapshot(self) -> dict[str, object]:
        """What a run that changes nothing leaves alone: process numbers and every file but logs and state."""
        kept = {
            str(path.relative_to(self.root)): (path.stat().st_mtime_ns, path.stat().st_mode)
            for path in (self.root / ".seminar").rglob("*")
            if path.is_file()
            and not {".pulumi", ".ipython", "runtime"} & set(path.parts)
            and path.suffix not in {".log", ".lock"}
        }
        running = sorted(p.pid for p in self.processes() if "ipykernel" not in " ".join(p.cmdline()))
        return {**kept, "processes": running}

    def roster(self, *lines: str) -> None:
        (self.root / "roster.csv").write_text("\n".join(("id,name", *lines)) + "\n", encoding="utf-8")

    def setting(self, key: str, value: object) -> None:
        with (self.root / f"Pulumi.{STACK}.yaml").open("a") as file:
            file.write(f"  seminar:{key}: {json.dumps(value)}\n")

    def processes(self) -> list[psutil.Process]:
        """Everything that runs out of this copy: its sshd, Jupyters and kernels."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                told = " ".join(process.cmdline()) + process.environ().get("SEMINAR_MACHINE", "")
            except psutil.Error:
                continue
            if str(self.root) in told and process.pid != os.getpid():
                found.append(process)
        return found

    @property
    def state(self) -> Path:
        return self.root / ".seminar" / STACK / "state.json"

    def machine(self, seat: str) -> Path:
        return self.root / ".seminar" / STACK / "machines" / seat


PATH_WITHOUT_CLI = os.pathsep.join(
    folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "pulumi").exists()
)
FAB = str(Path(sys.prefix) / "bin" / "fab")


def copy_project(target: Path) -> Path:
    """Copy what makes up the project, but for what running it made."""
    made = (".git", ".venv", ".seminar", "packs", "collected", "__pycache__", "*_cache", ".hypothesis")
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*made))
    (target / ".venv").symlink_to(sys.prefix)
    (target / ".seminar").mkdir(mode=0o700)
    return target


def _project(folder: Path, engine: str) -> Iterator[Project]:
    if engine == "cli" and shutil.which("pulumi") is None:
        pytest.skip(NO_CLI)
    project = Project(copy_project(folder / "a seminar"), engine)  # a folder with a space: nothing may mind
    if engine == "cli":
        project.env = {
            "PULUMI_CONFIG_PASSPHRASE": "a passphrase for tests",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(folder / "pulumi-home"),
        }
    else:
        project.env = {"PATH": PATH_WITHOUT_CLI}
    try:
        yield project
    finally:  # also where what a test stands on could not be brought up
        _clean_up(project)


def _clean_up(project: Project) -> None:
    for process in project.started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
    project.python("-m", "rehearsal", "down")
    left = project.processes()
    for stray in left:
        stray.kill()
    assert left == []


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A copy that nothing was run in yet, on the engine without the CLI."""
    yield from _project(tmp_path, "in-process")


@pytest.fixture(params=["in-process", "cli"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A copy on each engine in turn."""
    yield from _project(tmp_path, request.param)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy whose three machines are up, without notebooks, shared by the tests of one file."""
    for project in _project(tmp_path_factory.mktemp("machines"), "in-process"):
        done = project.up()
        assert done.returncode == 0, done.stderr
        yield project


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy whose three seats are up with their notebooks, shared by the tests of one file."""
    for project in _project(tmp_path_factory.mktemp("running"), "in-process"):
        done = project.up()
        assert done.returncode == 0, done.stderr
        started = project.fab("start-notebook")
        assert started.returncode == 0, started.stdout + started.stderr
        yield project
