"""Whether a rehearsal loads a cloud's SDK, which costs seconds: asked of Python itself, module by module."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from bench.engines import STACK, remove, write_stack_file
from bench.timing import run
from stacks.folders import PROJECT_ROOT, make_private, stack_folder

SDKS = ("pulumi_aws", "pulumi_azure_native", "boto3", "botocore", "azure")


def installed() -> list[str]:
    """Those that could be loaded at all."""
    return [sdk for sdk in SDKS if find_spec(sdk)]


def loaded() -> dict[str, list[str]]:
    """Bring one seat up and ask how it is. Returns which SDKs each command loaded, its children among it."""
    make_private(stack_folder(STACK))
    write_stack_file(stack_folder(STACK), STACK, 1)
    try:
        return {
            "engine up": _loaded("rehearsal.engine", "up", STACK),
            "fab status": _loaded("fabric", "status", "--stack", STACK),
        }
    finally:
        remove(STACK)


def _loaded(*words: str) -> list[str]:
    # Exit code 1 is fab's way to say that a seat isn't well: the seat has no notebook yet.
    listing = run([sys.executable, "-m", *words], cwd=PROJECT_ROOT, env={"PYTHONPROFILEIMPORTTIME": "1"}, good=(0, 1))
    modules = {line.rpartition("|")[2].strip() for line in listing.splitlines() if line.startswith("import time:")}
    packages = {module.partition(".")[0] for module in modules}
    assert "stacks" in packages  # else Python listed nothing, and would find nothing
    return [sdk for sdk in SDKS if sdk in packages]
