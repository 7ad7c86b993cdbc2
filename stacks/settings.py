"""The settings of a seminar, parsed once into frozen values.

`from_mapping` is pure but for looking whether `materials` exists; `from_pulumi` is the only reader of Pulumi's config.
The defaults stand in Pulumi.yaml too, for the CLI: a test holds both together.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT

NAMESPACE = "seminar"
CLOUDS = ("local",)
INTERFACES = ("notebook", "lab")
LOWEST_PORT, HIGHEST_PORT = 1024, 65535  # below 1024 a port needs root on most systems
MOST_PARTICIPANTS = 500
LONGEST_PASSWORD = 200

# A path that needs no quoting anywhere: `cd learnml` is typed by hand too.
_WORKDIR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_GIT_URL = re.compile(r"(https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+")


class Secret(str):
    """Text that must not be shown: its repr is masked. Use it as a str only where it leaves this process on purpose."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True, kw_only=True)
class SeminarSettings:
    """One seminar. `participants` is 0 where a roster names them, `roster` is None where they are numbered."""

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

    @classmethod
    def from_mapping(
        cls,
        given: Mapping[str, str],
        *,
        seminar: str,
        secret_keys: Collection[str] = (),
        root: Path = PROJECT_ROOT,
    ) -> SeminarSettings:
        """Read the keys of one stack file, without their namespace (`workdir`, not `seminar:workdir`).

        Relative paths are meant from `root`. Raises SettingsError with every fault at once.
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
        }
        if "participants" not in reader.faulty and "roster" not in reader.faulty:
            if values["participants"] and values["roster"]:
                reader.fault("participants", f"is {values['participants']} and roster is set too", "only one of them")
            elif not values["participants"] and not values["roster"]:
                reader.fault("participants", "is not set and neither is roster", "one of them, for example 25")
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


def password_fault(password: str) -> tuple[str, str] | None:
    """What is wrong with a password that a person chose, as (what came, what was expected), or None."""
    if not 8 <= len(password) <= LONGEST_PASSWORD:
        return f"has {len(password)} characters", f"8 to {LONGEST_PASSWORD}"
    if not password.isprintable() or password != password.strip():
        return "has a control character, or a space at an end", "letters, digits, signs and spaces between them"
    return None


def _workdir_fault(value: str) -> tuple[str, str] | None:
    if _WORKDIR.fullmatch(value) and len(value) <= 200:
        return None
    return (
        f"is {value[:80]!r}",
        "a folder below the home, of letters, digits, dot, dash and underscore, no part beginning with a dot or "
        "a dash, for example learnml",
    )


def is_git_url(materials: str) -> bool:
    """Whether `materials` is fetched by git on the machine, rather than copied from a folder here."""
    return _GIT_URL.fullmatch(materials) is not None


def _materials_fault(value: str, root: Path) -> tuple[str, str] | None:
    if re.match(r"\w+://[^/@]*:[^/@]*@", value):  # never echoed: it would be exported, and kept on every machine
        return "is a URL with a password in it", "one that needs none, or a folder that you cloned yourself"
    if is_git_url(value) or os.path.isdir(root / value):
        return None
    return f"is {value[:80]!r}, which is no folder", "a folder, or a git URL such as https://example.org/class.git"
