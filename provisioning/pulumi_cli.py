"""The Pulumi CLI: where it is, with what environment it runs, and its errors as sentences."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from typing import Any

from stacks.errors import EngineError, RequestError
from stacks.folders import PROJECT_ROOT, SEMINAR_FOLDER, make_private, passphrase_file, write_private

MISSING = "The Pulumi CLI is not on PATH; `make pulumi` installs it into .venv."
_PASSPHRASES = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}
_OUTPUT_SECONDS = 120.0


def find() -> str | None:
    """Where the CLI is, on PATH or where `make pulumi` puts it, or None."""
    return shutil.which("pulumi") or shutil.which("pulumi", path=str(PROJECT_ROOT / ".venv" / "bin"))


WITHOUT_PLUGINS = "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"


def environment() -> dict[str, str]:
    """The environment to run the CLI with: a passphrase where one is kept, and nothing downloaded unasked."""
    variables = {
        **os.environ,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Else it downloads a plugin for every cloud SDK that is installed, even if a stack uses none of them.
        WITHOUT_PLUGINS: "true",
    }
    if not _PASSPHRASES & os.environ.keys() and passphrase_file().exists():
        variables["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
    return variables


def make_passphrase() -> bool:
    """Make a passphrase for the state and keep it for its owner alone, unless the environment or a file has one.

    Returns whether it made one.
    """
    if _PASSPHRASES & os.environ.keys() or passphrase_file().exists():
        return False
    make_private(SEMINAR_FOLDER)
    return write_private(passphrase_file(), secrets.token_urlsafe(32) + "\n")


def run(*words: str, seconds: float = _OUTPUT_SECONDS, **variables: str) -> str:
    """Run `pulumi WORDS --non-interactive` in the project, with more variables in its environment.

    Returns what it prints. Raises SeminarError.
    """
    binary = find()
    if binary is None:
        raise RequestError(MISSING)
    try:
        done = subprocess.run(
            [binary, *words, "--non-interactive", "--color", "never"],
            cwd=PROJECT_ROOT,
            env={**environment(), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"`pulumi {words[0]}` did not end within {seconds:.0f} seconds.") from None
    if done.returncode:
        raise failure(words[0], done.stdout + "\n" + done.stderr)
    return done.stdout


def outputs(stack: str) -> dict[str, Any]:
    """The stack's outputs, secrets among them. Raises RequestError (no stack, wrong passphrase) or EngineError."""
    found = json.loads(run("stack", "output", "--json", "--show-secrets", "--stack", stack))
    return dict(found)


def selected_stack() -> str | None:
    """The stack that `pulumi stack select` chose for this project, or None."""
    if find() is None:
        return None
    try:
        return next(str(item["name"]) for item in json.loads(run("stack", "ls", "--json")) if item["current"])
    except (EngineError, RequestError, StopIteration):
        return None


def failure(verb: str, printed: str) -> EngineError | RequestError:
    """What the CLI printed on failing, as one of ours."""
    lines = [line.strip() for line in printed.splitlines()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    told = [line for line in dict.fromkeys(told) if not line.startswith("an unhandled error occurred")]
    text = " ".join(told)
    if "passphrase must be set" in text:
        return RequestError(
            "The stack's secrets are locked with a passphrase; set PULUMI_CONFIG_PASSPHRASE or "
            "PULUMI_CONFIG_PASSPHRASE_FILE to the one it was made with."
        )
    if "incorrect passphrase" in text:
        return RequestError(
            "The passphrase does not open this stack's secrets; set PULUMI_CONFIG_PASSPHRASE or "
            "PULUMI_CONFIG_PASSPHRASE_FILE to the one it was made with."
        )
    if "no stack named" in text:
        return RequestError(
            f"Pulumi knows no such stack ({text}); `pulumi stack ls` lists them, `pulumi up` makes one."
        )
    return EngineError(told or [f"`pulumi {verb}` failed: {' '.join(lines[-3:])}"])
