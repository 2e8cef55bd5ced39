"""Shadow mode: decide by the rules in force, and count what the next rules would change.

Only the rules in force answer; the next ones are asked beside them and cannot open, close or
delay with an error. What is kept is counts by action, purpose and rule: no person, no time, no
request.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from policies.decision import Decision, UseRequest
from policies.engine import PolicyEngine
from policies.errors import PolicyUnavailable
from policies.standing import Governance, Standing
from policies.vocabulary import DecisionId, RuleId


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One kind of difference: what was asked, and the rules that answer before and after."""

    action: str
    purpose: str
    opens: bool
    before: tuple[RuleId, ...]
    after: tuple[RuleId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """How many decisions were made twice, how many changed and how, how many could not be."""

    decided: int
    changes: tuple[tuple[Change, int], ...]
    failed: int


class Shadow:
    """Two engines, one answer; thread-safe."""

    def __init__(self, *, enforced: PolicyEngine, proposed: PolicyEngine) -> None:
        self._enforced, self._proposed = enforced, proposed
        self._lock = threading.Lock()
        self._changes: Counter[Change] = Counter()
        self._decided = self._failed = 0

    def decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
        decision_id: DecisionId | None = None,
    ) -> Decision:
        """Decide by the rules in force, as `PolicyEngine.decide`; count what would change.

        Raises:
            PolicyUnavailable: The rules in force could not answer.
        """
        decision = self._enforced.decide(
            request, standing, governance, now=now, decision_id=decision_id
        )
        try:
            proposed = self._proposed.decide(request, standing, governance, now=now)
        except PolicyUnavailable:
            proposed = None
        self._count(request, decision, proposed)
        return decision

    def report(self) -> ShadowReport:
        """Return the counts so far, the most frequent change first."""
        with self._lock:
            changes = tuple(self._changes.most_common())
            return ShadowReport(decided=self._decided, changes=changes, failed=self._failed)

    def _count(self, request: UseRequest, decision: Decision, proposed: Decision | None) -> None:
        with self._lock:
            self._decided += 1
            if proposed is None:
                self._failed += 1
            elif proposed.allowed != decision.allowed:
                change = Change(
                    action=request.use or request.action,
                    purpose=request.purpose,
                    opens=proposed.allowed,
                    before=decision.rules,
                    after=proposed.rules,
                )
                self._changes[change] += 1
