"""`make pulumi`: the Pulumi CLI of the SDK's own version, by Pulumi's own installer, into .venv."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from stacks.folders import PROJECT_ROOT


def main() -> int:
    """Install it. Returns the exit code."""
    import semver
    from pulumi.automation import PulumiCommand
    from pulumi.automation.errors import CommandError

    wanted = semver.VersionInfo.parse(version("pulumi"))
    print(f"Installing the Pulumi CLI {wanted} into .venv …", flush=True)
    try:
        PulumiCommand.install(root=str(PROJECT_ROOT / ".venv"), version=wanted)
    except (OSError, CommandError, RuntimeError, subprocess.SubprocessError) as error:
        print(
            f"The Pulumi CLI could not be installed ({' '.join(str(error).split())[-200:]}). It comes from "
            "get.pulumi.com; see https://www.pulumi.com/docs/install/ for other ways. The rehearsal runs without it.",
            file=sys.stderr,
        )
        return 1
    print("Done. `. .venv/bin/activate` puts it on PATH.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
