"""What is asked about a customer, over HTTP.

POST /journeys   expressed cues of the session with their times, and work for service; of one
                 conversation also what things told, as the gate allows; the newest turns, and with
                 `before` (an answer's `older`) those before them
POST /moments    when to contact somebody, by ordinary activity; a cue can only hold it back
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from client_node import wire
from client_node.moment import Activity, Contact
from client_node.people import People
from client_node.uses.customer_desk import CustomerDesk
from client_node.uses.thing_desk import ThingDesk, Where

UnixSeconds = Annotated[int, Field(ge=0, le=2**40)]


class JourneyIn(wire.CustomerIn):
    """Whose journey; of one conversation, or of the session; before a turn, or to now."""

    conversation: wire.Id | None = None
    before: wire.Id | None = None


class ContactIn(wire.Shape):
    """One earlier contact."""

    hour: Annotated[int, Field(ge=0, le=23)]
    answered: bool


class MomentIn(wire.CustomerIn):
    """Ordinary activity; there is no place for a feeling."""

    contacts: Annotated[tuple[ContactIn, ...], Field(max_length=10_000)] = ()
    purchases: Annotated[tuple[UnixSeconds, ...], Field(max_length=10_000)] = ()
    known_since: UnixSeconds
    fits: bool

    def activity(self) -> Activity:
        """Return it as the node's own value."""
        return Activity(
            contacts=tuple(Contact(hour=c.hour, answered=c.answered) for c in self.contacts),
            purchases_s=self.purchases,
            known_since_s=self.known_since,
            fits=self.fits,
        )


def customers_router(desk: CustomerDesk, people: People, things: ThingDesk) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.post("/journeys")
    def journeys(said: JourneyIn) -> dict[str, Any]:
        subject = people.subject(said.customer)
        told = wire.use_to_dict(desk.story(subject, said.conversation, before=said.before))
        if said.conversation is None or told["answer"] != "done":
            return told
        shown = things.show(Where(subject=subject, conversation=said.conversation))
        return told | {"context": shown.outcome.get("context", [])}

    @router.post("/moments")
    def moments(said: MomentIn) -> dict[str, Any]:
        return desk.moment(people.subject(said.customer), said.activity())

    return router
