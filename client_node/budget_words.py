"""What remains of a node's privacy budget: figures for its operator, and a state to tell others.

The words are everybody's (`policies.budget`); the figures come from the ledger alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from client_node.budget_ledger import BudgetLedger, Limits
from client_node.errors import LedgerRolledBack
from models.accounting import NOTHING_SPENT, RdpCurve, epsilon, within
from policies.budget import NODES, BudgetState, right_percent, sentences
from policies.clock import Clock
from policies.vocabulary import Purpose

DAY_S = 86_400
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
    epsilon_at_nodes: float
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
        epsilon_at_nodes=doubled,
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


def state_of(found: Remaining, *, now: float) -> BudgetState:
    """Return what may be told outside: whole days instead of seconds."""
    returns = found.oldest_returns_at
    return BudgetState(
        day=_day(now),
        period_days=max(1, round(found.period_s / DAY_S)),
        delta=found.delta,
        epsilon_spent=found.epsilon_spent,
        epsilon_limit=found.epsilon_limit,
        epsilon_at_nodes=found.epsilon_at_nodes,
        by_purpose={Purpose(name): cost for name, cost in found.by_purpose.items()},
        caps={Purpose(name): cap for name, cap in found.caps.items()},
        more_like_the_last=found.more_like_the_last,
        first_over_on=None if returns is None else _day(returns),
    )


def unknown_state(limits: Limits, *, now: float) -> BudgetState:
    """Return what is told of a ledger that cannot be trusted: it counts as spent to the limit."""
    return BudgetState(
        day=_day(now),
        period_days=max(1, round(limits.period_s / DAY_S)),
        delta=limits.delta,
        epsilon_spent=limits.epsilon,
        epsilon_limit=limits.epsilon,
        epsilon_at_nodes=NODES * limits.epsilon,
        caps=dict(limits.caps),
        readable=False,
    )


def words(found: Remaining | None, *, fault: str | None) -> list[str]:
    """Return sentences for an operator, or for a customer who asks."""
    if found is None:
        return [f"What was spent cannot be read: {fault}"]
    told = sentences(state_of(found, now=0.0))  # no sentence names the day it is said
    if found.training != "ready":
        told.append(f"Nothing more can be computed here: {found.training}")
    return told


def to_dict(found: Remaining | None, *, fault: str | None) -> dict[str, Any]:
    """Return figures and words as JSON values; no figures where the ledger cannot be read."""
    figures = {"training": fault or "ready"} if found is None else asdict(found)
    return figures | {"words": words(found, fault=fault)}


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).date().isoformat()


def _more(spent: RdpCurve, last: RdpCurve, most: float, delta: float) -> int:
    """Return how many more of the last fit, up to a number nobody counts to."""
    low, high = 0, _MOST
    while low < high:
        middle = (low + high + 1) // 2
        fits = within(spent + last * middle, epsilon=most, delta=delta)
        low, high = (middle, high) if fits else (low, middle - 1)
    return low
