"""Incidents: the register of breaches, each with its 72-hour clock (GDPR 33, 34).

    GET  /incidents             all of them
    POST /incidents             officer, DPO: register one
    GET  /incidents/{id}        what is done and what is missing
    POST /incidents/{id}/{step} told, assessment, closing

The register holds digests and words from closed lists; the description stays with the
organisation, and its file's SHA-256 is what is registered.
"""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.portal.frame import form_of, show
from audit.portal.listing import Cell, Listing, badge, ident, plain, when
from audit.portal.moments import zone_of
from audit.portal.site import OVERSEERS
from audit.staff import Staff, StaffRole, only
from consent.errors import NotFound, RequestInvalid
from consent.pages.forms import read_form
from consent.register import Part, Register, Risk, Told
from consent.register_api import AssessmentIn, BreachIn, ToldIn
from consent.service import TrustService

_Reader = Annotated[Staff, Depends(only(*OVERSEERS))]
_Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
_SOON_H = 24


def incident_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/incidents", include_in_schema=False)
    _add_views(router, service)
    _add_steps(router, service)
    return router


def _add_views(router: APIRouter, service: TrustService) -> None:
    @router.get("")
    def incidents(request: Request, staff: _Reader) -> Response:
        zone = zone_of(request)
        found = service.registers.breaches()[::-1]
        listing = Listing(
            name="breaches",
            caption="Breaches, newest first",
            columns=("Breach", "Known since", "Risk", "Clock", "Missing"),
            rows=[_row(one, zone) for one in found],
            empty="No breach is registered. When one is known, register it at once: the 72 hours "
            "run from then, whatever is known of it, and the rest can follow.",
        )
        return show(
            request,
            "incidents.html",
            tables=[listing],
            may=_may(staff),
            parts=[part.value for part in Part],
            risks=[risk.value for risk in Risk],
        )

    @router.get("/{breach}")
    def one(request: Request, staff: _Reader, breach: str) -> Response:
        found = next((b for b in service.registers.breaches() if b["breach"] == breach), None)
        if found is None:
            raise NotFound("no such breach")
        zone = zone_of(request)
        steps = service.registers.entries(Register.BREACH)[breach]
        listing = Listing(
            name="steps",
            caption="What was done, in order",
            columns=("When", "Step", "By", "Particulars"),
            rows=[
                (when(s.at, zone), plain(s.step), plain(s.by), _particulars(s.details))
                for s in steps
            ],
            empty="Nothing yet.",
        )
        return show(
            request,
            "incident.html",
            tables=[listing],
            crumbs=[("Incidents", "/incidents")],
            one=found,
            facts=[
                ("Clock", _clock(found)),
                ("Known since", when(found["known_at"], zone)),
                ("First to be told by", when(found["due_at"], zone)),
                ("Risk to people", plain(found["risk"])),
                ("We hold the data as", plain(found["part"])),
                ("Description, by digest", ident(found["digest"])),
                *((f"Told: {who}", when(at, zone)) for who, at in found["told"].items()),
            ],
            may=_may(staff) and found["closed_at"] is None,
            told=[
                who.value
                for who in Told
                if who.value not in found["told"]
                or (who is Told.AUTHORITY and found["why_late_missing"])
            ],
            risks=[risk.value for risk in Risk],
        )


def _add_steps(router: APIRouter, service: TrustService) -> None:
    desk = service.registers

    @router.post("")
    async def registered(request: Request, staff: _Desk) -> Response:
        form = await form_of(request)
        known_at = _second(form.get("known_at", ""), zone_of(request))
        fields = {n: form[n] for n in ("part", "risk", "digest", "reason") if form.get(n)}
        said = BreachIn.read(_json(fields | {"known_at": known_at}))
        made = await run_in_threadpool(
            lambda: desk.register_breach(said.model_dump(mode="json"), by=staff.name)
        )
        return RedirectResponse(f"/incidents/{made.breach}", status_code=303)

    @router.post("/{breach}/told")
    async def told(request: Request, staff: _Desk, breach: str) -> Response:
        details = (await read_form(request, ToldIn)).model_dump(mode="json")
        return await _step(breach, "told", details, staff)

    @router.post("/{breach}/assessment")
    async def assessed(request: Request, staff: _Desk, breach: str) -> Response:
        details = (await read_form(request, AssessmentIn)).model_dump(mode="json")
        return await _step(breach, "assessed", details, staff)

    @router.post("/{breach}/closing")
    async def closed(request: Request, staff: _Desk, breach: str) -> Response:
        await form_of(request)
        return await _step(breach, "closed", {}, staff)

    async def _step(breach: str, name: str, details: dict[str, Any], staff: Staff) -> Response:
        await run_in_threadpool(lambda: desk.on_breach(breach, name, details, by=staff.name))
        return RedirectResponse(f"/incidents/{breach}", status_code=303)


def _may(staff: Staff) -> bool:
    return bool({StaffRole.OFFICER, StaffRole.DPO} & staff.roles)


def _row(one: dict[str, Any], zone: tzinfo) -> tuple[Cell, ...]:
    return (
        ident(one["breach"], href=f"/incidents/{one['breach']}"),
        when(one["known_at"], zone),
        plain(one["risk"]),
        _clock(one),
        plain("; ".join(one["missing"]) or "nothing"),
    )


def _clock(one: dict[str, Any]) -> Cell:
    if one["closed_at"] is not None:
        return badge("closed", "quiet")
    if not one["missing"]:
        return badge("everything is shown", "ok")
    hours = one["hours_left"]
    if hours < 0:
        return badge(f"late by {-hours:.0f} h", "bad")
    return badge(f"{hours:.0f} h left", "bad" if hours < _SOON_H else "warn")


def _particulars(details: Any) -> Cell:
    said = {n: str(v) for n, v in details.items() if v is not None and n != "known_at"}
    short = [f"{n} {v if len(v) <= 40 else v[:10] + '…'}" for n, v in said.items()]  # noqa: PLR2004 (a width)
    full = "; ".join(f"{n} {v}" for n, v in said.items())
    return Cell(text=", ".join(short) or "-", full=full)


def _second(text: str, zone: tzinfo) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()
    except ValueError as error:
        raise RequestInvalid("known_at: expected a day and an hour", field="known_at") from error


def _json(fields: dict[str, Any]) -> bytes:

    return json.dumps(fields).encode()
