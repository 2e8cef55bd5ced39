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
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.considered import KEPT_SHUT, NOTHING_HERE
from audit.portal.decision_index import Found
from audit.portal.decision_pages import Considered
from audit.portal.decision_sources import Sources
from audit.portal.frame import page
from audit.portal.listing import Cell, plain, when
from audit.portal.moments import zone_of
from audit.staff import Staff, StaffRole, only
from consent.branches import source_of
from consent.facts_desk import KEPT_S, WAITS_S, Ask, Why
from consent.pages.forms import read_form
from consent.rights import Right
from consent.service import TrustService
from consent.wire import Reference, Shape
from policies.vocabulary import RuleId
from policies.words import Language, Reader, say

_ASKERS = frozenset({StaffRole.OFFICER, StaffRole.DPO})
_Asker = Annotated[Staff, Depends(only(*_ASKERS))]
_WHYS = MappingProxyType(
    {
        Why.AUTHORITY: "an authority asks",
        Why.PERSON: "the person asks",
        Why.REVIEW: "a review of the decision",
        Why.INCIDENT: "an incident is examined",
    }
)
_PARTS = (
    ("request", "What was asked for"),
    ("standing", "What the person had chosen"),
    ("governance", "What the organisation had approved"),
)
_SECONDS = (" at", "as of")
_WORDS = {"None": "-", "True": "yes", "False": "no"}


class AskIn(Shape):
    """Why the facts are asked for, and by which reference."""

    why: Why
    reference: Reference


def facts_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/decisions", include_in_schema=False)
    sources = Sources(
        desk=service.evidence, branches=source_of(service.branches, service.enrolment)
    )

    @router.post("/{decision}/facts")
    async def ask(request: Request, staff: _Asker, decision: str) -> Response:
        said = await read_form(request, AskIn)
        log = request.query_params.get("log") or None

        def asked() -> Ask:
            found = sources.known(decision, log)
            return service.facts.ask(found, said.why, said.reference, by=staff.name)

        made = await run_in_threadpool(asked)
        return RedirectResponse(f"/decisions/facts/{made.ask}", status_code=303)

    @router.get("/facts/{ask}")
    def waiting(request: Request, staff: _Asker, ask: str) -> Response:
        return _page(request, service, service.facts.of(ask, by=staff.name), None)

    @router.post("/facts/{ask}")
    def shown(request: Request, staff: _Asker, ask: str) -> Response:
        made, report = service.facts.show(ask, by=staff.name)
        return _page(request, service, made, dict(report))

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
    if not _ASKERS & staff.roles:
        return Considered(words=f"{words} Officer and DPO may ask.")
    if (mine := service.facts.open_of(found, by=staff.name)) is not None:
        href = f"/decisions/facts/{mine.ask}"
        return Considered(words=words, href=href, link="Go on with what you asked")
    return Considered(words=words, whys=tuple((w.value, said) for w, said in _WHYS.items()))


def _page(
    request: Request, service: TrustService, made: Ask, report: dict[str, Any] | None
) -> Response:
    zone, found = zone_of(request), made.found
    back = f"/decisions/{found.decision_id}" + (f"?log={found.log}" if found.log else "")
    state = next((s for s in service.branches.states() if s.node == found.log), None)
    return page(
        request,
        "facts.html",
        crumbs=[("Decisions", "/decisions"), ("the decision", back)],
        made=made,
        report=report,
        parts=[] if report is None else _parts(report, zone),
        rows=[
            ("Decision", plain(found.decision_id, href=back)),
            ("Decided by", plain(f"the branch {found.log}" if found.log else "this service")),
            ("Asked because", plain(_WHYS[made.why])),
            ("Reference", plain(made.reference)),
            ("Asked", when(made.asked_at, zone)),
            ("Answered", when(made.answered_at, zone)),
        ],
        silent_since=when(state.heard, zone) if state is not None and state.silent else None,
        nothing=made.outcome == NOTHING_HERE,
        shut=[
            say(RuleId(rule), Reader.OFFICER, Language.ENGLISH)
            for rule in (report or {}).get("kept_shut_by", ())
        ]
        if made.outcome == KEPT_SHUT
        else [],
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
