"""A customer's own label on a turn: their rating or correction, never an agent's score."""

from __future__ import annotations

from dataclasses import dataclass

from audit.events import Event, EventKind
from audit.gate import Gate
from audit.log import EvidenceLog
from client_node.errors import LabelUnknown
from client_node.standing_cache import StandingCache
from client_node.vault import Vault
from policies.clock import Clock
from policies.decision import UseRequest
from policies.permit import Permit
from policies.vocabulary import Action, NodeId, Provenance, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Attaches labels under permits; `known` are those that the node's policy maps."""

    node: NodeId
    known: frozenset[str]
    gate: Gate
    cache: StandingCache
    vault: Vault
    log: EvidenceLog
    clock: Clock

    def record(self, turn: str, label: str, provenance: Provenance) -> Permit:
        """Attach a label to a turn that is kept for training; return the permit behind it.

        Raises:
            LabelUnknown: The label is not one of the policy's; the message lists those.
            TurnUnknown: No such turn is kept for training.
            Refused: The person does not allow it (any more).
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing was recorded.
        """
        if label not in self.known:
            raise LabelUnknown(f"known labels are {', '.join(sorted(self.known))}")
        subject = self.vault.owner(turn)
        request = UseRequest(
            node=self.node, action=Action.LABEL, purpose=Purpose.TRAINING, subject=subject
        )
        standing = self.cache.standing(subject)
        permit = self.gate.open(request, standing, self.cache.governance)
        self.vault.label(turn, label, provenance, permit=permit, now=self.clock())
        fields = {
            "turn": turn,
            "provenance": provenance.value,
            "decision_id": permit.decision_id,
        }
        self.log.append(Event(kind=EventKind.LABEL_RECORDED, at=self.clock(), fields=fields))
        return permit
