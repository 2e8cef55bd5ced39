"""The rules that decide at one node: shipped, its jurisdictions' and its organisation's.

`compose` puts them together and `Ruled` decides with them in their own words; `Current` is the
place where a running service keeps them, so that all who decide change over together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from policies.bundle import Bundle, admit
from policies.decision import Decides, Decision, UseRequest
from policies.engine import PolicyEngine
from policies.profile import Profile
from policies.rulebook import RuleBook
from policies.standing import Governance, Standing
from policies.vocabulary import DecisionId, Digest, RuleId, SubjectId


def compose(profiles: Sequence[Profile], bundles: Sequence[Bundle]) -> RuleBook:
    """Return the shipped rules with profiles and bundles, each admitted for itself.

    Each is held against the shipped rules, its own tests too, and then put beside the others:
    prohibitions alone need no analysis together (`policies.bundle`), and the order is nothing.

    Raises:
        PolicyInvalid: A bundle is not admitted, or two share a name.
    """
    shipped = book = RuleBook.shipped()
    for profile in profiles:
        book = book.with_clocks(profile.name, profile.clocks)
    for bundle in (*(p.bundle for p in profiles if p.bundle is not None), *bundles):
        admit(shipped, bundle)
        book = book.tightened(f"x-{bundle.name}.cedar", bundle.rules)
    return book


class Ruled:
    """An engine over composed rules, which gives an organisation's reasons in its own words."""

    def __init__(self, profiles: Sequence[Profile] = (), bundles: Sequence[Bundle] = ()) -> None:
        """Compose and parse.

        Raises:
            PolicyInvalid: As in `compose`.
        """
        self._engine = PolicyEngine(compose(profiles, bundles))
        own = (*(p.bundle for p in profiles if p.bundle is not None), *bundles)
        self._words: Mapping[RuleId, str] = {
            rule: said["customer"]["en"] for bundle in own for rule, said in bundle.words.items()
        }

    @property
    def policy_digest(self) -> Digest:
        """The digest of all these rules."""
        return self._engine.policy_digest

    @property
    def engine(self) -> PolicyEngine:
        """The engine itself, for whoever only asks."""
        return self._engine

    def decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
        decision_id: DecisionId | None = None,
    ) -> Decision:
        """Decide as `PolicyEngine.decide`.

        Raises:
            PolicyUnavailable: As there.
        """
        decision = self._engine.decide(
            request, standing, governance, now=now, decision_id=decision_id
        )
        return self._in_words(decision)

    def decide_batch(
        self,
        request: UseRequest,
        standings: Iterable[Standing],
        governance: Governance | None,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide as `PolicyEngine.decide_batch`.

        Raises:
            PolicyUnavailable: As there.
        """
        return self._engine.decide_batch(request, standings, governance, now=now)

    def _in_words(self, decision: Decision) -> Decision:
        if self._words.keys().isdisjoint(decision.rules):
            return decision
        pairs = zip(decision.rules, decision.reasons, strict=True)
        return replace(decision, reasons=tuple(self._words.get(r, said) for r, said in pairs))


class Current:
    """The rules in force in a running service; who holds it decides by the newest."""

    def __init__(self, rules: Decides) -> None:
        self._rules = rules
        self._lock = threading.Lock()

    def change_to(self, rules: Decides) -> None:
        """Decide by these from the next decision on; one at hand ends by those it began with."""
        with self._lock:
            self._rules = rules

    @property
    def policy_digest(self) -> Digest:
        """The digest of the rules in force."""
        return self._rules.policy_digest

    def decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
        decision_id: DecisionId | None = None,
    ) -> Decision:
        """Decide by the rules in force.

        Raises:
            PolicyUnavailable: They could not answer.
        """
        return self._rules.decide(request, standing, governance, now=now, decision_id=decision_id)

    def decide_batch(
        self,
        request: UseRequest,
        standings: Iterable[Standing],
        governance: Governance | None,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide for many by the rules in force.

        Raises:
            PolicyUnavailable: They could not answer.
        """
        return self._rules.decide_batch(request, standings, governance, now=now)
