"""The routes of the registers, for staff alone (`audit.staff`).

GET, POST /v1/desk/breaches               officer, DPO; auditors read
POST /v1/desk/breaches/{id}/told, assessment, closing
POST /v1/desk/stop/lift/proposal          officer, DPO, operator
POST /v1/desk/stop/lift/confirmation      another of them
GET, POST /v1/desk/oversight              officer, DPO; auditors read
POST /v1/desk/oversight/{id}/end
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from audit.staff import Staff, StaffRole, only
from consent import wire
from consent.register import Part, Risk, Told
from consent.service import TrustService
from policies.vocabulary import Purpose

Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
Reader = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR))]
Lifter = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.OPERATOR))]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,63}$")]
Second = Annotated[float, Field(ge=0, lt=2**40, allow_inf_nan=False)]


class BreachIn(wire.Shape):
    """A breach; the description stays with the organisation, its digest is registered."""

    known_at: Second
    part: Part
    risk: Risk
    digest: Sha256
    reason: Reason | None = None


class ToldIn(wire.Shape):
    """Who was told; the reason where it was late."""

    who: Told
    digest: Sha256
    reason: Reason | None = None


class AssessmentIn(wire.Shape):
    """The risk as it is seen now."""

    risk: Risk
    reason: Reason | None = None


class AppointmentIn(wire.Shape):
    """Who oversees what, from and until; the digest is of the statement of competence."""

    person: wire.Name
    purpose: Purpose
    since: Second
    until: Second
    competence: Sha256


def registers_router(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/v1/desk")
    _add_breaches(router, service)
    _add_lifting(router, service)
    _add_oversight(router, service)
    return router


def _add_breaches(router: APIRouter, service: TrustService) -> None:
    desk = service.registers

    @router.get("/breaches")
    def breaches(_: Reader) -> list[dict[str, Any]]:
        return desk.breaches()

    @router.post("/breaches", status_code=201)
    def registered(staff: Desk, said: BreachIn) -> dict[str, Any]:
        found = desk.register_breach(said.model_dump(mode="json"), by=staff.name)
        return desk.breach_state(found)

    @router.post("/breaches/{breach}/told", status_code=201)
    def told(staff: Desk, breach: str, said: ToldIn) -> dict[str, Any]:
        found = desk.on_breach(breach, "told", said.model_dump(mode="json"), by=staff.name)
        return desk.breach_state(found)

    @router.post("/breaches/{breach}/assessment", status_code=201)
    def assessed(staff: Desk, breach: str, said: AssessmentIn) -> dict[str, Any]:
        found = desk.on_breach(breach, "assessed", said.model_dump(mode="json"), by=staff.name)
        return desk.breach_state(found)

    @router.post("/breaches/{breach}/closing", status_code=201)
    def closed(staff: Desk, breach: str) -> dict[str, Any]:
        return desk.breach_state(desk.on_breach(breach, "closed", {}, by=staff.name))


def _add_lifting(router: APIRouter, service: TrustService) -> None:
    @router.post("/stop/lift/proposal", status_code=201)
    def proposal(staff: Lifter) -> dict[str, Any]:
        return service.registers.propose_lift(by=staff.name)

    @router.post("/stop/lift/confirmation", status_code=201)
    def confirmation(staff: Lifter) -> dict[str, Any]:
        return service.registers.confirm_lift(by=staff.name)


def _add_oversight(router: APIRouter, service: TrustService) -> None:
    desk = service.registers

    @router.get("/oversight")
    def appointments(_: Reader) -> list[dict[str, Any]]:
        return desk.appointments()

    @router.post("/oversight", status_code=201)
    def appointed(staff: Desk, said: AppointmentIn) -> dict[str, Any]:
        made = desk.appoint(said.model_dump(mode="json"), by=staff.name)
        return desk.appointment_state(made)

    @router.post("/oversight/{appointment}/end", status_code=201)
    def ended(staff: Desk, appointment: str) -> dict[str, Any]:
        return desk.appointment_state(desk.end_appointment(appointment, by=staff.name))
