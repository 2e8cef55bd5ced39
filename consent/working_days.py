"""When a period of months ends, by the EU's own rule for periods, dates and time limits.

Regulation (EEC, Euratom) No 1182/71, Article 3: the day of the event does not count (1); a
period in months ends with the same date as the event's, or with the last day of a month that
has no such date (2)(c); where that is a Saturday, Sunday or public holiday, with the next
working day (4). Public holidays are data of the `holidays` library, by jurisdiction. Where no
calendar is known, only weekends move the end: early, never late.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta

import holidays

SATURDAY = 5


def period_end(start: float, *, months: int, jurisdiction: str) -> date:
    """Return the last day of a period of months.

    Args:
        start: Unix second of the event that begins it; its day is that of UTC.
        months: How many months.
        jurisdiction: `IE`, or with a region `DE-BE`; `EU` has no holidays of its own.
    """
    day = datetime.fromtimestamp(start, tz=UTC).date()
    return working_day(_months_later(day, months), jurisdiction)


def working_day(day: date, jurisdiction: str) -> date:
    """Return the day itself, or the next one on which people work there."""
    while day.weekday() >= SATURDAY or _is_holiday(day, jurisdiction):
        day += timedelta(days=1)
    return day


def _months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def _is_holiday(day: date, jurisdiction: str) -> bool:
    country, _, region = jurisdiction.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=region or None, years=day.year)
    except NotImplementedError:  # no such calendar
        return False
    return day in found
