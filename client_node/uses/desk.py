"""A use of a turn that was read before: the emotion is what this node itself read then.

1. the gate lets the reading be opened (infer, for service); 2. the vault opens it; 3. the gate
is asked for the use. The caller names the turn and the use, never an emotion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from audit.gate import Gate
from client_node.hints import Step
from client_node.reviews import Reviews
from client_node.standing_cache import StandingCache
from client_node.turn import UseAnswer
from client_node.uses.asked import Uses, refusal
from client_node.uses.queue import QueueState
from client_node.uses.use import AskedUse
from client_node.vault import Vault
from policies.clock import Clock
from policies.decision import UseRequest
from policies.errors import Refused
from policies.permit import Permit
from policies.vocabulary import Action, Emotion, NodeId, Purpose, SubjectId, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class UseDesk:
    """Answers for uses of kept turns."""

    node: NodeId
    gate: Gate
    cache: StandingCache
    vault: Vault
    uses: Uses
    reviews: Reviews
    clock: Clock

    def ask(
        self,
        use: Use,
        turn: str,
        *,
        queue: QueueState | None = None,
        step: Step = Step.CLARIFYING,
        cancelling: bool = False,
    ) -> UseAnswer:
        """Return the use's answer: done, or refused with its rules.

        Raises:
            NotBuilt: No version does this use yet.
            TurnUnknown: The turn is not kept for service: never read, expired or erased.
            TurnInvalid: What the use needs is missing.
            PolicyUnavailable, EvidenceUnavailable, VaultError: Not done.
        """
        name = self.uses.find(use).described.name
        try:
            asked = self.asked(use, turn)  # 1, 2
        except Refused as error:
            return UseAnswer(name=name, use=use, ruling=refusal(error.decision))
        return self.uses.ask(replace(asked, queue=queue, step=step, cancelling=cancelling))  # 3

    def asked(self, use: Use, turn: str) -> AskedUse:
        """Return the request for a use of a kept turn, with what was read then.

        Raises:
            Refused: The reading may not be opened (any more); recorded.
            TurnUnknown: The turn is not kept for service: never read, expired or erased.
            PolicyUnavailable, EvidenceUnavailable, VaultError: It is not opened.
        """
        subject = self.vault.owner(turn)
        kept = self.open(turn, self.reading_permit(subject))
        return AskedUse(
            use=use,
            subject=subject,
            emotion=None if kept["emotion"] is None else Emotion(kept["emotion"]),
            read_at=kept.get("read_at"),
            text=kept["text"],
            conversation=kept["conversation"],
            turn=turn,
        )

    def reading_permit(self, subject: SubjectId) -> Permit:
        """Return the permit to open what was read of this person for service.

        Raises:
            Refused: The gate says no; recorded.
            PolicyUnavailable, EvidenceUnavailable: The gate could not answer.
        """
        request = UseRequest(
            node=self.node, action=Action.INFER, purpose=Purpose.SERVICE, subject=subject
        )
        return self.gate.open(request, self.cache.standing(subject), self.cache.governance)

    def open(self, turn: str, permit: Permit) -> dict[str, Any]:
        """Return what was sealed of a turn for service, without a reading that fell on review.

        Raises:
            PermitInvalid, TurnUnknown, VaultError: It is not opened.
        """
        copy = self.vault.open(turn, action=Action.INFER, permit=permit, now=self.clock())
        return self.reviews.sees(permit.subjects, {turn: json.loads(copy)})[turn]

    def newest(
        self, subject: SubjectId, permit: Permit, *, before: str | None, limit: int
    ) -> dict[str, dict[str, Any]]:
        """Return what was sealed of the session's newest turns by turn, newest first, as `open`.

        Raises:
            PermitInvalid, TurnUnknown, VaultError: None is opened.
        """
        copies = self.vault.open_newest(
            subject, before=before, limit=limit, permit=permit, now=self.clock()
        )
        kept = {turn: json.loads(copy) for turn, copy in copies.items()}
        return self.reviews.sees(permit.subjects, kept)
