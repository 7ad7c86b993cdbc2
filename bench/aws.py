"""`pulumi preview` of a class on AWS against one of a single seat, with a provider that is a stand-in.

What a seat more costs is ours and Pulumi's; most of the rest is loading the SDK, which is timed beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.engines import SEATS, STACK, pulumi_in
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
    if pulumi_cli.find() is None:
        yield None
        return
    from tests.doubles import protocol
    from tests.doubles.account import an_account
    from tests.doubles.moto_aws import ENDPOINT

    with an_account() as account:
        plugins = protocol.install(folder / "bin", "aws", "tests.doubles.moto_aws", **{ENDPOINT: account.endpoint})
        load = f"import pulumi_aws as aws; [getattr(aws, name) for name in {_MODULES}]; aws.ec2.Instance"
        yield (
            Contender(name="Python", steps={IMPORT: lambda: run([sys.executable, "-c", load], cwd=folder)}),
            _previewing("1 seat", 1, folder / "aws-one", str(plugins)),
            _previewing(f"{SEATS} seats", SEATS, folder / "aws-class", str(plugins)),
        )


def growth_ms(one: Times, many: Times) -> float:
    """What a seat more adds to the medians, in milliseconds."""
    return (many.median - one.median) / (SEATS - 1) * 1000


def _previewing(name: str, seats: int, folder: Path, plugins: str) -> Contender:
    ours = yaml.safe_load((PROJECT_ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    pulumi = pulumi_in(folder, STACK, project=ours, program=PROJECT_ROOT, plugins=(plugins,))
    (folder / "backend").mkdir()
    config = {f"{NAMESPACE}:{key}": value for key, value in {**_SETTINGS, "participants": seats}.items()}
    (folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump({"config": config}), encoding="utf-8")

    def begin() -> None:
        if not list((folder / "backend").rglob(f"{STACK}.json")):
            pulumi("stack", "init")

    return Contender(name=f"pulumi on AWS, {name}", begin=begin, steps={PREVIEW: lambda: pulumi("preview")})
