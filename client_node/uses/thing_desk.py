"""What things tell, from the door to the desk: kept as the gate allows, shown as the gate allows.

1. the form is looked at; 2. gate(store): may this person's signals be kept to help the agent?
3. sealed, on disk; 4. gate(use): may the agent be shown it? 5. whoever looks on is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audit.errors import EvidenceUnavailable
from audit.gate import Gate
from client_node.conversations import place_of
from client_node.standing_cache import StandingCache
from client_node.thing_store import ThingStore, Told
from client_node.things import ThingEvent, check_event
from client_node.turn import Ruling, Turn, UseAnswer
from client_node.uses.asked import Uses, leave, refusal
from client_node.uses.context import EVERY, ThingContext
from client_node.uses.use import AskedUse
from policies.clock import Clock
from policies.decision import UseRequest
from policies.errors import PolicyUnavailable, Refused
from policies.permit import Permit
from policies.vocabulary import Action, Modality, NodeId, Role, Setting, SubjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Whose conversation, where it happens, and who the person is there."""

    subject: SubjectId
    conversation: str
    setting: Setting = Setting.CUSTOMER_SERVICE
    role: Role = Role.CUSTOMER


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What became of an event: `kept` None where the rules refused it, False where it was known.

    `shown` is what the agent is shown now, or by which rules nothing.
    """

    kept: bool | None
    ruling: Ruling
    shown: UseAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingDesk:
    """Takes events and shows them; `tell` gets what whoever looks on is told."""

    node: NodeId
    gate: Gate
    cache: StandingCache
    store: ThingStore
    uses: Uses
    context: ThingContext
    clock: Clock
    tell: Callable[[str, UseAnswer], None]

    def hear(self, where: Where, event: ThingEvent) -> Heard:
        """Keep one event, or say by which rules not.

        Raises:
            TurnInvalid: Its form is wrong; nothing was asked.
            Overloaded: Too many within a minute.
            PermitInvalid: The person withdrew meanwhile.
            PolicyUnavailable, EvidenceUnavailable, VaultError: It is not kept, or not shown.
        """
        check_event(event, now=self.clock())  # 1
        try:
            permit = self._keeping(where)  # 2
        except Refused as error:
            return Heard(kept=None, ruling=refusal(error.decision))
        place = place_of(where.subject, where.conversation)
        told = Told(conversation=where.conversation, event=event)
        kept = self.store.put(place, told, permit=permit, now=self.clock())  # 3
        if not kept:
            return Heard(kept=False, ruling=leave(permit))
        shown = self.show(where)  # 4
        if shown.ruling.allowed:
            self.tell(where.conversation, shown)  # 5
        return Heard(kept=True, ruling=leave(permit), shown=shown)

    def show(self, where: Where) -> UseAnswer:
        """Return what things told in a conversation, or by which rules nothing.

        Raises:
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing is shown.
        """
        asked = AskedUse(
            use=self.context.described.use,
            subject=where.subject,
            emotion=None,
            read_at=None,
            conversation=where.conversation,
            modality=Modality.SIGNALS,
            setting=where.setting,
            role=where.role,
        )
        return self.uses.through(self.context, asked)

    def has(self, subject: SubjectId, conversation: str) -> bool:
        """Return whether a thing told anything in this conversation, or in every one.

        Raises:
            VaultError: The disk refuses.
        """
        one = None if conversation == EVERY else place_of(subject, conversation)[1]
        return self.store.has(subject, one, now=self.clock())

    def beside(self, turn: Turn) -> UseAnswer | None:
        """Return the context of a turn; None where no thing told any, or the gate cannot answer.

        Raises:
            VaultError: The disk refuses.
        """
        if not turn.context or not self.has(turn.subject, turn.conversation):
            return None
        where = Where(
            subject=turn.subject,
            conversation=turn.conversation,
            setting=turn.setting,
            role=turn.role,
        )
        try:
            return self.show(where)
        except (PolicyUnavailable, EvidenceUnavailable):
            return None

    def _keeping(self, where: Where) -> Permit:
        request = UseRequest(
            node=self.node,
            action=Action.STORE,
            purpose=self.context.described.purpose,
            subject=where.subject,
            modality=Modality.SIGNALS,
            setting=where.setting,
            role=where.role,
        )
        standing = self.cache.standing(where.subject)
        return self.gate.open(request, standing, self.cache.governance)
