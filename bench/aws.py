"""`pulumi preview` of a class on AWS against one of a single seat, with a provider that is a stand-in.

What a seat more costs is ours and Pulumi's; most of the rest is loading the SDK, which is timed beside it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.engines import SEATS, STACK
from bench.timing import Contender, Times, run
from provisioning import pulumi_cli
from stacks.folders import PROJECT_ROOT
from stacks.settings import NAMESPACE

GOAL_MS = 20.0
PREVIEW = "preview"
IMPORT = "the SDK's modules"

_SETTINGS = {
    "cloud": "aws",
    "region": "eu-central-1",
    "allowed-cidrs": ["192.88.99.0/24"],
    "ends": "2099-03-05 18:00 Europe/Berlin",
}
_MODULES = ["ec2", "vpc", "iam", "scheduler", "ssm", "servicequotas"]


@contextmanager
def contenders(folder: Path) -> Iterator[tuple[Contender, Contender, Contender] | None]:
    """Loading the SDK, a preview of one seat, and one of a class, while the stand-in lives; None without a CLI."""
    binary = pulumi_cli.find()
    if binary is None:
        yield None
        return
    from tests.doubles import protocol
    from tests.doubles.account import an_account
    from tests.doubles.moto_aws import ENDPOINT

    with an_account() as account:
        plugins = protocol.install(folder / "bin", "aws", "tests.doubles.moto_aws", **{ENDPOINT: account.endpoint})
        path = os.pathsep.join([str(plugins), str(Path(binary).parent), os.environ.get("PATH", "")])
        env = {**pulumi_cli.environment(), "PATH": path, "PULUMI_CONFIG_PASSPHRASE": "bench"}
        env["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        load = f"import pulumi_aws as aws; [getattr(aws, name) for name in {_MODULES}]; aws.ec2.Instance"
        yield (
            Contender(name="Python", steps={IMPORT: lambda: run([sys.executable, "-c", load], cwd=folder)}),
            _previewing("1 seat", 1, folder / "one", binary, env),
            _previewing(f"{SEATS} seats", SEATS, folder / "class", binary, env),
        )


def growth_ms(one: Times, many: Times) -> float:
    """What a seat more adds to the medians, in milliseconds."""
    return (many.median - one.median) / (SEATS - 1) * 1000


def _previewing(name: str, seats: int, folder: Path, binary: str, env: dict[str, str]) -> Contender:
    (folder / "backend").mkdir(parents=True)
    ours = yaml.safe_load((PROJECT_ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    here = {"main": str(PROJECT_ROOT), "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**ours, **here}), encoding="utf-8")
    config = {f"{NAMESPACE}:{key}": value for key, value in {**_SETTINGS, "participants": seats}.items()}
    (folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump({"config": config}), encoding="utf-8")
    env = {**env, "PULUMI_HOME": str(folder / "home"), "PULUMI_BACKEND_URL": (folder / "backend").as_uri()}

    def pulumi(*words: str) -> None:
        run([binary, *words, "--stack", STACK, "--non-interactive"], cwd=folder, env=env)

    def begin() -> None:
        if not list((folder / "backend").rglob(f"{STACK}.json")):
            pulumi("stack", "init")

    return Contender(name=f"pulumi on AWS, {name}", begin=begin, steps={PREVIEW: lambda: pulumi("preview")})
