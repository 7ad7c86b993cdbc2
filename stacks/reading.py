"""Reads the keys of one stack file, one after another, and remembers every fault. Knows no key by name. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from stacks import access, ends
from stacks.errors import SettingsError

NAMESPACE = "seminar"
LOWEST_PORT, HIGHEST_PORT = 1024, 65535  # below 1024 a port needs root on most systems


class Reader:
    """Takes one key after another and remembers every fault, as what came and what was expected."""

    def __init__(self, given: Mapping[str, str], source: str) -> None:
        self.given = given
        self.faults: list[str] = []
        self.faulty: set[str] = set()
        self._source = source

    def fault(self, key: str, came: str, expected: str) -> None:
        self.faulty.add(key)
        self.faults.append(f"{self._source}: {NAMESPACE}:{key} {came}; expected {expected}.")

    def raise_faults(self) -> None:
        """Raises SettingsError with all that was found."""
        if self.faults:
            raise SettingsError(self.faults)

    def refuse_unknown(self, known: Collection[str]) -> None:
        for key in sorted(set(self.given) - set(known)):
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"{NAMESPACE}:{near[0]}" if near else f"one of {', '.join(known)}"
            self.fault(key, "is not a setting", hint)

    def text(self, key: str, default: str, fault_in: Callable[[str], tuple[str, str] | None]) -> str:
        value = self.given.get(key, "").strip() or default
        fault = fault_in(value) if value else None
        if fault:
            self.fault(key, *fault)
        return value

    def nearest(self, key: str, value: str, known: Collection[str], what: str, example: str) -> None:
        """Remember a fault where the value is none of the known ones, with the one that it is most like."""
        if value not in known:
            typed = value.lower().replace(" ", "")
            near = difflib.get_close_matches(typed, known, n=1)
            self.fault(key, f"is {value[:40]!r}", f"{what}, for example {(near or [example])[0]}")

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        def fault_in(value: str) -> tuple[str, str] | None:
            return None if value in allowed else (f"is {value!r}", " or ".join(allowed))

        return self.text(key, default, fault_in)

    def whole(self, key: str, lowest: int, highest: int, default: int, example: str) -> int:
        value = self.given.get(key, "").strip()
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

    def amount(self, key: str, example: str) -> Decimal | None:
        """A sum of money above nothing, None where none is given."""
        value = self.given.get(key, "").strip()
        if not value:
            return None
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not Decimal(value):
            self.fault(key, f"is {value[:40]!r}", f"an amount above 0, for example {example}")
            return None
        return Decimal(value)

    def port(self, key: str, default: int) -> int:
        return self.whole(key, LOWEST_PORT, HIGHEST_PORT, default, "8888")

    def path(self, key: str, root: Path) -> Path | None:
        value = self.given.get(key, "").strip()
        return root / value if value else None

    def yes_or_no(self, key: str, default: bool) -> bool:
        return self.choice(key, ("true", "false"), str(default).lower()) == "true"

    def moment(self, key: str, now: datetime) -> datetime | None:
        value = self.given.get(key, "").strip()
        if not value:
            return None
        moment, fault = ends.parse(value, now)
        if fault:
            self.fault(key, *fault)
        return moment

    def networks(self, key: str) -> tuple[str, ...]:
        networks, faults = access.parse(self.given.get(key, ""))
        for fault in faults:
            self.fault(key, *fault)
        return networks
