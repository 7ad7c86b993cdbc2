"""Where things are kept on the organiser's computer: one folder, `.seminar/`, that nobody else may read.

.seminar/.pulumi/                    the Pulumi CLI's state
.seminar/passphrase                  made once, if none is set
.seminar/<stack>/Pulumi.<stack>.yaml the settings of the last `make rehearse`
.seminar/<stack>/state.json          the state of the engine without the CLI
.seminar/<stack>/machines/<id>/      a machine: sshd's files and home/
.seminar/<stack>/seats/<id>/         what the participant would have on the laptop

What is handed out lies where the organiser finds it, as private: packs/<stack>/, a zip per participant. So does what
was collected: collected/<stack>/<id>/, an archive each time. Nothing in the project removes that.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SEMINAR_FOLDER = PROJECT_ROOT / ".seminar"
PACKS_FOLDER = PROJECT_ROOT / "packs"
COLLECTED_FOLDER = PROJECT_ROOT / "collected"
REHEARSAL = "rehearsal"  # the stack that is on this computer


def stack_folder(stack: str) -> Path:
    """Everything of one stack but the CLI's state."""
    return SEMINAR_FOLDER / stack


def machine_folder(stack: str, machine: str) -> Path:
    return stack_folder(stack) / "machines" / machine


def seat_folder(stack: str, seat: str) -> Path:
    return stack_folder(stack) / "seats" / seat


def packs_folder(stack: str) -> Path:
    """What the organiser hands out."""
    return PACKS_FOLDER / stack


def collected_folder(stack: str) -> Path:
    """The participants' work, a folder each; and how far the seminar's end has come."""
    return COLLECTED_FOLDER / stack


def passphrase_file() -> Path:
    """The passphrase of the CLI's state, where the environment names none."""
    return SEMINAR_FOLDER / "passphrase"


def state_file(stack: str) -> Path:
    """The state of the engine without the CLI."""
    return stack_folder(stack) / "state.json"


def cli_state_file(stack: str) -> Path:
    """The checkpoint that the CLI keeps in the project's own backend (file://.seminar)."""
    return SEMINAR_FOLDER / ".pulumi" / "stacks" / "seminar" / f"{stack}.json"


def stack_file(stack: str) -> Path:
    """The file to run the stack with: the last `make rehearse`'s copy, unless the project's own was changed since."""
    own = PROJECT_ROOT / f"Pulumi.{stack}.yaml"
    copy = stack_folder(stack) / own.name
    if copy.exists() and not (own.exists() and own.stat().st_mtime > copy.stat().st_mtime):
        return copy
    return own


def engine_of(stack: str) -> str | None:
    """Which engine brought the stack up: "in-process", "cli" or None. It keeps it until the stack is destroyed."""
    if state_file(stack).exists():
        return "in-process"
    return "cli" if cli_state_file(stack).exists() else None


def make_private(folder: Path) -> Path:
    """Make the folder, and close it and those above it up to `.seminar` to everyone else."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder, *folder.parents):
        if each == PROJECT_ROOT or PROJECT_ROOT not in each.parents:
            break
        if each.stat().st_mode & 0o077:
            each.chmod(0o700)
    return folder


def open_private(path: Path) -> IO[str]:
    """Open a file for writing that nobody else may read."""
    return open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600))


def write_private(path: Path, text: str | bytes, *, mode: int = 0o600) -> bool:
    """Write the file whole or not at all. Returns whether anything changed. Raises OSError (a full disk, say)."""
    content = text.encode() if isinstance(text, str) else text
    try:
        if path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            return False
    except FileNotFoundError:
        pass
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp opens it 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return True
