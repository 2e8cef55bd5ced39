"""Finished calls in, a queue's recorded day out; totals alone.

POST /queues/{name}/calls      the telephone system tells one call that is over, by times alone
GET  /queues/{name}/recorded   each hour of the day, where enough was recorded to tell
POST /recorded-days            the operator's: a day to be played (`undertone-node whatif`)
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from client_node import wire
from client_node.call_record import FinishedCall, recorded_to_dict
from client_node.use_room import UseRoom

LONGEST_S = 86_400.0
Lasting = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]


class CallIn(wire.Shape):
    """One call that is over; there is no place for who called, or who answered."""

    arrived_at: Annotated[int, Field(ge=0, le=2**40)]
    waited_s: Lasting
    handled_s: Lasting | None = None

    def call(self) -> FinishedCall:
        """Return it as the node's own value."""
        return FinishedCall(**self.model_dump())


class QueueNameIn(wire.Shape):
    """Which queue."""

    queue: wire.Id


def calls_router(room: UseRoom) -> APIRouter:
    """Return what integrations ask."""
    router = APIRouter(prefix="/queues")

    @router.post("/{name}/calls", status_code=201)
    def calls(name: wire.Id, said: CallIn) -> dict[str, str]:
        room.calls.add(name, said.call(), agents=room.queues.agents(name))
        return {"queue": name}

    @router.get("/{name}/recorded")
    def recorded(name: wire.Id) -> dict[str, Any]:
        return recorded_to_dict(room.calls.recorded(name))

    return router


def days_router(room: UseRoom) -> APIRouter:
    """Return what the operator's command asks."""
    router = APIRouter()

    @router.post("/recorded-days")
    def day(said: QueueNameIn) -> dict[str, Any]:
        found = room.calls.recorded(said.queue).day()
        return {"day": [{"calls": calls, "handling_s": handling_s} for calls, handling_s in found]}

    return router
