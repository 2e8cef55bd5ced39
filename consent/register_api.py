"""The routes of the registers, for staff alone (`audit.staff`).

GET, POST /v1/desk/breaches               officer, DPO; auditors read
POST /v1/desk/breaches/{id}/told, assessment, closing
POST /v1/desk/stop/lift/proposal          officer, DPO, operator
POST /v1/desk/stop/lift/confirmation      another of them
GET, POST /v1/desk/oversight              officer, DPO; auditors read
POST /v1/desk/oversight/{id}/end
    GET  /v1/desk/documents/ropa              ?format=json|markdown|html; auditors too
    POST /v1/desk/documents/ropa/approval     officer, DPO: {digest} as it was read
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from audit.staff import Staff, StaffRole, only
from consent import wire
from consent.documents import Live, as_html, as_markdown, ropa, stamped
from consent.register import Part, Risk, Told
from consent.service import TrustService
from policies.vocabulary import Purpose

Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
Reader = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR))]
Lifter = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.OPERATOR))]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,63}$")]
_ROPA = "Record of processing activities (GDPR 30)"
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


class ApprovalIn(wire.Shape):
    """The digest of the document as it was read."""

    digest: Sha256


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
    _add_documents(router, service)
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


def _add_documents(router: APIRouter, service: TrustService) -> None:
    @router.get("/documents/ropa")
    def shown(
        _: Reader,
        format: Literal["json", "markdown", "html"] = "json",  # noqa: A002 (the address's word)
    ) -> Response:
        stamp = stamped(ropa(live_of(service)))
        if format == "json":
            return JSONResponse(stamp | {"approval": service.registers.approval("ropa", stamp)})
        if format == "html":
            return Response(as_html(_ROPA, stamp), media_type="text/html; charset=utf-8")
        return Response(as_markdown(_ROPA, stamp), media_type="text/markdown; charset=utf-8")

    @router.post("/documents/ropa/approval", status_code=201)
    def approved(staff: Desk, said: ApprovalIn) -> dict[str, Any]:
        stamp = stamped(ropa(live_of(service)))
        service.registers.approve("ropa", said.digest, stamp, by=staff.name)
        return service.registers.approval("ropa", stamp)


def live_of(service: TrustService) -> Live:
    """Return what the system is right now."""
    officer = service.officer
    return Live(
        governance=officer.governance(),
        notices=[
            {"version": n.version, "digests": dict(n.text_digests()), "material": n.material}
            for n in officer.notices()
        ],
        assessments=[
            {
                "dpia": d.dpia,
                "purposes": sorted(d.purposes),
                "mitigations": list(d.mitigations),
                "approved_by": d.approved_by,
            }
            for d in officer.assessments()
        ],
        nodes=[
            {"node": n.node, "company": n.company}
            for n in sorted(service.ledger.nodes(), key=lambda n: n.node)
        ],
        parties={name: p.model_dump() for name, p in service.settings.parties.items()},
        storage=service.settings.storage,
        policy_digest=service.engine.policy_digest,
        oversight=service.registers.appointments(),
    )
