"""Making and destroying a stack's machines: the rehearsal's own engines, or the Pulumi CLI, run beside us."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from provisioning import pulumi_cli
from stacks.errors import EngineError, RequestError
from stacks.folders import PROJECT_ROOT, REHEARSAL

_END_SECONDS = 60  # that an engine has to end well after Ctrl-C


def make(stack: str, *, yes: bool) -> None:
    """Make or mend the stack's machines; the Pulumi CLI shows what it will do and asks, unless it is `yes`.

    Raises RequestError where it can't ask or is missing, or the settings are wrong, and EngineError where not all was
    made; why is printed.
    """
    if stack == REHEARSAL:
        run([sys.executable, "-m", "rehearsal", "up", "--machines-only"], os.environ, "made")
        return
    binary = pulumi_cli.find()
    if binary is None:
        raise RequestError(pulumi_cli.MISSING)
    if not yes and not sys.stdin.isatty():
        raise RequestError(
            "`pulumi up` asks before it makes machines, and there is no terminal to ask on; say --yes if it is meant."
        )
    words = [binary, "up", "--stack", stack, "--suppress-outputs", *(["--yes"] if yes else [])]
    run(words, with_plugins(), "made", asks=not yes)


def with_plugins() -> dict[str, str]:
    """The CLI's environment, where it may fetch the plugin of a cloud, which this computer may not have yet."""
    told = os.environ.get(pulumi_cli.WITHOUT_PLUGINS, "false")
    return {**pulumi_cli.environment(), pulumi_cli.WITHOUT_PLUGINS: told}


def run(words: Sequence[str], environment: Mapping[str, str], what: str, *, asks: bool = False) -> None:
    """Run an engine, its words on standard error, or on the terminal where it asks. After Ctrl-C it may end well.

    `what` should have happened to the machines. Raises RequestError or EngineError.
    """
    stdin, stdout = (None, None) if asks else (subprocess.DEVNULL, sys.stderr)
    process = subprocess.Popen(words, cwd=PROJECT_ROOT, env=dict(environment), stdin=stdin, stdout=stdout)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to it as well: it ends what is under way and writes its state.
        with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            process.wait(timeout=_END_SECONDS)
        raise
    if code == RequestError.exit_code:
        raise RequestError("Nothing was done; what is wrong stands above. Mend it, and run this again.")
    if code:
        raise EngineError(f"The machines were not all {what}; why stands above. Running this again goes on from here.")
