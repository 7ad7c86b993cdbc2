"""What a command line's `-- COMMAND` means: the command of `fab run`.

Fabric itself would run it on the hosts of --hosts, which nobody names here. fabric.json names this class to Invoke.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

import invoke
from invoke import Exit


class Executor(invoke.Executor):
    """Hands what stands behind `--` to `run`."""

    def execute(self, *tasks: Any) -> Any:
        """Run the tasks of the command line. Raises Exit where a command is given to one that takes none."""
        if "--" not in sys.argv:
            return super().execute(*tasks)
        command = _command(sys.argv)
        calls = [(task.name, task.as_kwargs) for task in tasks]
        for name, arguments in calls:
            if name != "run":
                raise Exit(f"`fab {name}` takes no command behind --; `fab run -- {command}` does.", code=2)
            if arguments["command"]:
                raise Exit(f"`fab run` was given two commands, {arguments['command']!r} and {command!r}.", code=2)
            arguments["command"] = command
        return super().execute(*calls)


def _command(words: list[str]) -> str:
    """One word is text for the machine's shell; several are a command and its arguments, just as they were given."""
    said = words[words.index("--") + 1 :]
    return said[0] if len(said) == 1 else shlex.join(said)
