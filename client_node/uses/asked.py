"""One use of a reading: through the gate, then done or refused in plain words.

The caller names the use; purpose and emotion are ours. Uses that no version does yet raise
`NotBuilt` before anything is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audit.gate import Gate
from client_node.standing_cache import StandingCache
from client_node.turn import Ruling, UseAnswer
from client_node.uses import handover, upsell
from client_node.uses.queue import QueueState
from policies.catalogue import CATALOGUE
from policies.decision import Decision, Facts, UseRequest
from policies.errors import NotBuilt, Refused
from policies.permit import Permit
from policies.vocabulary import (
    Action,
    Channel,
    DecisionId,
    Emotion,
    NodeId,
    Purpose,
    Role,
    Setting,
    SubjectId,
    Use,
)

PURPOSES: Mapping[Use, Purpose] = {Use.HANDOVER: Purpose.HANDOVER} | dict.fromkeys(
    upsell.REFUSED, Purpose.OFFERS
)
"""The purpose each use is for; what is not here is not built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedUse:
    """What the branch would do with a reading, and for whom.

    `emotion` is None where the reader abstained (rule 22); `read_at` is the Unix second of the
    reading (rule 16).
    """

    use: Use
    subject: SubjectId
    emotion: Emotion | None
    read_at: int | None
    queue: QueueState | None = None
    channel: Channel = Channel.CUSTOMER
    role: Role = Role.CUSTOMER
    setting: Setting = Setting.CUSTOMER_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """Asks the gate for uses of this node."""

    node: NodeId
    gate: Gate
    cache: StandingCache

    def ask(self, asked: AskedUse) -> UseAnswer:
        """Return the use's answer: done, or refused with its rules.

        Raises:
            NotBuilt: No version does this yet.
            TurnInvalid: What the use needs is missing.
            PolicyUnavailable, EvidenceUnavailable: The gate could not answer: not done.
        """
        request = self._request(asked)
        standing = self.cache.standing(asked.subject)
        try:
            permit = self.gate.open(request, standing, self.cache.governance)
        except Refused as error:
            return UseAnswer(use=asked.use, ruling=refusal(error.decision), emotion=asked.emotion)
        return UseAnswer(
            use=asked.use,
            ruling=leave(permit),
            emotion=asked.emotion,
            outcome=_done(asked),
        )

    def _request(self, asked: AskedUse) -> UseRequest:
        return UseRequest(
            node=self.node,
            action=Action.USE,
            purpose=purpose_of(asked.use),
            subject=asked.subject,
            setting=asked.setting,
            role=asked.role,
            channel=asked.channel,
            use=asked.use,
            facts=_facts(asked),
        )


def purpose_of(use: Use) -> Purpose:
    """Return what a use is for.

    Raises:
        NotBuilt: No version does this yet.
    """
    if use not in PURPOSES:
        raise NotBuilt(f"the use {use.value!r} is not built yet")
    return PURPOSES[use]


OWN_RULE = "this organisation's own rules"
"""What stands in a statute's place where an organisation added the rule."""


def refusal(decision: Decision) -> Ruling:
    """Return a refusal in plain words, with the statute behind each rule."""
    known = (CATALOGUE.get(rule) for rule in decision.rules)
    return Ruling(
        decision=decision.decision_id,
        allowed=False,
        rules=decision.rules,
        reasons=decision.reasons,
        statutes=tuple(rule.statute if rule else OWN_RULE for rule in known),
    )


def leave(permit: Permit) -> Ruling:
    """Return the ruling behind a permit."""
    return Ruling(decision=DecisionId(permit.decision_id), allowed=True)


def _facts(asked: AskedUse) -> Facts:
    if asked.use is Use.HANDOVER:
        return handover.facts(asked.emotion, asked.queue, asked.read_at)
    return upsell.facts(asked.emotion, asked.read_at)


def _done(asked: AskedUse) -> Mapping[str, str | int]:
    if asked.use is Use.HANDOVER:
        return handover.outcome(asked.queue)
    raise NotBuilt(f"the use {asked.use.value!r} is not built yet")
