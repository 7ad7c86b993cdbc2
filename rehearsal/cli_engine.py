"""The rehearsal through the Pulumi CLI: `pulumi up` and `pulumi destroy` with the project's own local backend."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable

import psutil

from provisioning import pulumi_cli
from rehearsal.stackfile import StackFile
from stacks.errors import EngineError, RequestError, SeminarError
from stacks.folders import PROJECT_ROOT, SEMINAR_FOLDER, engine_of, passphrase_file

_RUN_VARIABLE = "SEMINAR_PULUMI_RUN"  # marks the processes of a CLI that was started here
Progress = Callable[[str, str], None]
_STEP = re.compile(r"pulumi-python:dynamic:\w+ (\S+) (created|updated|deleted)\b")
_COUNT = re.compile(r"(\d+) (created|updated|deleted|unchanged)\b")


def up(stack: str, stack_file: StackFile, progress: Progress) -> dict[str, int]:
    """Make the stack if need be, and bring it up. Returns how many resources changed how. Raises SeminarError."""
    _free_stale_lock(stack)
    if engine_of(stack) is None:
        _make_stack(stack)
    used = stack_file.write()
    printed = _stream(
        progress,
        *("up", "--stack", stack, "--config-file", str(used), "--yes", "--skip-preview", "--suppress-outputs"),
    )
    counts = {what: int(count) for count, what in _COUNT.findall(printed.rpartition("Resources:")[2])}
    return {name: counts.get(word, 0) for name, word in _WORDS.items()}


def _make_stack(stack: str) -> None:
    """Make the stack, and leave alone which one is selected and what the checked-in file says."""
    own = PROJECT_ROOT / f"Pulumi.{stack}.yaml"
    kept = own.read_bytes()
    made = pulumi_cli.make_passphrase()
    try:
        pulumi_cli.run("stack", "init", stack, *(["--no-select"] if pulumi_cli.selected_stack() else []))
    except SeminarError:
        if made:
            passphrase_file().unlink()
        raise
    finally:
        if own.read_bytes() != kept:  # `stack init` adds its salt; ours stands in the copy
            own.write_bytes(kept)


_WORDS = {"created": "created", "updated": "updated", "same": "unchanged", "deleted": "deleted"}


def destroy(stack: str, stack_file: StackFile, progress: Progress) -> None:
    """Destroy the stack and forget it, but for its checked-in file. Raises SeminarError."""
    _free_stale_lock(stack)
    used = str(stack_file.write())  # `destroy` adds its salt too
    _stream(
        progress, "destroy", "--stack", stack, "--config-file", used, "--yes", "--skip-preview", "--suppress-outputs"
    )
    pulumi_cli.run("stack", "rm", stack, "--yes", "--preserve-config")
    state = SEMINAR_FOLDER / ".pulumi"
    for kept in ("backups", "history", "locks"):
        shutil.rmtree(state / kept / "seminar" / stack, ignore_errors=True)
    if not list(state.glob("stacks/seminar/*.json")):  # the last one: nothing is left to lock
        shutil.rmtree(state, ignore_errors=True)
        if not any(b"encryptionsalt" in file.read_bytes() for file in PROJECT_ROOT.glob("Pulumi.*.yaml")):
            passphrase_file().unlink(missing_ok=True)  # nor to open


def _stream(progress: Progress, *words: str) -> str:
    """Run the CLI, reporting each resource as it ends; returns what it printed. Raises SeminarError."""
    binary = pulumi_cli.find()
    if binary is None:
        raise RequestError(f"This rehearsal was begun with the Pulumi CLI. {pulumi_cli.MISSING}")
    process = subprocess.Popen(
        [binary, *words, "--non-interactive", "--color", "never"],
        cwd=PROJECT_ROOT,
        env={**pulumi_cli.environment(), _RUN_VARIABLE: str(SEMINAR_FOLDER)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None  # asked for above
    printed = []
    try:
        for line in process.stdout:
            printed.append(line)
            if step := _STEP.search(line):
                progress(step[1], step[2])
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to the CLI as well: it ends what is under way and writes its state.
        with contextlib.suppress(KeyboardInterrupt):
            process.wait(timeout=60)
        raise
    text = "".join(printed)
    if process.wait() < 0:
        raise EngineError(f"`pulumi {words[0]}` was ended by signal {-process.returncode}; run this again to go on.")
    if process.returncode:
        raise pulumi_cli.failure(words[0], text)
    return text


def _free_stale_lock(stack: str) -> None:
    """Cancel the lock of an engine that was killed on this computer: nobody else would."""
    locks = list((SEMINAR_FOLDER / ".pulumi" / "locks").glob(f"organization/seminar/{stack}/*.json"))
    for lock in locks:
        try:
            holder = json.loads(lock.read_text())
        except (OSError, ValueError):
            continue
        here = holder.get("hostname") == socket.gethostname()
        if not here or _is_pulumi(holder["pid"]):
            raise RequestError(
                f"The stack {stack!r} is held by another run (process {holder.get('pid')} on "
                f"{holder.get('hostname')}); wait until it has ended."
            )
    if locks:
        _end_orphans()
        pulumi_cli.run("cancel", "--stack", stack, "--yes")


def _end_orphans() -> None:
    """End the language host and the provider of a CLI that was killed: they would wait for it for ever."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_RUN_VARIABLE) == str(SEMINAR_FOLDER):
                process.terminate()


def _is_pulumi(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return "pulumi" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
