"""When to contact somebody, and whether they will buy again: from ordinary activity alone.

Knows times of contacts and of purchases, and nothing that anybody felt or said: no emotion can be
given to it, and a test reads its types to see that (rules 15 and 24). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DAY_S = 86_400
HOURS = 24
FEWEST_CONTACTS = 5
PRIOR_PURCHASES = 1.0
PRIOR_DAYS = 180.0
"""A gamma prior on the rate: one purchase in half a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One earlier contact of ours: the local hour of the day, and whether it was answered."""

    hour: int
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the branch's own system knows of a customer's ordinary activity.

    `purchases_s` are Unix seconds, `known_since_s` is when they became a customer; `fits` says
    that the ordinary, emotion-blind eligibility of the offer is met.
    """

    contacts: tuple[Contact, ...]
    purchases_s: tuple[int, ...]
    known_since_s: int
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An hour to contact them, and how likely they buy again within `days`."""

    hour: int | None
    likely: float
    days: int
    due: bool


def moment(activity: Activity, *, now_s: int, days: int, due_from: float) -> Moment:
    """Return when to contact somebody, how likely they buy again, and whether an offer is due.

    It is due where the offer's ordinary conditions are met and the probability reaches
    `due_from`; by activity alone.
    """
    likely = repeat_purchase(activity, now_s=now_s, days=days)
    return Moment(
        hour=best_hour(activity.contacts),
        likely=likely,
        days=days,
        due=activity.fits and likely >= due_from,
    )


def best_hour(contacts: Sequence[Contact]) -> int | None:
    """Return the hour at which contacts are answered most, each hour begun at one half.

    None below five contacts. Of equals the one with more answers, then the earlier.
    """
    if len(contacts) < FEWEST_CONTACTS:
        return None
    tried, answered = [0] * HOURS, [0] * HOURS
    for contact in contacts:
        tried[contact.hour] += 1
        answered[contact.hour] += contact.answered
    hours = [hour for hour in range(HOURS) if tried[hour]]
    return max(hours, key=lambda h: ((answered[h] + 1) / (tried[h] + 2), answered[h], -h))


def repeat_purchase(activity: Activity, *, now_s: int, days: int) -> float:
    """Return the probability of a purchase within `days`: a Poisson rate with a gamma prior.

    With n purchases in T days the rate is Gamma(a + n, b + T), and none comes in d days with
    probability ((b + T) / (b + T + d)) ** (a + n).
    """
    seen_days = max(0.0, (now_s - activity.known_since_s) / DAY_S)
    count = sum(activity.known_since_s <= at <= now_s for at in activity.purchases_s)
    known_days = PRIOR_DAYS + seen_days
    none = (known_days / (known_days + days)) ** (PRIOR_PURCHASES + count)
    return float(1 - none)
