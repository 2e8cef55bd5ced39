"""People: one person by their whole pseudonym, and everybody's requests with their clocks.

    GET  /people                        the open requests, the most urgent first
    POST /people                        one person's standing, consents and receipts
    GET  /people/requests/{id}          one request: what is there, what is missing
    POST /people/requests               open one for a person who wrote or came
    POST /people/requests/{id}/{step}   identity-asked, identity, extension, decision, delivery,
                                        closing

A pseudonym is never in an address, nor in the log; part of one finds nobody, and who asks for
people who are not there must wait longer each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.portal.frame import form_of, show
from audit.portal.listing import Cell, Listing, badge, ident, plain, rows_wanted, when
from audit.portal.moments import zone_of
from audit.portal.site import OVERSEERS
from audit.staff import Staff, StaffRole, only
from consent.acts import Person
from consent.errors import NotFound, RequestInvalid
from consent.pages.forms import read_form
from consent.pages.lacking import lacking
from consent.records import Record, act_to_dict, standing_of
from consent.rights import (
    Case,
    Extension,
    Identity,
    Outcome,
    Refusal,
    Right,
    Way,
    ungathered,
)
from consent.rights_api import (
    AskedIn,
    ClosingIn,
    DecisionIn,
    DeliveryIn,
    DeskRequestIn,
    ExtensionIn,
    IdentityIn,
)
from consent.service import TrustService
from consent.states import ConsentState, states_of
from consent.wire import Shape
from policies.standing import Standing
from policies.vocabulary import SubjectId

_READERS = Annotated[Staff, Depends(only(*OVERSEERS))]
_Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
_TONES = {
    ConsentState.GIVEN: "ok",
    ConsentState.RENEWED: "ok",
    ConsentState.REFUSED: "bad",
    ConsentState.WITHDRAWN: "bad",
    ConsentState.REVOKED: "bad",
    ConsentState.INVALIDATED: "bad",
}


def people_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/people", include_in_schema=False)

    @router.get("")
    def people(request: Request, _: _READERS) -> Response:
        found = service.rights.due()
        return show(request, "people.html", tables=[_requests(found), _closed(service, request)])

    @router.post("")
    async def person(request: Request, staff: _READERS) -> Response:
        subject = (await form_of(request)).get("subject", "").strip()
        return await run_in_threadpool(_person, request, service, staff, SubjectId(subject))

    _add_requests(router, service)
    return router


def _add_requests(router: APIRouter, service: TrustService) -> None:
    @router.get("/requests/{request_id}")
    def one(request: Request, staff: _READERS, request_id: str) -> Response:
        return _request_page(request, service, staff, service.rights.case(request_id))

    @router.post("/requests")
    async def opened(request: Request, staff: _Desk) -> Response:
        said = await read_form(request, DeskRequestIn)
        made = await run_in_threadpool(_open, service, staff, said)
        return RedirectResponse(f"/people/requests/{made['request']}", status_code=303)

    @router.post("/requests/{request_id}/{step}")
    async def step(request: Request, staff: _Desk, request_id: str, step: str) -> Response:
        if step not in _STEPS:
            raise NotFound("no such step")
        shape, take = _STEPS[step]
        said = await read_form(request, shape)
        await run_in_threadpool(take, service, request_id, said, staff.name)
        return RedirectResponse(f"/people/requests/{request_id}", status_code=303)


def _close(service: TrustService, request: str, said: Any, by: str) -> Case:
    if (said.outcome is Outcome.REFUSED) != (said.reason is not None):
        raise RequestInvalid("a refusal, and nothing else, names its reason")
    reason = None if said.reason is None else said.reason.value
    return service.rights.close(request, said.outcome, reason, by=by)


_STEPS: Mapping[str, tuple[type[Shape], Callable[[TrustService, str, Any, str], Case]]] = (
    MappingProxyType(
        {
            "identity-asked": (
                AskedIn,
                lambda s, r, said, by: s.rights.ask_identity(r, by=by, way=said.way.value),
            ),
            "identity": (
                IdentityIn,
                lambda s, r, said, by: s.rights.confirm_identity(r, said.method, by=by),
            ),
            "extension": (
                ExtensionIn,
                lambda s, r, said, by: s.rights.extend(
                    r, said.reason.value, by=by, way=said.way.value
                ),
            ),
            "decision": (
                DecisionIn,
                lambda s, r, said, by: s.rights.decide(
                    r, said.outcome, by=by, reasons=said.reasons
                ),
            ),
            "delivery": (
                DeliveryIn,
                lambda s, r, said, by: s.rights.deliver(r, by=by, way=said.way.value),
            ),
            "closing": (ClosingIn, _close),
        }
    )
)


def _open(service: TrustService, staff: Staff, said: DeskRequestIn) -> dict[str, Any]:
    subject = SubjectId(said.subject)
    if service.ledger.owners([subject]).get(subject) != said.company:
        raise NotFound("this company has recorded no such person")
    return service.rights.open(
        said.right,
        Person(company=said.company, subject=subject, node=None),
        by=staff.name,
        about=said.about.as_dict(),
        jurisdiction=said.jurisdiction,
        method=None,
        statement=said.statement,
    )


def _requests(found: list[dict[str, Any]]) -> Listing:
    return Listing(
        name="requests",
        caption="Open requests, the most urgent first",
        columns=("Request", "Right", "Due", "Clock", "What is missing"),
        rows=[
            (
                ident(one["request"], href=f"/people/requests/{one['request']}"),
                plain(one["right"]),
                Cell(text=one["due"], full=one["due"], tone="time"),
                _clock(one),
                plain("; ".join(lacking(one["missing"])) or "nothing"),
            )
            for one in found
        ],
        empty="Nobody waits for an answer. A request comes in through the privacy centre, through "
        "a branch, or from here, once you have found the person.",
    )


def _closed(service: TrustService, request: Request) -> Listing:
    """Return what was answered last; an export has more of it than the page."""
    zone = zone_of(request)
    states = [service.rights.state(case) for case in service.rights.closed(rows_wanted(request))]
    return Listing(
        name="closed",
        caption="Closed requests, the newest first",
        columns=("Request", "Right", "Received", "Outcome", "Reason"),
        rows=[
            (
                ident(one["request"], href=f"/people/requests/{one['request']}"),
                plain(one["right"]),
                when(one["received_at"], zone),
                badge(str(one["outcome"]), "ok" if one["outcome"] == "done" else "quiet"),
                plain(one["reason"] or "-"),
            )
            for one in states
        ],
        empty="None yet. What was answered or refused stays here, without what was said.",
    )


def _clock(one: Mapping[str, Any]) -> Cell:
    days = one["days_left"]
    if one["outcome"] is not None:
        return badge(str(one["outcome"]), "quiet")
    if one["overdue"]:
        return badge(f"late by {-days} d", "bad")
    if one["paused"]:
        return badge("paused", "quiet")
    return badge(f"{days} d left", "warn" if days <= 7 else "ok")  # noqa: PLR2004 (a week)


def _person(request: Request, service: TrustService, staff: Staff, subject: SubjectId) -> Response:
    """Show a person; who was erased, who is another's and who never was look the same."""
    service.access.look_up(staff)
    records = service.ledger.records_of([subject]).get(subject, [])
    now = service.now()
    standing = standing_of(records, subject=subject, as_of=int(now))
    if not records or standing.erased:
        return show(request, "nobody.html", status=404, crumbs=[("People", "/people")])
    service.access.looked_up(staff)
    zone = zone_of(request)
    return show(
        request,
        "person.html",
        crumbs=[("People", "/people")],
        subject=subject,
        company=records[0].company,
        facts=_standing(standing, zone),
        tables=[
            _consents(records, now),
            _requests([service.rights.state(case) for case in service.rights.of(subject)]),
            _acts(service, subject, records, zone),
        ],
        may=bool({StaffRole.OFFICER, StaffRole.DPO} & staff.roles),
        rights=[right.value for right in Right],
    )


def _standing(standing: Standing, zone: tzinfo) -> list[tuple[str, Cell]]:
    return [
        ("Role", plain(standing.role.value)),
        ("Age", plain(standing.age.value)),
        ("Vulnerabilities", plain(", ".join(sorted(standing.vulnerabilities)) or "none known")),
        ("Informed", when(standing.informed_at, zone)),
        ("Objected to", plain(", ".join(sorted(standing.objected)) or "nothing")),
        (
            "Restricted",
            badge("restricted", "warn") if standing.restricted else plain("no"),
        ),
    ]


def _consents(records: list[Record], now: float) -> Listing:
    rows = []
    for purpose, by_modality in states_of(records, now=now).items():
        cells = [badge(s.name.lower(), _TONES.get(s, "quiet")) for s in by_modality.values()]
        if any(state is not ConsentState.UNKNOWN for state in by_modality.values()):
            rows.append((plain(purpose.value), *cells))
    names = list(next(iter(states_of([], now=now).values())))
    return Listing(
        name="consents",
        caption="Consents as they stand now",
        columns=("Purpose", *(name.value for name in names)),
        rows=rows,
        empty="Nothing was ever asked of this person.",
    )


def _acts(
    service: TrustService, subject: SubjectId, records: list[Record], zone: tzinfo
) -> Listing:
    places = service.ledger.places_of(subject)
    rows = []
    for record in sorted(records, key=lambda one: -one.sequence):
        said, place = act_to_dict(record.act), places.get(record.record_id)
        purposes = said.get("purposes") or said.get("purpose") or ""
        named = ", ".join(purposes) if isinstance(purposes, list) else str(purposes)
        rows.append(
            (
                when(record.at, zone),
                plain(type(record.act).__name__.lower()),
                plain(named or "-"),
                plain(record.node or "themselves"),
                ident(record.record_id),
                _entry(place),
            )
        )
    return Listing(
        name="acts",
        caption="What the person did, newest first; each has its receipt in the log",
        columns=("When", "Act", "Purposes", "Through", "Record", "Entry"),
        rows=rows,
        empty="Nothing yet.",
    )


def _entry(place: int | None) -> Cell:
    """Return where in the log something stands, with the way there."""
    return plain("-") if place is None else plain(place, href=f"/evidence/entries/{place}")


def _request_page(request: Request, service: TrustService, staff: Staff, case: Case) -> Response:
    state, zone = service.rights.state(case), zone_of(request)
    may = bool({StaffRole.OFFICER, StaffRole.DPO} & staff.roles)
    review = case.right is Right.REVIEW
    facts = None
    if may and review and case.outcome is None:
        facts = service.rights.facts(case)["by"]
    evidence = Listing(
        name="evidence",
        caption="What has been shown",
        columns=("What", "By", "Outcome", "When", "Entry"),
        rows=[
            (
                plain(e["kind"]),
                plain(e["node"] or "-"),
                plain(e["outcome"]),
                when(e["at"], zone),
                _entry(e["log_index"]),
            )
            for e in state["evidence"]
        ],
        empty="Nothing yet. Nodes answer by themselves as soon as the identity is known.",
    )
    decision = case.about.get("decision")
    about = ", ".join(f"{n}: {_words(v)}" for n, v in case.about.items()) or "the person as a whole"
    return show(
        request,
        "request.html",
        tables=[evidence],
        crumbs=[("People", "/people")],
        state=state,
        missing=lacking(state["missing"]),
        case=case,
        clock=_clock(state),
        facts=[
            ("Right", plain(case.right.value)),
            ("Received", when(case.received_at, zone)),
            ("Due", plain(state["due"])),
            ("Clock", _clock(state)),
            ("Identity", plain(state["identity"] or "not known yet")),
            ("Company", plain(case.company)),
            ("About", plain(about)),
            (
                "Decision",
                ident(decision, href=f"/decisions/{decision}") if decision else plain("-"),
            ),
        ],
        considered=facts,
        gathered=not ungathered(case),
        review=review,
        may=may,
        ways=[way.value for way in Way],
        methods=[m.value for m in (Identity.ACCOUNT, Identity.DOCUMENT_SEEN, Identity.CALL_BACK)],
        reasons=[reason.value for reason in Refusal],
        extensions=[extension.value for extension in Extension],
    )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
