"""The facts that a decision considered: asked for by name, waited for, shown once.

    POST /decisions/{id}/facts     {why, reference}; ?log=NODE where a branch decided
    GET  /decisions/facts/{ask}    not answered yet, or ready to be looked at
    POST /decisions/facts/{ask}    the facts, once; nothing is kept

Officer and DPO. Each look is in the log with who looked, why and for which reference; an address
names no person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.considered import NOTHING_HERE
from audit.portal.decision_index import Found
from audit.portal.decision_pages import Considered, decision_address
from audit.portal.decision_sources import Sources
from audit.portal.frame import page
from audit.portal.listing import Cell, plain, when
from audit.portal.moments import zone_of
from audit.staff import Staff, only
from consent.branches import source_of
from consent.facts_desk import FactsAsk
from consent.officer_asks import KEPT_S, WAITS_S, Answer
from consent.pages.asks import ASKERS, CHOICES, NamedIn, asked_because, rules_said
from consent.pages.forms import read_form
from consent.rights import Right
from consent.service import TrustService

_Asker = Annotated[Staff, Depends(only(*ASKERS))]
_PARTS = (
    ("request", "What was asked for"),
    ("standing", "What the person had chosen"),
    ("governance", "What the organisation had approved"),
)
_SECONDS = (" at", "as of")
_WORDS = {"None": "-", "True": "yes", "False": "no"}


def facts_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/decisions", include_in_schema=False)
    sources = Sources(
        desk=service.evidence, branches=source_of(service.branches, service.enrolment)
    )

    @router.post("/{decision}/facts")
    async def ask(request: Request, staff: _Asker, decision: str) -> Response:
        said = await read_form(request, NamedIn)
        log = request.query_params.get("log") or None

        def asked() -> FactsAsk:
            return service.facts.ask(sources.known(decision, log), said.by(staff.name))

        made = await run_in_threadpool(asked)
        return RedirectResponse(f"/decisions/facts/{made.ask}", status_code=303)

    @router.get("/facts/{ask}")
    def waiting(request: Request, staff: _Asker, ask: str) -> Response:
        return _page(request, service, service.facts.of(ask, by=staff.name))

    @router.post("/facts/{ask}")
    def shown(request: Request, staff: _Asker, ask: str) -> Response:
        return _page(request, service, *service.facts.show(ask, by=staff.name))

    return router


def considered(service: TrustService, request: Request, found: Found) -> Considered:
    """Return where a decision's facts are, or how this reader asks for them."""
    for case in service.rights.requests():
        if case.right is Right.REVIEW and case.about.get("decision") == found.decision_id:
            return Considered(
                words="A person asked for a review of this decision. The node gave the facts for "
                "that request; they are sealed with the request's key, shown there, and destroyed "
                "when it is closed.",
                href=f"/people/requests/{case.case}",
            )
    if found.batch:
        return Considered(
            words="A batch considered many people at once; whose case was which, its own node "
            "alone can open, for each person by themselves."
        )
    where = f"the branch {found.log}" if found.log else "this service"
    words = (
        f"They lie sealed with the person's own key at {where}, and are opened for a named request "
        "alone, where the gate allows it: shown once, to who asked, and kept nowhere."
    )
    staff: Staff = request.state.staff
    if not ASKERS & staff.roles:
        return Considered(words=f"{words} Officer and DPO may ask.")
    if (mine := service.facts.open_of(found, by=staff.name)) is not None:
        href = f"/decisions/facts/{mine.ask}"
        return Considered(words=words, href=href, link="Go on with what you asked")
    return Considered(words=words, whys=CHOICES)


def _page(
    request: Request, service: TrustService, made: FactsAsk, shown: Answer | None = None
) -> Response:
    zone, found, answer = zone_of(request), made.found, shown or made.answer
    report = None if shown is None else dict(shown.report)
    back = decision_address(found)
    state = next((s for s in service.branches.states() if s.node == found.log), None)
    return page(
        request,
        "facts.html",
        crumbs=[("Decisions", "/decisions"), ("the decision", back)],
        made=made,
        answered=answer is not None,
        report=report,
        parts=[] if report is None else _parts(report, zone),
        rows=[
            ("Decision", plain(found.decision_id, href=back)),
            ("Decided by", plain(f"the branch {found.log}" if found.log else "this service")),
            *asked_because(made, zone),
            ("Answered", when(answer.at if answer else None, zone)),
        ],
        silent_since=when(state.heard, zone) if state is not None and state.silent else None,
        nothing=shown is not None and shown.outcome == NOTHING_HERE,
        shut=rules_said(shown),
        kept_minutes=int(KEPT_S // 60),
        waits_hours=int(WAITS_S // 3600),
    )


def _parts(
    report: Mapping[str, Any], zone: tzinfo
) -> list[tuple[str, list[tuple[str, Cell]], Any]]:
    """Return the parts of what was considered: its words, its fields to read, and it as it was."""
    facts = report.get("facts") or {}
    return [(words, list(_fields(facts.get(n), zone)), facts.get(n)) for n, words in _PARTS]


def _fields(value: Any, zone: tzinfo, name: str = "") -> Iterator[tuple[str, Cell]]:
    """Yield each field with its name in words; seconds as moments, lists as words."""
    if isinstance(value, dict):
        for inner, one in sorted(value.items()):
            yield from _fields(one, zone, f"{name} {inner}".strip().replace("_", " "))
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for number, one in enumerate(value, start=1):
            yield from _fields(one, zone, f"{name} {number}")
    elif isinstance(value, list):
        yield name, plain(", ".join(map(str, value)) or "none")
    elif type(value) in {int, float} and name.endswith(_SECONDS):
        yield name, when(value, zone)
    elif name:
        yield name, plain(_WORDS.get(str(value), value))
