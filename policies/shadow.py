"""Shadow mode: decide by the rules in force, and count what the next rules would change.

Only the rules in force answer; the next ones are asked beside them and cannot open, close or
delay with an error. What is kept is counts by action, purpose and rule: no person, no time, no
request.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from policies.decision import Decides, Decision, UseRequest
from policies.errors import PolicyUnavailable
from policies.standing import Governance, Standing
from policies.vocabulary import DecisionId, Digest, RuleId, SubjectId


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

    def __init__(self, *, enforced: Decides, proposed: Decides) -> None:
        self._enforced, self._proposed = enforced, proposed
        self._lock = threading.Lock()
        self._changes: Counter[Change] = Counter()
        self._decided = self._failed = 0

    @property
    def policy_digest(self) -> Digest:
        """The digest of the rules in force."""
        return self._enforced.policy_digest

    @property
    def proposed_digest(self) -> Digest:
        """The digest of the rules asked beside them."""
        return self._proposed.policy_digest

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

    def decide_batch(
        self,
        request: UseRequest,
        standings: Iterable[Standing],
        governance: Governance | None,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide for many by the rules in force; a batch that would lose anyone counts as one.

        How many people it would lose is not counted: that number is the branch's own.

        Raises:
            PolicyUnavailable: The rules in force could not answer.
        """
        people = tuple(standings)
        allowed, decisions = self._enforced.decide_batch(request, people, governance, now=now)
        try:
            would, proposed = self._proposed.decide_batch(request, people, governance, now=now)
        except PolicyUnavailable:
            self._count_one(None, failed=True)
            return allowed, decisions
        changed = would != allowed
        self._count_one(
            _change(
                request,
                closes=bool(allowed - would),
                before=_rules(decisions),
                after=_rules(proposed),
            )
            if changed
            else None
        )
        return allowed, decisions

    def report(self) -> ShadowReport:
        """Return the counts so far, the most frequent change first."""
        with self._lock:
            changes = tuple(self._changes.most_common())
            return ShadowReport(decided=self._decided, changes=changes, failed=self._failed)

    def _count(self, request: UseRequest, decision: Decision, proposed: Decision | None) -> None:
        if proposed is None or proposed.allowed == decision.allowed:
            self._count_one(None, failed=proposed is None)
            return
        self._count_one(
            _change(request, closes=decision.allowed, before=decision.rules, after=proposed.rules)
        )

    def _count_one(self, change: Change | None, *, failed: bool = False) -> None:
        with self._lock:
            self._decided += 1
            self._failed += failed
            if change is not None:
                self._changes[change] += 1


def _change(
    request: UseRequest, *, closes: bool, before: tuple[RuleId, ...], after: tuple[RuleId, ...]
) -> Change:
    return Change(
        action=request.use or request.action,
        purpose=request.purpose,
        opens=not closes,
        before=before,
        after=after,
    )


def _rules(decisions: Iterable[Decision]) -> tuple[RuleId, ...]:
    return tuple(sorted({rule for decision in decisions for rule in decision.rules}))


def report_to_dict(report: ShadowReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "decided": report.decided,
        "failed": report.failed,
        "changes": [
            {
                "action": change.action,
                "purpose": change.purpose,
                "opens": change.opens,
                "before": list(change.before),
                "after": list(change.after),
                "count": count,
            }
            for change, count in report.changes
        ],
    }
