"""What this node tells its trust service of its budget, with each acknowledgement.

Computed anew only when the ledger has another entry or another day has begun: between those
nothing changes that is told. It holds nothing that rests on records (ADR 25).
"""

from __future__ import annotations

from typing import Any

from client_node.budget_ledger import BudgetLedger, Limits
from client_node.budget_words import remaining, state_of, unknown_state
from client_node.errors import LedgerRolledBack
from policies.budget import BudgetState, budget_to_dict
from policies.clock import Clock

DAY_S = 86_400


class BudgetReport:
    """Returns the state as JSON values."""

    def __init__(self, ledger: BudgetLedger, limits: Limits, *, clock: Clock) -> None:
        self._ledger, self._limits, self._clock = ledger, limits, clock
        self._made: tuple[object, dict[str, Any]] | None = None

    def __call__(self) -> dict[str, Any]:
        """Return what is to be told now."""
        of = (self._newest(), self._ledger.fault, int(self._clock() // DAY_S))
        if self._made is None or self._made[0] != of:
            self._made = (of, budget_to_dict(self._state()))
        return self._made[1]

    def _newest(self) -> str | None:
        try:
            return self._ledger.head()
        except LedgerRolledBack:
            return None

    def _state(self) -> BudgetState:
        now = self._clock()
        found = remaining(self._ledger, self._limits, clock=self._clock)
        if found is None or self._ledger.fault is not None:
            return unknown_state(self._limits, now=now)
        return state_of(found, now=now)
