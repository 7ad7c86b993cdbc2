"""The stack's file, Pulumi.<stack>.yaml, read without the CLI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from stacks.errors import SettingsError
from stacks.folders import PROJECT_ROOT, make_private, stack_file, stack_folder, write_private
from stacks.settings import NAMESPACE, SeminarSettings

_ENCRYPTED = "********"  # stands for a value that only the CLI can read


@dataclass(frozen=True)
class StackFile:
    """The seminar's keys, without their namespace, as text. `encrypted` names those that only the CLI can read."""

    stack: str
    values: Mapping[str, str]
    encrypted: frozenset[str] = frozenset()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, stack: str) -> StackFile:
        """Read the file to run the stack with (folders.stack_file). Raises SettingsError."""
        return cls.load(stack, stack_file(stack))

    @classmethod
    def load(cls, stack: str, path: Path) -> StackFile:
        """Read one file. Raises SettingsError."""
        import yaml

        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            stacks = sorted(file.name[7:-5] for file in PROJECT_ROOT.glob("Pulumi.*.yaml"))
            raise SettingsError(
                f"There is no {path.name}; expected one of {', '.join(stacks) or 'none yet'}."
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path.name} is not YAML: {' '.join(str(error).split())}.") from error
        config = document.get("config") if isinstance(document, dict) else None
        if not isinstance(config, dict):
            raise SettingsError(f"{path.name} has no mapping `config:`; see Pulumi.rehearsal.yaml for how it looks.")
        values: dict[str, str] = {}
        encrypted = set()
        for key, value in config.items():
            name = _name(key)
            if name is None:
                continue  # a provider's, such as aws:region
            if isinstance(value, dict) and set(value) == {"secure"}:
                encrypted.add(name)
                values[name] = _ENCRYPTED
            else:
                values[name] = _as_pulumi_writes(value)
        return cls(stack, values, frozenset(encrypted), document)

    def numbered(self, participants: str) -> StackFile:
        """The same seminar with so many numbered participants in place of its roster."""
        values = {key: value for key, value in self.values.items() if key != "roster"}
        config = {key: value for key, value in self.document["config"].items() if _name(key) != "roster"}
        config = {key: value for key, value in config.items() if _name(key) != "participants"}
        document = {**self.document, "config": {**config, f"{NAMESPACE}:participants": participants}}
        return replace(self, values={**values, "participants": participants}, document=document)

    def write(self) -> Path:
        """Write the file that this rehearsal runs with, so that the checked-in one stays as it is; returns its path.

        The salt that the CLI added on an earlier run is kept.
        """
        import yaml

        path = make_private(stack_folder(self.stack)) / f"Pulumi.{self.stack}.yaml"
        document = dict(self.document)
        if path.exists():
            old = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            document = {**{key: old[key] for key in old if key == "encryptionsalt"}, **document}
        changed = write_private(path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
        if not changed and stack_file(self.stack) != path:
            path.touch()  # the same words, but the newest
        return path

    def settings(self, root: Path = PROJECT_ROOT, now: datetime | None = None) -> SeminarSettings:
        """Parse the values; `root` and `now` as in SeminarSettings.from_mapping. Raises SettingsError."""
        return SeminarSettings.from_mapping(
            self.values, seminar=self.stack, secret_keys=self.encrypted, root=root, now=now
        )

    def refuse_encrypted(self) -> None:
        """Raise SettingsError if a value can't be read without the CLI."""
        if self.encrypted:
            names = ", ".join(f"{NAMESPACE}:{name}" for name in sorted(self.encrypted))
            raise SettingsError(
                f"Pulumi.{self.stack}.yaml: {names} is encrypted and only the Pulumi CLI can read it; "
                "`make pulumi` installs it, or remove the key and use `fab set-password` after `make rehearse`."
            )


def _name(key: object) -> str | None:
    namespace, _, name = str(key).rpartition(":")
    return name if namespace in ("", NAMESPACE) else None


def _as_pulumi_writes(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, list | dict) else str(value)
