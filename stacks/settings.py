"""The settings of a seminar, parsed once into frozen values.

`from_mapping` is pure but for looking whether `materials` exists and what time it is; `from_pulumi` is the only reader
of Pulumi's config. The defaults stand in Pulumi.yaml too, for the CLI: a test holds both together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

from stacks import access, reading, sizes
from stacks.clouds import CLOUDS, Cloud
from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT
from stacks.reading import Reader
from stacks.values import Secret, is_git_url, password_fault

NAMESPACE = reading.NAMESPACE
INTERFACES = ("notebook", "lab")
MOST_PARTICIPANTS = 500  # aws.py's smallest network holds them all
MOST_DOLLARS = 1_000_000
_ANY_TIME = datetime.min.replace(tzinfo=timezone.utc)  # a beginning may be past

# A path that needs no quoting anywhere: `cd learnml` is typed by hand too.
_WORKDIR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True, kw_only=True)
class SeminarSettings:
    """One seminar. `participants` is 0 where a roster names them, `roster` is None where they are numbered.

    From `region` on, for a cloud alone: `allowed_cidrs` are the networks that reach SSH; `machine_type` is "" for the
    one of `size`; `image` "" for the cloud's default; `disk_gib` 0 for the image's own; `ends` is None for no end.
    `budget` and `price_per_hour` (of one machine) are US dollars, 0 for none and None for the price list's; `begins` is
    when a preview counts costs from, None for the present.
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
    budget: int = 0
    begins: datetime | None = None
    price_per_hour: Decimal | None = None

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
        reader = Reader(given, f"Pulumi.{seminar}.yaml")
        reader.refuse_unknown(_KEYS)
        cloud = CLOUDS.get(given.get("cloud", "").strip())
        most_disk_gib = cloud.most_disk_gib if cloud else max(each.most_disk_gib for each in CLOUDS.values())
        values = {
            "cloud": reader.choice("cloud", ("local", *CLOUDS), cls.cloud),
            "participants": reader.whole("participants", 0, MOST_PARTICIPANTS, cls.participants, "25"),
            "roster": reader.path("roster", root),
            "workdir": reader.text("workdir", cls.workdir, _workdir_fault),
            "notebook_port": reader.port("notebook-port", cls.notebook_port),
            "local_port": reader.port("local-port", cls.local_port),
            "interface": reader.choice("interface", INTERFACES, cls.interface),
            "password": _password(reader, "password", secret_keys),
            "materials": reader.text("materials", cls.materials, lambda text: _materials_fault(text, root)),
            "size": reader.choice("size", tuple(sizes.SIZES), cls.size),
            "disk_gib": reader.whole("disk-gib", 0, most_disk_gib, cls.disk_gib, "200"),
            "ends": reader.moment("ends", now or datetime.now(timezone.utc)),
            "spot": reader.yes_or_no("spot", cls.spot),
            "stable_addresses": reader.yes_or_no("stable-addresses", cls.stable_addresses),
            "budget": reader.whole("budget", 0, MOST_DOLLARS, cls.budget, "500"),
            "begins": reader.moment("begins", _ANY_TIME),
            "price_per_hour": reader.amount("price-per-hour", "0.526"),
            "allowed_cidrs": reader.networks("allowed-cidrs"),
            "region": reader.text("region", cls.region, lambda _: None),
            "machine_type": reader.text("machine-type", cls.machine_type, lambda _: None),
            "image": reader.text("image", cls.image, lambda _: None),
        }
        if cloud:
            _for_cloud(reader, cloud, values)
        _check_order(reader, values)
        if "participants" not in reader.faulty and "roster" not in reader.faulty:
            if values["participants"] and values["roster"]:
                reader.fault("participants", f"is {values['participants']} and roster is set too", "only one of them")
            elif not values["participants"] and not values["roster"]:
                reader.fault("participants", "is not set and neither is roster", "one of them, for example 25")
        if reader.faulty and isinstance(values["roster"], Path):
            _add_faults_of_roster(reader, values["roster"])
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
    "budget",
    "begins",
    "price-per-hour",
)


def _password(reader: Reader, key: str, secret_keys: Collection[str]) -> Secret | None:
    value = reader.given.get(key, "")
    if not value:
        return None
    if key not in secret_keys:
        reader.fault(
            key, "stands in clear text", "`pulumi config set --secret seminar:password`, or `fab set-password`"
        )
    elif fault := password_fault(value):
        reader.fault(key, *fault)
    return Secret(value)


def _for_cloud(reader: Reader, cloud: Cloud, values: Mapping[str, object]) -> None:
    """What only a seminar in a cloud must say, and say right."""
    region, machine_type, image = (str(values[key]) for key in ("region", "machine_type", "image"))
    a_region = f"a region of {cloud.title}"
    if not region:
        reader.fault("region", "is not set", f"{a_region}, for example {cloud.a_region}")
    else:
        reader.nearest("region", region, cloud.regions, a_region, cloud.a_region)
    if not values["allowed_cidrs"] and "allowed-cidrs" not in reader.faulty:
        reader.fault("allowed-cidrs", *access.missing())
    if machine_type and not cloud.is_type(machine_type):
        reader.fault("machine-type", f"is {machine_type[:40]!r}", cloud.a_type)
    if not cloud.is_image(image):
        reader.fault("image", f"is {image[:60]!r}", cloud.an_image)


def _check_order(reader: Reader, values: Mapping[str, object]) -> None:
    begins, ends = values["begins"], values["ends"]
    if isinstance(begins, datetime) and isinstance(ends, datetime) and begins >= ends:
        reader.fault("begins", f"is {begins:%Y-%m-%d %H:%M}, and seminar:ends is no later", "a moment before the end")


def _add_faults_of_roster(reader: Reader, roster: Path) -> None:
    """The run ends anyway: say at once what else stands in its way."""
    from stacks.roster import read_roster

    try:
        read_roster(roster)
    except SettingsError as error:
        reader.faults += error.faults


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
