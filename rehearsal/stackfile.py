"""The stack's file, Pulumi.<stack>.yaml, read without the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT, stack_folder
from stacks.settings import NAMESPACE, SeminarSettings

_ENCRYPTED = "********"  # stands for a value that only the CLI can read


@dataclass(frozen=True)
class StackFile:
    """The seminar's keys, without their namespace, as text. `encrypted` names those that only the CLI can read."""

    stack: str
    values: Mapping[str, str]
    encrypted: frozenset[str] = frozenset()

    @classmethod
    def read(cls, stack: str) -> StackFile:
        """Read the file that the last `make rehearse` ran with, else the one in the project. Raises SettingsError."""
        used = stack_folder(stack) / f"Pulumi.{stack}.yaml"
        return cls.load(stack, used if used.exists() else PROJECT_ROOT / f"Pulumi.{stack}.yaml")

    @classmethod
    def load(cls, stack: str, path: Path) -> StackFile:
        """Read one file. Raises SettingsError."""
        import yaml

        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            stacks = sorted(file.name[7:-5] for file in PROJECT_ROOT.glob("Pulumi.*.yaml"))
            raise SettingsError(f"There is no {path.name}; expected one of {', '.join(stacks) or 'none yet'}.") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path.name} is not YAML: {' '.join(str(error).split())}.") from error
        config = document.get("config") if isinstance(document, dict) else None
        if not isinstance(config, dict):
            raise SettingsError(f"{path.name} has no mapping `config:`; see Pulumi.rehearsal.yaml for how it looks.")
        values: dict[str, str] = {}
        encrypted = set()
        for key, value in config.items():
            namespace, _, name = str(key).rpartition(":")
            if namespace not in ("", NAMESPACE):
                continue  # a provider's, such as aws:region
            if isinstance(value, dict) and set(value) == {"secure"}:
                encrypted.add(name)
                values[name] = _ENCRYPTED
            else:
                values[name] = _as_pulumi_writes(value)
        return cls(stack, values, frozenset(encrypted))

    def numbered(self, participants: str) -> StackFile:
        """The same seminar with so many numbered participants in place of its roster."""
        values = {key: value for key, value in self.values.items() if key != "roster"}
        return replace(self, values={**values, "participants": participants})

    def settings(self) -> SeminarSettings:
        """Parse the values. Raises SettingsError."""
        return SeminarSettings.from_mapping(self.values, seminar=self.stack, secret_keys=self.encrypted)

    def refuse_encrypted(self) -> None:
        """Raise SettingsError if a value can't be read without the CLI."""
        if self.encrypted:
            names = ", ".join(f"{NAMESPACE}:{name}" for name in sorted(self.encrypted))
            raise SettingsError(
                f"Pulumi.{self.stack}.yaml: {names} is encrypted and only the Pulumi CLI can read it; "
                "`make pulumi` installs it, or remove the key and use `fab set-password` after `make rehearse`."
            )


def _as_pulumi_writes(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
