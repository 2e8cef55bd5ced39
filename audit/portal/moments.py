"""Times as staff read them: in the zone that their browser chose, with UTC behind each.

The choice is a cookie of this site. A zone that the machine does not know becomes UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from fastapi import Request

ZONE_COOKIE = "__Host-undertone-zone"
_DAY_S = 86_400


def zones() -> list[str]:
    """Return the names of all zones that this machine knows."""
    return sorted(available_timezones() | {"UTC"})


def zone_name(request: Request) -> str:
    """Return the zone that a browser chose; UTC where none is known."""
    name = request.cookies.get(ZONE_COOKIE, "UTC")
    return name if name in available_timezones() else "UTC"


def zone_of(request: Request) -> tzinfo:
    """Return the zone that a browser chose."""
    try:
        return ZoneInfo(zone_name(request))
    except ZoneInfoNotFoundError:
        return UTC


def moment(at: float, zone: tzinfo) -> str:
    """Return a Unix second as a person reads it."""
    return datetime.fromtimestamp(at, tz=zone).strftime("%Y-%m-%d %H:%M:%S")


def moment_utc(at: float) -> str:
    """Return a Unix second as ISO 8601 in UTC, for machines and for exports."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_bounds(since: str, until: str, zone: tzinfo) -> tuple[float | None, float | None]:
    """Return the Unix seconds of two days (ISO 8601), the second day whole; None where empty.

    Raises:
        ValueError: One is no day.
    """
    start = _second(since, zone) if since else None
    end = _second(until, zone) + _DAY_S if until else None
    return start, end


def lasting(seconds: float) -> str:
    """Return how long something lasts, in the two largest units that say it."""
    whole, said = int(abs(seconds)), list[str]()
    for size, unit in ((_DAY_S, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, whole = divmod(whole, size)
        if count:
            said.append(f"{count} {unit}")
        elif said:
            break  # "2 d 0 h" says no more than "2 d"
    return " ".join(said[:2]) or "0 s"


def _second(day: str, zone: tzinfo) -> float:
    return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=zone).timestamp()
