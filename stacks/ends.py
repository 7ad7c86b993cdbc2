"""When a seminar ends: a moment, written with its zone. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo

EXAMPLE = "2027-03-05 18:00 Europe/Berlin"
_DAY, _CLOCK, _OFFSET = r"(\d{4}-\d\d-\d\d)", r"(\d\d:\d\d(?::\d\d)?)", r"[+-]\d\d:?\d\d"
_FORM = re.compile(rf"{_DAY}[T ]+{_CLOCK} *(Z|UTC|{_OFFSET}|[A-Za-z][\w+-]*(?:/[\w+-]+)+)?")
# A time without quotes is one to YAML, and the Pulumi CLI hands it on as Go writes it: 2027-03-05 17:00:00 +0000 UTC
_AS_GO_WRITES_IT = re.compile(rf"({_DAY} {_CLOCK} {_OFFSET}) (?:[A-Z]+|[+-]\d\d(?:\d\d)?)")


def parse(text: str, now: datetime) -> tuple[datetime | None, tuple[str, str] | None]:
    """The moment that a setting names, in its own zone, or what is wrong with it as (what came, what was expected).

    `2027-03-05 18:00 Europe/Berlin`, or ISO 8601 with an offset or Z.
    """
    go = _AS_GO_WRITES_IT.fullmatch(text.strip())
    form = _FORM.fullmatch(go.group(1) if go else text.strip())
    expected = f"a date, a time and a zone, for example {EXAMPLE}"
    if form is None:
        return None, (f"is {text[:60]!r}", expected)
    day, clock, zone_name = form.groups()
    if zone_name is None:
        return None, (f"is {text[:60]!r}, which has no time zone", expected)
    zone = _zone(zone_name)
    if zone is None:
        return None, (f"has the time zone {zone_name[:40]!r}, which is not known", expected)
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone)
    except ValueError:
        return None, (f"is {text[:60]!r}, which no calendar has", expected)
    if moment <= now:
        return None, (f"is {text[:60]!r}, which is past", "a moment to come; a later one lets the seminar go on")
    return moment, None


def as_utc(moment: datetime) -> str:
    """The moment as tags and machines carry it: `2027-03-05T17:00:00Z`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_daily(moment: datetime) -> tuple[str, str]:
    """The time of day as `1800`, and its zone by Windows' name for it: what a daily schedule of Azure's is told.

    Where Windows has no such zone, or the moment has but an offset, both are in UTC. The names are CLDR's
    (https://github.com/unicode-org/cldr, windowsZones.xml), as tzlocal carries them.
    """
    from tzlocal.windows_tz import tz_win

    zone = getattr(moment.tzinfo, "key", "")
    windows = tz_win.get(zone) if zone else None  # tzlocal 5.4.5 has an entry for ""
    if windows is None:
        moment, windows = moment.astimezone(timezone.utc), "UTC"
    return moment.strftime("%H%M"), windows


def _zone(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo

    if name in ("Z", "UTC"):
        return timezone.utc
    if name[0] in "+-":
        minutes = int(name[1:3]) * 60 + int(name[-2:])
        return timezone(timedelta(minutes=minutes if name[0] == "+" else -minutes)) if minutes < 24 * 60 else None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a folder's name is an OSError
        return None
