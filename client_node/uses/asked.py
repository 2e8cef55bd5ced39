"""One use of a reading: through the gate, then done or refused in plain words.

The caller names the use; purpose and emotion are ours. Uses that no version does yet raise
`NotBuilt` before anything is asked. A refusal also says what would make it so, where anything
honest would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from audit.gate import Gate
from client_node.reviews import Reviews
from client_node.standing_cache import StandingCache
from client_node.turn import Ruling, UseAnswer
from client_node.uses.use import AskedUse, BuiltUse, Described
from policies.catalogue import CATALOGUE
from policies.clock import Clock
from policies.decision import Decides, Decision, UseRequest
from policies.errors import NotBuilt, Refused
from policies.permit import Permit
from policies.remedy import Situation, remedy
from policies.vocabulary import Action, DecisionId, NodeId, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """Asks the gate for the uses that this node has built."""

    node: NodeId
    gate: Gate
    engine: Decides
    cache: StandingCache
    clock: Clock
    reviews: Reviews
    built: Mapping[Use, BuiltUse]

    def ask(self, asked: AskedUse) -> UseAnswer:
        """Return the use's answer: done, or refused with its rules.

        Raises:
            NotBuilt: No version does this yet.
            TurnInvalid: What the use needs is missing.
            PolicyUnavailable, EvidenceUnavailable: The gate could not answer: not done.
        """
        return self.through(self.find(asked.use), asked)

    def through(self, use: BuiltUse, asked: AskedUse) -> UseAnswer:
        """Take one use through the gate.

        0. no person let it fall on review; 1. the use states its facts; 2. the gate; 3. the act,
        under the permit.

        Raises:
            TurnInvalid: What the use needs is missing.
            PolicyUnavailable, EvidenceUnavailable: The gate could not answer: not done.
        """
        fallen = self.reviews.against(asked)  # 0
        if fallen is not None:
            return replace(fallen, name=use.described.name, emotion=asked.emotion)
        request = self._request(asked, use)  # 1
        standing, governance = self.cache.standing(asked.subject), self.cache.governance
        try:
            permit = self.gate.open(request, standing, governance)  # 2
        except Refused as error:
            ruling = replace(refusal(error.decision), ways=self._ways(request))
            return UseAnswer(
                name=use.described.name, use=asked.use, ruling=ruling, emotion=asked.emotion
            )
        return UseAnswer(
            name=use.described.name,
            use=asked.use,
            ruling=leave(permit),
            emotion=asked.emotion,
            outcome=use.act(asked, permit=permit, now=self.clock()),  # 3
        )

    def permit(self, use: BuiltUse, asked: AskedUse) -> Permit:
        """Ask the gate for a use once more, before it goes further than here.

        Raises:
            Refused: Not any more; recorded.
            PolicyUnavailable, EvidenceUnavailable: The gate could not answer.
        """
        request = self._request(asked, use)
        return self.gate.open(request, self.cache.standing(asked.subject), self.cache.governance)

    def find(self, use: Use) -> BuiltUse:
        """Return a use.

        Raises:
            NotBuilt: No version does this yet.
        """
        if use not in self.built:
            raise NotBuilt(f"the use {use.value!r} is not built yet")
        return self.built[use]

    def described(self) -> list[Described]:
        """Return what every use here is for, by name."""
        return [self.built[use].described for use in sorted(self.built)]

    def _request(self, asked: AskedUse, use: BuiltUse) -> UseRequest:
        return UseRequest(
            node=self.node,
            action=Action.USE,
            purpose=use.described.purpose,
            subject=asked.subject,
            modality=asked.modality,
            setting=asked.setting,
            role=asked.role,
            channel=asked.channel,
            use=asked.use,
            facts=replace(
                use.facts(asked),
                objective=use.described.serves,
                cancelling=asked.cancelling,
            ),
        )

    def _ways(self, request: UseRequest) -> tuple[tuple[str, ...], ...]:
        """Return each smallest set of steps after which the gate would say yes."""
        governance = self.cache.governance
        if governance is None:
            return ()
        situation = Situation(
            request=request,
            standing=self.cache.standing(request.subject),
            governance=governance,
            now=int(self.clock()),
        )
        ways = remedy(self.engine, situation).ways
        return tuple(tuple(sorted(step.value for step in way)) for way in ways)


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
