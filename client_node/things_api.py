"""Context from things, over HTTP: each through the gate, for the modality `signals`.

POST /signals        keep one event as context of a conversation; a refusal is an answer
POST /signals/read   the events of a conversation, in the order of their times
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from client_node import wire
from client_node.people import People
from client_node.things import Device, Kind, ThingEvent
from client_node.uses.thing_desk import Heard, ThingDesk, Where
from policies.vocabulary import Role, Setting, SubjectId

WORDS = {None: "refused", False: "known", True: "kept"}


class PlaceIn(wire.CustomerIn):
    """Whose conversation, where it happens, and who the person is there."""

    conversation: wire.Id
    setting: Setting = Setting.CUSTOMER_SERVICE
    role: Role = Role.CUSTOMER

    def where(self, subject: SubjectId) -> Where:
        """Return it under the person's pseudonym."""
        return Where(
            subject=subject,
            conversation=self.conversation,
            setting=self.setting,
            role=self.role,
        )


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


def things_router(desk: ThingDesk, people: People) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/signals")

    @router.post("")
    def keep(said: SignalIn) -> dict[str, Any]:
        where = said.where(people.subject(said.customer))
        return heard_to_dict(desk.hear(where, said.thing()))

    @router.post("/read")
    def read(said: PlaceIn) -> dict[str, Any]:
        shown = desk.show(said.where(people.subject(said.customer)))
        return {"context": []} | wire.use_to_dict(shown)

    return router


def heard_to_dict(heard: Heard) -> dict[str, Any]:
    """Return what became of an event as JSON values."""
    shown = heard.shown
    return {
        "answer": WORDS[heard.kept],
        "decision": heard.ruling.decision,
        "rules": list(heard.ruling.rules),
        "reasons": list(heard.ruling.reasons),
        "statutes": list(heard.ruling.statutes),
        "shown": shown is not None and shown.ruling.allowed,
    }
