"""Which seminars a change touches: those whose stack file or roster differs between here and another revision."""

from __future__ import annotations

from pathlib import Path

from preview.revision import Revision
from rehearsal.stackfile import StackFile
from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT


def changed_stacks(against: Revision) -> tuple[str, ...]:
    """Their names in order, of new and of deleted ones too."""
    here = {file.name[7:-5] for file in PROJECT_ROOT.glob("Pulumi.*.yaml")}
    return tuple(stack for stack in sorted(here | against.stacks()) if _differs(stack, against))


def cloud_of(stack: str) -> str | None:
    """The cloud of a seminar as it is here, or None where there is no file, or none that can be read."""
    try:
        return StackFile.load(stack, PROJECT_ROOT / f"Pulumi.{stack}.yaml").values.get("cloud") or "local"
    except SettingsError:
        return None


def _differs(stack: str, against: Revision) -> bool:
    name = f"Pulumi.{stack}.yaml"
    if _read(PROJECT_ROOT / name) != against.read(name):
        return True
    try:
        roster = StackFile.load(stack, PROJECT_ROOT / name).values.get("roster", "").strip()
    except SettingsError:
        return False  # as broken as it was
    return bool(roster) and _read(PROJECT_ROOT / roster) != against.read(roster)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
