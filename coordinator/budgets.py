"""What the centre has set aside of everybody's privacy, as its portal shows it to staff.

One section for all nodes: the centre counts every run for every node, whoever took part, so that
it never asks for what an honest node would have to refuse. Nodes' own ledgers bind, and are told
at the trust service. Computed from plans alone.
"""

from __future__ import annotations

from datetime import UTC, datetime

from audit.portal.budget_page import Section
from coordinator.budget_ledger import CentralLedger
from coordinator.journal import Journal
from coordinator.registry import Registry
from policies.budget import NODES, BudgetState
from policies.clock import Clock
from policies.vocabulary import Purpose


def budget_sections(
    ledger: CentralLedger, journal: Journal, registry: Registry, *, clock: Clock
) -> list[Section]:
    """Return the one section, under the names of the registered nodes."""
    nodes = sorted(registry.nodes())
    if not nodes:
        return []
    return [
        Section(
            name="Every node", of=", ".join(nodes), state=_state(ledger, journal, registry, clock)
        )
    ]


def _state(
    ledger: CentralLedger, journal: Journal, registry: Registry, clock: Clock
) -> BudgetState:
    spent, ceiling, runs = ledger.spent(), ledger.ceiling, journal.runs()
    last = registry.plan(runs[-1].plan_digest).plan.epsilon if runs else 0.0
    return BudgetState(
        day=datetime.fromtimestamp(clock(), tz=UTC).date().isoformat(),
        period_days=0,
        delta=ceiling.delta,  # all of it: a bound is not told smaller than it may become
        epsilon_spent=spent.epsilon,
        epsilon_limit=ceiling.epsilon,
        epsilon_at_nodes=NODES * spent.epsilon,
        by_purpose={Purpose.TRAINING: spent.epsilon} if spent.epsilon else {},
        more_like_the_last=int((ceiling.epsilon - spent.epsilon + 1e-9) // last) if last else 0,
    )
