"""The settings of a seminar, parsed once into frozen values.

`from_mapping` is pure but for looking whether `materials` exists and what time it is; `from_pulumi` is the only reader
of Pulumi's config. The defaults stand in Pulumi.yaml too, for the CLI: a test holds both together.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from stacks import access, ends, images, regions, sizes
from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.values import Secret, is_git_url, password_fault

NAMESPACE = "seminar"
CLOUDS = ("local", "aws")
INTERFACES = ("notebook", "lab")
LOWEST_PORT, HIGHEST_PORT = 1024, 65535  # below 1024 a port needs root on most systems
MOST_PARTICIPANTS = 500  # aws.py's smallest network holds them all
MOST_DISK_GIB = 16384  # the largest gp3 volume, https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html

# A path that needs no quoting anywhere: `cd learnml` is typed by hand too.
_WORKDIR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True, kw_only=True)
class SeminarSettings:
    """One seminar. `participants` is 0 where a roster names them, `roster` is None where they are numbered.

    From `region` on, for a cloud alone: `allowed_cidrs` are the networks that reach SSH; `machine_type` is "" for the
    one of `size`; `image` "" for the cloud's default; `disk_gib` 0 for the image's own; `ends` is None for no end.
    """

    seminar: str
    cloud: str = "local"
    participants: int = 0
    roster: Path | None = None
    workdir: str = "learnml"
    notebook_port: int = 8888
    local_port: int = 8888
    interface: str = "notebook"
    password: Secret | None = None
    materials: str = ""
    region: str = ""
    allowed_cidrs: tuple[str, ...] = ()
    size: str = sizes.DEFAULT
    machine_type: str = ""
    image: str = ""
    disk_gib: int = 0
    ends: datetime | None = None
    spot: bool = False
    stable_addresses: bool = False

    @classmethod
    def from_mapping(
        cls,
        given: Mapping[str, str],
        *,
        seminar: str,
        secret_keys: Collection[str] = (),
        root: Path = PROJECT_ROOT,
        now: datetime | None = None,
    ) -> SeminarSettings:
        """Read the keys of one stack file, without their namespace (`workdir`, not `seminar:workdir`).

        Relative paths are meant from `root`; `now` is what `ends` is compared with, the present by default.
        Raises SettingsError with every fault at once.
        """
        reader = _Reader(given, f"Pulumi.{seminar}.yaml")
        reader.refuse_unknown(_KEYS)
        values = {
            "cloud": reader.choice("cloud", CLOUDS, cls.cloud),
            "participants": reader.whole("participants", 0, MOST_PARTICIPANTS, cls.participants, "25"),
            "roster": reader.path("roster", root),
            "workdir": reader.text("workdir", cls.workdir, _workdir_fault),
            "notebook_port": reader.port("notebook-port", cls.notebook_port),
            "local_port": reader.port("local-port", cls.local_port),
            "interface": reader.choice("interface", INTERFACES, cls.interface),
            "password": reader.password("password", secret_keys),
            "materials": reader.text("materials", cls.materials, lambda text: _materials_fault(text, root)),
            "size": reader.choice("size", tuple(sizes.SIZES), cls.size),
            "disk_gib": reader.whole("disk-gib", 0, MOST_DISK_GIB, cls.disk_gib, "100"),
            "ends": reader.moment("ends", now or datetime.now(timezone.utc)),
            "spot": reader.yes_or_no("spot", cls.spot),
            "stable_addresses": reader.yes_or_no("stable-addresses", cls.stable_addresses),
            "allowed_cidrs": reader.networks("allowed-cidrs"),
            "region": reader.text("region", cls.region, lambda _: None),
            "machine_type": reader.text("machine-type", cls.machine_type, lambda _: None),
            "image": reader.text("image", cls.image, lambda _: None),
        }
        if values["cloud"] == "aws" and "cloud" not in reader.faulty:
            reader.for_aws(values)
        if "participants" not in reader.faulty and "roster" not in reader.faulty:
            if values["participants"] and values["roster"]:
                reader.fault("participants", f"is {values['participants']} and roster is set too", "only one of them")
            elif not values["participants"] and not values["roster"]:
                reader.fault("participants", "is not set and neither is roster", "one of them, for example 25")
        if reader.faulty and isinstance(values["roster"], Path):
            reader.add_faults_of_roster(values["roster"])
        reader.raise_faults()
        return cls(seminar=seminar, **values)  # type: ignore[arg-type]  # each value was parsed to its field's type

    @classmethod
    def from_pulumi(cls) -> SeminarSettings:
        """Read the config of the stack that is running. Raises SettingsError."""
        import pulumi
        from pulumi.runtime import config as runtime_config

        prefix = f"{NAMESPACE}:"
        given = {
            key.removeprefix(prefix): value
            for key, value in runtime_config.CONFIG.get().items()
            if key.startswith(prefix) and value is not None
        }
        secret = {key for key in given if runtime_config.is_config_secret(prefix + key)}
        return cls.from_mapping(given, seminar=pulumi.get_stack(), secret_keys=secret)


_KEYS = (
    "cloud",
    "participants",
    "roster",
    "workdir",
    "notebook-port",
    "local-port",
    "interface",
    "password",
    "materials",
    "region",
    "allowed-cidrs",
    "size",
    "machine-type",
    "image",
    "disk-gib",
    "ends",
    "spot",
    "stable-addresses",
)


class _Reader:
    """Takes one key after another and remembers every fault."""

    def __init__(self, given: Mapping[str, str], source: str) -> None:
        self._given = given
        self._source = source
        self._faults: list[str] = []
        self.faulty: set[str] = set()

    def fault(self, key: str, came: str, expected: str) -> None:
        self.faulty.add(key)
        self._faults.append(f"{self._source}: {NAMESPACE}:{key} {came}; expected {expected}.")

    def raise_faults(self) -> None:
        if self._faults:
            raise SettingsError(self._faults)

    def add_faults_of_roster(self, roster: Path) -> None:
        """The run ends anyway: say at once what else stands in its way."""
        from stacks.roster import read_roster

        try:
            read_roster(roster)
        except SettingsError as error:
            self._faults += error.faults

    def refuse_unknown(self, known: Collection[str]) -> None:
        for key in sorted(set(self._given) - set(known)):
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"{NAMESPACE}:{near[0]}" if near else f"one of {', '.join(known)}"
            self.fault(key, "is not a setting", hint)

    def text(self, key: str, default: str, fault_in: Callable[[str], tuple[str, str] | None]) -> str:
        value = self._given.get(key, "").strip() or default
        fault = fault_in(value) if value else None
        if fault:
            self.fault(key, *fault)
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        def fault_in(value: str) -> tuple[str, str] | None:
            return None if value in allowed else (f"is {value!r}", " or ".join(allowed))

        return self.text(key, default, fault_in)

    def whole(self, key: str, lowest: int, highest: int, default: int, example: str) -> int:
        value = self._given.get(key, "").strip()
        if not value:
            return default
        wanted = f"a whole number from {max(lowest, 1)} to {highest}, for example {example}"
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", value):
            self.fault(key, f"is {value[:40]!r}", wanted)
        elif not lowest <= int(value) <= highest:
            self.fault(key, f"is {int(value)}", wanted)
        else:
            return int(value)
        return default

    def port(self, key: str, default: int) -> int:
        return self.whole(key, LOWEST_PORT, HIGHEST_PORT, default, "8888")

    def path(self, key: str, root: Path) -> Path | None:
        value = self._given.get(key, "").strip()
        return root / value if value else None

    def yes_or_no(self, key: str, default: bool) -> bool:
        return self.choice(key, ("true", "false"), str(default).lower()) == "true"

    def moment(self, key: str, now: datetime) -> datetime | None:
        value = self._given.get(key, "").strip()
        if not value:
            return None
        moment, fault = ends.parse(value, now)
        if fault:
            self.fault(key, *fault)
        return moment

    def networks(self, key: str) -> tuple[str, ...]:
        networks, faults = access.parse(self._given.get(key, ""))
        for fault in faults:
            self.fault(key, *fault)
        return networks

    def for_aws(self, values: Mapping[str, object]) -> None:
        """What only a seminar on AWS must say, and say right."""
        region, machine_type, image = (str(values[key]) for key in ("region", "machine_type", "image"))
        if not region:
            self.fault("region", "is not set", "a region of AWS, for example eu-central-1")
        elif region not in regions.AWS_REGIONS:
            near = difflib.get_close_matches(region, regions.AWS_REGIONS, n=1)
            self.fault("region", f"is {region[:40]!r}", f"a region of AWS, for example {(near or ['eu-central-1'])[0]}")
        if not values["allowed_cidrs"] and "allowed-cidrs" not in self.faulty:
            self.fault("allowed-cidrs", *access.missing())
        if machine_type and not sizes.is_aws_type(machine_type):
            self.fault("machine-type", f"is {machine_type[:40]!r}", "an EC2 instance type, for example g5.xlarge")
        if images.aws_image(image) is None:
            self.fault(
                "image",
                f"is {image[:60]!r}",
                f"a line of Deep Learning AMIs such as {images.AWS_DEFAULT}, {images.PLAIN}, or an id such as "
                "ami-0123456789abcdef0",
            )

    def password(self, key: str, secret_keys: Collection[str]) -> Secret | None:
        value = self._given.get(key, "")
        if not value:
            return None
        if key not in secret_keys:
            self.fault(
                key, "stands in clear text", "`pulumi config set --secret seminar:password`, or `fab set-password`"
            )
        elif fault := password_fault(value):
            self.fault(key, *fault)
        return Secret(value)


def _workdir_fault(value: str) -> tuple[str, str] | None:
    if _WORKDIR.fullmatch(value) and len(value) <= 200:
        return None
    return (
        f"is {value[:80]!r}",
        "a folder below the home, of letters, digits, dot, dash and underscore, no part beginning with a dot or "
        "a dash, for example learnml",
    )


def _materials_fault(value: str, root: Path) -> tuple[str, str] | None:
    if re.match(r"\w+://[^/@]*:[^/@]*@", value):  # never echoed: it would be exported, and kept on every machine
        return "is a URL with a password in it", "one that needs none, or a folder that you cloned yourself"
    if is_git_url(value) or os.path.isdir(root / value):
        return None
    return f"is {value[:80]!r}, which is no folder", "a folder, or a git URL such as https://example.org/class.git"
