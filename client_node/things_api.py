"""Context from things, over HTTP: each through the gate, for the modality `signals`.

POST /signals        keep one event as context of a conversation; a refusal is an answer
POST /signals/read   the events of a conversation, in the order of their times
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from audit.gate import Gate
from client_node import wire
from client_node.conversations import Conversations, place_of
from client_node.people import People
from client_node.standing_cache import StandingCache
from client_node.things import Device, Kind, ThingEvent, check_event, event_to_dict
from client_node.turn import Ruling
from client_node.uses.asked import leave, refusal
from policies.clock import Clock
from policies.decision import UseRequest
from policies.errors import Refused
from policies.permit import Permit
from policies.vocabulary import Action, Modality, NodeId, Purpose, Role, Setting, SubjectId


class PlaceIn(wire.CustomerIn):
    """Whose conversation, where it happens, and who the person is there."""

    conversation: wire.Id
    setting: Setting = Setting.CUSTOMER_SERVICE
    role: Role = Role.CUSTOMER


class SignalIn(PlaceIn):
    """One event; there is no place for an emotion, or for who somebody is."""

    event: wire.Id
    device: Device
    kind: Kind
    value: Annotated[float, Field(allow_inf_nan=False)]
    at: Annotated[int, Field(ge=0, le=2**40)]

    def thing(self) -> ThingEvent:
        """Return it as the node's own value."""
        return ThingEvent(
            event=self.event, device=self.device, kind=self.kind, value=self.value, at=self.at
        )


class ThingDesk:
    """Takes events and tells them, as the gate allows."""

    def __init__(
        self,
        *,
        node: NodeId,
        gate: Gate,
        cache: StandingCache,
        conversations: Conversations,
        clock: Clock,
    ) -> None:
        """Join the parts."""
        self._node, self._gate, self._cache = node, gate, cache
        self._conversations, self._clock = conversations, clock

    def keep(self, said: SignalIn, subject: SubjectId) -> dict[str, Any]:
        """Keep one event, or say by which rules not; only its form is looked at before."""
        event = said.thing()
        check_event(event, now=self._clock())
        try:
            permit = self._permit(Action.STORE, said, subject)
        except Refused as error:
            return _answer("refused", refusal(error.decision))
        place = place_of(subject, said.conversation)
        fresh = self._conversations.hear(place, event, permit=permit, now=self._clock())
        return _answer("kept" if fresh else "known", leave(permit))

    def read(self, said: PlaceIn, subject: SubjectId) -> dict[str, Any]:
        """Return a conversation's events, or by which rules none."""
        try:
            permit = self._permit(Action.INFER, said, subject)
        except Refused as error:
            return _answer("refused", refusal(error.decision)) | {"context": []}
        place = place_of(subject, said.conversation)
        told = self._conversations.things.told(place, permit=permit, now=self._clock())
        return _answer("done", leave(permit)) | {"context": [event_to_dict(e) for e in told]}

    def _permit(self, action: Action, said: PlaceIn, subject: SubjectId) -> Permit:
        request = UseRequest(
            node=self._node,
            action=action,
            purpose=Purpose.SERVICE,
            subject=subject,
            modality=Modality.SIGNALS,
            setting=said.setting,
            role=said.role,
        )
        return self._gate.open(request, self._cache.standing(subject), self._cache.governance)


def things_router(desk: ThingDesk, people: People) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/signals")

    @router.post("")
    def keep(said: SignalIn) -> dict[str, Any]:
        return desk.keep(said, people.subject(said.customer))

    @router.post("/read")
    def read(said: PlaceIn) -> dict[str, Any]:
        return desk.read(said, people.subject(said.customer))

    return router


def _answer(answer: str, ruling: Ruling) -> dict[str, Any]:
    return {
        "answer": answer,
        "decision": ruling.decision,
        "rules": list(ruling.rules),
        "reasons": list(ruling.reasons),
        "statutes": list(ruling.statutes),
    }
