"""What remains of a node's privacy budget, in figures and in people's words.

Epsilon is a number for experts. What it means for one customer: whoever sees all that ever left
the node and guesses whether this customer's messages were used is right at most so often in a
hundred such guesses (e^epsilon + delta) / (1 + e^epsilon) (Kairouz, Oh & Viswanath 2015). Fifty
is a coin; a hundred is certainty.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from client_node.budget_ledger import BudgetLedger, Limits
from client_node.errors import LedgerRolledBack
from models.accounting import NOTHING_SPENT, RdpCurve, epsilon, within
from policies.clock import Clock
from policies.vocabulary import Purpose

DAY_S = 86_400
NODES = 2
"""For how many nodes that hold the same person the words give the composed bound."""
_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What people at this node may have lost in the period, and what is left.

    `right_percent` bounds how often an onlooker's guess is right, from 50; `at_nodes_percent` for
    a person at `NODES` nodes that have spent alike. `more_like_the_last` is how often the last
    computation would still fit, `oldest_returns_at` (Unix seconds) when the oldest is over.
    """

    epsilon_spent: float
    epsilon_limit: float
    delta: float
    period_s: int
    entries: int
    by_purpose: dict[str, float]
    caps: dict[str, float]
    right_percent: float
    at_nodes_percent: float
    more_like_the_last: int
    oldest_returns_at: float | None
    training: str


def remaining(ledger: BudgetLedger, limits: Limits, *, clock: Clock) -> Remaining | None:
    """Return what remains, None where the ledger cannot be read."""
    try:
        entries, spent = ledger.entries(), ledger.spent()
        purposes = {p.value: ledger.epsilon_spent(p) for p in Purpose}
        used = ledger.epsilon_spent()
    except LedgerRolledBack:
        return None
    current = [e for e in entries if e.spent_at > clock() - limits.period_s]
    last = ledger.curve_of(current[-1]) if current else NOTHING_SPENT
    purpose = Purpose(current[-1].purpose) if current else Purpose.TRAINING
    mine = ledger.spent(purpose)
    doubled = epsilon(spent * NODES, delta=limits.delta) if used else 0.0
    return Remaining(
        epsilon_spent=used,
        epsilon_limit=limits.epsilon,
        delta=limits.delta,
        period_s=limits.period_s,
        entries=len(entries),
        by_purpose={name: cost for name, cost in purposes.items() if cost},
        caps={purpose.value: cap for purpose, cap in limits.caps.items()},
        right_percent=right_percent(used, limits.delta),
        at_nodes_percent=right_percent(doubled, limits.delta),
        more_like_the_last=min(
            _more(spent, last, limits.epsilon, limits.delta),
            _more(mine, last, limits.cap_of(purpose), limits.delta),
        )
        if current
        else 0,
        oldest_returns_at=current[0].spent_at + limits.period_s if current else None,
        training=ledger.fault or "ready",
    )


def words(found: Remaining | None, *, fault: str | None) -> list[str]:
    """Return sentences for an operator, or for a customer who asks."""
    if found is None:
        return [f"What was spent cannot be read: {fault}"]
    days = max(1, round(found.period_s / DAY_S))
    told = [*_spent_words(found, days), *_cap_words(found)]
    if found.training != "ready":
        told.append(f"Nothing more can be computed here: {found.training}")
    return told


def to_dict(found: Remaining | None, *, fault: str | None) -> dict[str, Any]:
    """Return figures and words as JSON values; no figures where the ledger cannot be read."""
    figures = {"training": fault or "ready"} if found is None else asdict(found)
    return figures | {"words": words(found, fault=fault)}


def _spent_words(found: Remaining, days: int) -> list[str]:
    most = percent(right_percent(found.epsilon_limit, found.delta))
    if found.epsilon_spent == 0:
        nothing = (
            "Nothing that was computed from customers' messages has left this node in the last "
            f"{days} days. The limit lets a guess whether a certain customer's were used be right "
            f"{most} times in 100 at most; a coin is right 50 times."
        )
        return [nothing]
    here = (
        f"Whoever sees all that left this node in the last {days} days, and guesses whether a "
        "certain customer's messages were used, is right at most "
        f"{percent(found.right_percent)} times in 100; a coin is right 50 times. The limit is "
        f"{most}."
    )
    elsewhere = (
        f"For a customer known at {NODES} such branches it is "
        f"{percent(found.at_nodes_percent)}; branches are never linked to find out."
    )
    told = [here, elsewhere]
    if found.more_like_the_last == 0:
        told.append("The limit is reached: no further computation like the last one is answered.")
    else:
        told.append(f"There is room for {found.more_like_the_last} more like the last one.")
    if found.oldest_returns_at is not None:
        day = datetime.fromtimestamp(found.oldest_returns_at, tz=UTC).date()
        told.append(f"What was spent first is over on {day.isoformat()}.")
    return told


def _cap_words(found: Remaining) -> list[str]:
    """Return a sentence for each purpose that has a cap of its own."""
    told = []
    for purpose, cap in found.caps.items():
        most = percent(right_percent(cap, found.delta))
        so_far = percent(right_percent(found.by_purpose.get(purpose, 0.0), found.delta))
        told.append(
            f"From {purpose.replace('_', ' ')} alone such a guess may be right {most} times in 100 "
            f"at most; so far it is {so_far}."
        )
    return told


def right_percent(spent: float, delta: float) -> float:
    """Return how often a guess between two equally likely worlds is right at most, in percent."""
    return 100 * (1 + delta * math.exp(-spent)) / (1 + math.exp(-spent))


def percent(value: float) -> str:
    """Return a percentage rounded up: a bound is not rounded in its own favour."""
    tenths = math.ceil(10 * value - 1e-9) / 10
    return f"{tenths:.0f}" if tenths == round(tenths) else f"{tenths:.1f}"


def _more(spent: RdpCurve, last: RdpCurve, most: float, delta: float) -> int:
    """Return how many more of the last fit, up to a number nobody counts to."""
    low, high = 0, _MOST
    while low < high:
        middle = (low + high + 1) // 2
        fits = within(spent + last * middle, epsilon=most, delta=delta)
        low, high = (middle, high) if fits else (low, middle - 1)
    return low
