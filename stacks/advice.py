"""What an organiser should know of settings that are right and yet risky.

Pure but for reading the roster's header and what time it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from stacks import access, sizes
from stacks.roster import has_ids
from stacks.settings import SeminarSettings

_SPOT = {
    "aws": "AWS may stop a machine in the middle of the class, and start it again later.",
    "azure": "Azure may stop a machine in the middle of the class, and it stays so until someone starts it.",
}


def advice(settings: SeminarSettings, now: datetime | None = None) -> tuple[str, ...]:
    """Sentences; none where there is nothing to say. `now` is what `ends` is compared with, the present by default.

    Raises SettingsError for a roster that can't be read.
    """
    of_cloud = _of_cloud(settings, now or datetime.now(timezone.utc)) if settings.cloud != "local" else ()
    return (*of_cloud, *_of_roster(settings))


def _of_cloud(settings: SeminarSettings, now: datetime) -> list[str]:
    found = []
    if nowhere := access.for_documentation(settings.allowed_cidrs):
        found.append(
            f"seminar:allowed-cidrs has {', '.join(nowhere)}, a range for examples that no venue has: nobody will get "
            "in from there. Name the venue's network."
        )
    if access.is_open_to_all(settings.allowed_cidrs):
        found.append(
            "seminar:allowed-cidrs is anywhere: the whole Internet may try to log in. Keys alone stand in its way."
        )
    if settings.ends is None:
        found.append("seminar:ends is not set: the machines run, and cost, until `pulumi destroy`.")
    elif settings.cloud == "azure" and settings.ends - now > timedelta(days=1):
        found.append(
            "seminar:ends: Azure's auto-shutdown is daily, so that every machine is also stopped at "
            f"{settings.ends:%H:%M} on each day before; docs/azure.md says how they are started again."
        )
    machine_type = sizes.machine_type(settings.cloud, settings.size, settings.machine_type)
    if sizes.is_burstable(machine_type):
        found.append(
            f"{machine_type} is burstable: once its CPU credits are used up, mostly in the middle of a class, it slows "
            "down to a fraction, or costs extra. The sizes of the catalogue are not."
        )
    if settings.spot:
        found.append(f"seminar:spot is true: {_SPOT[settings.cloud]}")
    return found


def _of_roster(settings: SeminarSettings) -> list[str]:
    if settings.roster is None or has_ids(settings.roster):
        return []
    return [
        f"{settings.roster.name} has no column id, so ids follow the order of its lines: removing one moves everyone "
        "below it to another seat. Add ids before the first `pulumi up`."
    ]
