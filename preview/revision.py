"""Another revision of a seminar, read from git: its stack file and its roster. Of its program nothing is run."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rehearsal.stackfile import StackFile
from stacks.errors import RequestError
from stacks.folders import PROJECT_ROOT
from stacks.values import is_git_url

_STACK_FILE = re.compile(r"Pulumi\.(.+)\.yaml")


@dataclass(frozen=True)
class Revision:
    """A commit, by the name that it was asked for by and by its own."""

    ref: str
    commit: str

    @classmethod
    def named(cls, ref: str) -> Revision:
        """Find it. Raises RequestError where there is no git, no checkout or no such revision."""
        try:
            inside = _git("rev-parse", "--is-inside-work-tree")
        except FileNotFoundError:
            raise RequestError("There is no git here, and --against needs it; install git.") from None
        if inside.returncode:
            raise RequestError(
                f"{PROJECT_ROOT} is not a git checkout, so that nothing can be compared; leave out --against."
            )
        found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        if found.returncode or not ref:
            raise RequestError(
                f"--against is {ref[:80]!r}, which this checkout does not have; expected a branch, a tag or a commit, "
                "for example origin/main. A branch of the server's comes with `git fetch`."
            )
        return cls(ref, found.stdout.decode().strip())

    def stacks(self) -> set[str]:
        """The stacks that have a file there."""
        told = _git("ls-tree", "--name-only", "-z", self.commit, "./").stdout.decode(errors="surrogateescape")
        names = {Path(path).name for path in told.split("\0")}
        return {
            name[7:-5] for name in names if name.startswith("Pulumi.") and name.endswith(".yaml") and len(name) > 12
        }

    def read(self, path: str) -> bytes | None:
        """A file there, by its path from the project's root; None where there is none."""
        found = _git("show", f"{self.commit}:./{path}")
        return None if found.returncode else found.stdout

    def checkout(self, stack: str, folder: Path) -> StackFile | None:
        """Lay what the settings of a stack refer to into a folder; returns its file, or None where there is none.

        Raises SettingsError where the file can't be read.
        """
        text = self.read(f"Pulumi.{stack}.yaml")
        if text is None:
            return None
        path = folder / f"Pulumi.{stack}.yaml"
        path.write_bytes(text)
        found = StackFile.load(stack, path)
        roster = found.values.get("roster", "").strip()
        if _is_inside(roster) and (people := self.read(roster)) is not None:
            (folder / roster).parent.mkdir(parents=True, exist_ok=True)
            (folder / roster).write_bytes(people)
        materials = found.values.get("materials", "").strip()
        if _is_inside(materials) and not is_git_url(materials) and self._is_folder(materials):
            (folder / materials).mkdir(parents=True, exist_ok=True)
        return found

    def _is_folder(self, path: str) -> bool:
        kind = _git("cat-file", "-t", f"{self.commit}:./{path.rstrip('/')}")
        return kind.stdout.strip() == b"tree"


def _is_inside(path: str) -> bool:
    """Whether a path stays below the folder that it is meant from: a file elsewhere is no part of a revision."""
    return bool(path) and not os.path.isabs(path) and not os.path.normpath(path).startswith("..")


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], cwd=PROJECT_ROOT, capture_output=True, check=False)
