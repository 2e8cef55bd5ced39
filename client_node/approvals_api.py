"""What waits for a person's yes, over HTTP: the branch's interface and the operator's socket.

POST /replies                       draft a reply to a kept turn; it waits
POST /compensations                 propose one; it waits, or the gate says why not
POST /compensations/calm            run the test over calm customers (rule 14)
GET  /approvals                     what waits
POST /approvals/{id}/show           somebody named looks at it
POST /approvals/{id}/approve|deny   the same person decides
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from client_node import wire
from client_node.uses.proposals import Proposals
from policies.cohorts import CalmCohort

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$")]
Amount = Annotated[int, Field(ge=0, le=10**12, strict=True)]


class ReplyIn(wire.Shape):
    """What to reply about."""

    turn: wire.Id
    topic: Annotated[str, Field(min_length=1, max_length=64)]


class CompensationIn(wire.Shape):
    """What went wrong; without a value, what everybody gets."""

    turn: wire.Id
    reason: Annotated[str, Field(min_length=1, max_length=64)]
    value: Amount | None = None
    cancelling: bool = False


class PersonIn(wire.Shape):
    """Who looks, or decides."""

    by: Name


class CohortIn(wire.Shape):
    """Calm customers with one reason of complaint; totals."""

    reason: Annotated[str, Field(min_length=1, max_length=64)]
    people: Amount
    given: Amount
    baseline: Amount


class CalmIn(PersonIn):
    """A month of calm customers' complaints."""

    cohorts: Annotated[tuple[CohortIn, ...], Field(min_length=1, max_length=1_000)]


def proposals_router(proposals: Proposals) -> APIRouter:
    """Return the routes by which something is proposed."""
    router = APIRouter()

    @router.post("/replies", status_code=201)
    def replies(said: ReplyIn) -> dict[str, Any]:
        return wire.use_to_dict(proposals.propose_reply(said.turn, said.topic))

    @router.post("/compensations", status_code=201)
    def compensations(said: CompensationIn) -> dict[str, Any]:
        answer = proposals.propose_compensation(
            said.turn, said.reason, said.value, cancelling=said.cancelling
        )
        return wire.use_to_dict(answer)

    @router.post("/compensations/calm")
    def calm(said: CalmIn) -> dict[str, Any]:
        cohorts = [CalmCohort(**one.model_dump()) for one in said.cohorts]
        found = proposals.test_calm(cohorts, said.by)
        return {
            "passed": found.passed,
            "short": list(found.short),
            "too_few": list(found.too_few),
            "compared": found.compared,
        }

    return router


def approvals_router(proposals: Proposals) -> APIRouter:
    """Return the routes by which somebody decides."""
    router = APIRouter(prefix="/approvals")

    @router.get("")
    def waiting() -> dict[str, Any]:
        return {"approvals": proposals.waiting()}

    @router.post("/{approval}/show")
    def show(approval: str, said: PersonIn) -> dict[str, Any]:
        return proposals.show(approval, said.by)

    @router.post("/{approval}/approve")
    def approve(approval: str, said: PersonIn) -> dict[str, Any]:
        return wire.use_to_dict(proposals.approve(approval, said.by))

    @router.post("/{approval}/deny")
    def deny(approval: str, said: PersonIn) -> dict[str, str]:
        proposals.deny(approval, said.by)
        return {"approval": approval, "state": "denied"}

    return router
