"""Keeps the guard rails while the program runs, under every engine: `pulumi preview` and `up`, and the rehearsal.

It stands between the program and Pulumi's monitor, where each resource passes with all its inputs and with its secrets
marked, before the engine hears of it. Why it is no policy pack alone: docs/decisions/0010.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pulumi
from pulumi.runtime.settings import SETTINGS, get_monitor

from policies import budget, rules
from policies.declared import Declared
from stacks.errors import SettingsError
from stacks.seats import Seat, by_machine
from stacks.settings import SeminarSettings


def stand_guard(settings: SeminarSettings, seats: tuple[Seat, ...]) -> None:
    """Refuse the seminar where it is above its budget (SettingsError), and from here on whatever breaks a rule."""
    faults = budget.faults_of(settings, len(by_machine(seats)), datetime.now(timezone.utc))
    if faults:
        raise SettingsError(faults)
    SETTINGS.monitor = _Guard(get_monitor(), settings)


class _Guard:
    """Hands everything on to the monitor but a resource that breaks a rule."""

    def __init__(self, monitor: Any, settings: SeminarSettings) -> None:
        self._monitor = monitor
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._monitor, name)

    def RegisterResource(self, request: Any) -> Any:
        """Raises RunError, which Pulumi prints as a sentence."""
        if faults := rules.faults_of(Declared.of(request), self._settings):
            raise pulumi.RunError("\n".join(faults))
        return self._monitor.RegisterResource(request)
