"""This is wrong: a reading that the customer says is none of theirs is put right (rule 26).

The kept copy is corrected at once, so that no later use rests on the reading; the course of the
person's conversations begins anew. Where they allow training the correction becomes a label,
with that provenance; where they do not, it stays a correction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from audit.events import Event, EventKind
from audit.gate import Gate
from audit.log import EvidenceLog
from client_node.conversations import Conversations
from client_node.errors import LabelUnknown, TurnUnknown
from client_node.labels import Labels
from client_node.turn import Ruling
from client_node.uses.asked import leave, refusal
from client_node.uses.desk import UseDesk
from client_node.vault import Vault
from policies.decision import UseRequest
from policies.errors import Refused
from policies.vocabulary import Action, Emotion, Provenance, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """What became of a correction; `training` is None where nothing is kept to learn from."""

    service: Ruling
    training: Ruling | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Puts readings right; `families` are the labels that the node's policy maps.

    `tell` gets the turn, for systems that rest on its reading.
    """

    gate: Gate
    desk: UseDesk
    vault: Vault
    labels: Labels
    conversations: Conversations
    families: Mapping[str, Emotion]
    log: EvidenceLog
    tell: Callable[[str], None]

    def record(self, turn: str, label: str | None) -> Corrected:
        """Correct a kept turn: by the customer's own label, or to no reading at all.

        Raises:
            LabelUnknown: The label is not one of the policy's.
            TurnUnknown: The turn is not kept for service.
            Refused: The person does not allow it (any more).
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing was corrected.
        """
        if label is not None and label not in self.families:
            raise LabelUnknown(f"known labels are {', '.join(sorted(self.families))}")
        desk, subject = self.desk, self.vault.owner(turn)
        kept = desk.open(turn, desk.reading_permit(subject))
        request = UseRequest(
            node=desk.node, action=Action.LABEL, purpose=Purpose.SERVICE, subject=subject
        )
        permit = self.gate.open(request, desk.cache.standing(subject), desk.cache.governance)
        emotion = None if label is None else self.families[label].value
        right = {"label": label, "emotion": emotion, "confidence": None, "valence": None}
        copy = json.dumps(kept | right | {"corrected": True}).encode()
        self.vault.correct(turn, copy, permit=permit, now=desk.clock())
        self.conversations.drop([subject])
        fields = {
            "turn": turn,
            "provenance": Provenance.CONSENTED_CORRECTION.value,
            "decision_id": permit.decision_id,
        }
        self.log.append(Event(kind=EventKind.LABEL_RECORDED, at=desk.clock(), fields=fields))
        self.tell(turn)
        return Corrected(service=leave(permit), training=self._learn(turn, label))

    def _learn(self, turn: str, label: str | None) -> Ruling | None:
        if label is None:
            return None
        try:
            return leave(self.labels.record(turn, label, Provenance.CONSENTED_CORRECTION))
        except Refused as error:
            return refusal(error.decision)
        except TurnUnknown:
            return None
