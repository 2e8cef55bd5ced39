"""Decisions that others ask of the trust service: by the one gate, over its own standing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit.gate import Gate
from audit.log import EvidenceLog
from consent.bundles import Bundles
from consent.errors import RequestInvalid
from consent.feed import Feed
from consent.officer import Officer
from consent.tables import NodeRow
from consent.wire import DecisionIn, use_request
from policies.clock import Clock
from policies.decision import UseRequest
from policies.errors import Refused
from policies.remedy import Situation, remedy, remedy_to_dict
from policies.words import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionDesk:
    """Answers enrolled nodes about uses in their own name."""

    gate: Gate
    log: EvidenceLog
    feed: Feed
    officer: Officer
    bundles: Bundles
    clock: Clock

    def decide(self, node: NodeRow, said: DecisionIn) -> dict[str, Any]:
        """Decide a use; allowed or not, it is logged.

        Returns:
            `allowed`, `decision_id`, `rules`, `reasons`, `policy_digest`; when allowed also
            `log_index` and the signed `permit`.

        Raises:
            RequestInvalid: Not a use request, or one in another node's name.
            EvidenceUnavailable, PolicyUnavailable, LedgerUnavailable: No decision, so no.
        """
        request = _own(node, said)
        standing = self.feed.standing(node.company, request.subject)
        try:
            permit = self.gate.open(request, standing, self.officer.governance())
        except Refused as refusal:
            decision = refusal.decision
            return {
                "allowed": False,
                "decision_id": decision.decision_id,
                "rules": list(decision.rules),
                "reasons": list(decision.reasons),
                "policy_digest": decision.policy_digest,
            }
        return {
            "allowed": True,
            "decision_id": permit.decision_id,
            "rules": self.log.entry(permit.log_index).event.fields["rules"],
            "reasons": [],
            "policy_digest": permit.policy_digest,
            "log_index": permit.log_index,
            "permit": self.gate.export_permit(permit).decode(),
        }

    def remedy(self, node: NodeRow, said: DecisionIn, language: Language) -> dict[str, Any]:
        """Say whether a use would be allowed and what would make it so; nothing is recorded.

        Raises:
            RequestInvalid: As in `decide`.
            PolicyUnavailable, LedgerUnavailable: No answer.
        """
        request = _own(node, said)
        situation = Situation(
            request=request,
            standing=self.feed.standing(node.company, request.subject),
            governance=self.officer.governance(),
            now=int(self.clock()),
        )
        found = remedy(self.bundles.rules_of(request.node).engine, situation)
        return remedy_to_dict(found, language)


def _own(node: NodeRow, said: DecisionIn) -> UseRequest:
    request = use_request(said.request)
    if request.node != node.node:
        raise RequestInvalid(f"node {node.node} asked in the name of another node")
    return request
