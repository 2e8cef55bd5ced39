"""The routes by which a consent moves other than by yes and withdrawal, and that tell its state.

    POST /v1/deferrals               node, or {manage_token, purposes}: they put it off
    POST /v1/refusals                node, or {manage_token, purposes}: their no (rule 18)
    POST /v1/revocations             officer, DPO the company stops relying on a consent
    POST /v1/invalidations           officer, DPO it was found never to have been good
    POST /v1/consent-states          node, or {manage_token}: DPV's state of each consent

"node" is as in `consent.api`. Not here: grants and withdrawals, and asking (`consent.asking_api`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from audit.staff import Staff, StaffRole, only
from consent.acts import Person
from consent.records import Deferred, Invalidated, Refused, Revoked
from consent.service import TrustService
from consent.states import validity
from consent.tables import NodeRow
from consent.wire import OnSomeone, Pseudonym, Shape
from policies.vocabulary import Purpose, SubjectId

Purposes = Annotated[frozenset[Purpose], Field(min_length=1)]
Signed = Callable[[Request], Awaitable[tuple[NodeRow, bytes]]]
"""Returns the node that signed a request, and its body."""
_OFFICER_OR_DPO = only(StaffRole.OFFICER, StaffRole.DPO)


class AnswerIn(OnSomeone):
    """A no, or neither yes nor no, to purposes."""

    purposes: Purposes


class StatesIn(OnSomeone):
    """Whose states are asked for."""


class RevocationIn(Shape):
    """The company stops relying on a consent."""

    subject: Pseudonym
    purposes: Purposes


class InvalidationIn(RevocationIn):
    """A consent was found never to have been good; `finding` is a reference."""

    finding: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./_-]{0,63}$")]


def router(service: TrustService, signed: Signed) -> APIRouter:
    """Return the routes over a service."""
    routes = APIRouter()
    _add_answers(routes, service, signed)
    _add_ends(routes, service)

    @routes.post("/v1/consent-states")
    async def states(request: Request) -> dict[str, Any]:
        said = StatesIn.read(await request.body())
        node = (await signed(request))[0] if said.manage_token is None else None
        return await run_in_threadpool(lambda: _states(service, service.callers.whom(said, node)))

    return routes


def _add_answers(routes: APIRouter, service: TrustService, signed: Signed) -> None:
    @routes.post("/v1/deferrals", status_code=201)
    async def deferrals(request: Request) -> dict[str, Any]:
        said, node = await _answer(request, signed)
        act = Deferred(purposes=said.purposes)
        return await run_in_threadpool(lambda: service.acts.move(_who(service, said, node), act))

    @routes.post("/v1/refusals", status_code=201)
    async def refusals(request: Request) -> dict[str, Any]:
        said, node = await _answer(request, signed)
        act = Refused(purposes=said.purposes)
        return await run_in_threadpool(lambda: service.acts.move(_who(service, said, node), act))


def _add_ends(routes: APIRouter, service: TrustService) -> None:
    @routes.post("/v1/revocations", status_code=201)
    async def revocations(
        request: Request, staff: Annotated[Staff, Depends(_OFFICER_OR_DPO)]
    ) -> dict[str, Any]:
        said = RevocationIn.read(await request.body())
        act = Revoked(purposes=said.purposes, by=staff.name)
        return await run_in_threadpool(
            lambda: service.acts.move(service.acts.anybody(SubjectId(said.subject)), act)
        )

    @routes.post("/v1/invalidations", status_code=201)
    async def invalidations(
        request: Request, staff: Annotated[Staff, Depends(_OFFICER_OR_DPO)]
    ) -> dict[str, Any]:
        said = InvalidationIn.read(await request.body())
        act = Invalidated(purposes=said.purposes, by=staff.name, finding=said.finding)
        return await run_in_threadpool(
            lambda: service.acts.move(service.acts.anybody(SubjectId(said.subject)), act)
        )


async def _answer(request: Request, signed: Signed) -> tuple[AnswerIn, NodeRow | None]:
    said = AnswerIn.read(await request.body())
    return said, (await signed(request))[0] if said.manage_token is None else None


def _who(service: TrustService, said: AnswerIn, node: NodeRow | None) -> Person:
    """Return who answers: through a node also somebody who never said yes to anything."""
    if node is not None and said.subject is not None:
        return service.acts.newcomer(node, SubjectId(said.subject))
    return service.callers.whom(said, node)


def _states(service: TrustService, person: Person) -> dict[str, Any]:
    return {
        "states": {
            purpose.value: {
                modality.value: {
                    "state": f"dpv:{state}",
                    "validity": f"dpv:{validity(state)}",
                }
                for modality, state in by_modality.items()
            }
            for purpose, by_modality in service.acts.states(person).items()
        }
    }
