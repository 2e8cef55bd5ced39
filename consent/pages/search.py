"""Which decisions of branches are about one person: asked by name of request, waited for, shown.

    POST /decisions/about              {subject, why, reference}
    GET  /decisions/about/{ask}        which branches have answered, and which have not
    POST /decisions/about/{ask}        what they told, as it stands now; ?format=csv saves it
    POST /decisions/about/{ask}/end    forget it

Officer and DPO. Each look is in the log with who looked, why and for which reference; an address
names no person, and neither does the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.considered import NOTHING_HERE
from audit.portal.decision_pages import COLUMNS, AtBranches, row
from audit.portal.frame import show
from audit.portal.listing import Cell, Listing, badge, number, plain, when
from audit.portal.moments import moment, zone_of
from audit.staff import Staff, only
from consent.errors import NotFound
from consent.officer_asks import KEPT_S, WAITS_S
from consent.pages.asks import ASKERS, CHOICES, NamedIn, asked_because, rules_said
from consent.pages.forms import read_form
from consent.search_desk import SearchAsk, Told
from consent.service import TrustService
from consent.wire import Pseudonym
from policies.vocabulary import SubjectId

_Asker = Annotated[Staff, Depends(only(*ASKERS))]


class SearchIn(NamedIn):
    """Whose decisions, why, and by which reference."""

    subject: Pseudonym


def search_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/decisions/about", include_in_schema=False)
    desk = service.searches

    @router.post("")
    async def ask(request: Request, staff: _Asker) -> Response:
        said = await read_form(request, SearchIn)
        return await run_in_threadpool(_ask, request, service, staff, said)

    @router.get("/{ask}")
    def waiting(request: Request, staff: _Asker, ask: str) -> Response:
        return _page(request, service, desk.of(ask, by=staff.name), None)

    @router.post("/{ask}")
    def shown(request: Request, staff: _Asker, ask: str) -> Response:
        return _page(request, service, *desk.show(ask, by=staff.name))

    @router.post("/{ask}/end")
    def end(staff: _Asker, ask: str) -> Response:
        desk.end(ask, by=staff.name)
        return RedirectResponse("/decisions", status_code=303)

    return router


def at_branches(service: TrustService, request: Request) -> AtBranches:
    """Return how this reader asks the branches about a person, and what they have asked."""
    staff: Staff = request.state.staff
    words = (
        "A branch's decisions are found here by all but whom they were about: that it alone can "
        "tell. Every branch of the person's company is asked, and answers where its gate allows it."
    )
    if not ASKERS & staff.roles:
        return AtBranches(words=f"{words} Officer and DPO may ask.")
    zone = zone_of(request)
    return AtBranches(
        words=words,
        whys=CHOICES,
        asked=tuple(
            (
                f"/decisions/about/{one.ask}",
                f"{one.named.reference}, asked {moment(one.asked_at, zone)}: {_progress(one)}",
            )
            for one in service.searches.open_by(staff.name)
        ),
    )


def _progress(made: SearchAsk) -> str:
    return f"{len(made.answers)} of {len(made.nodes)} branches have answered"


def _ask(request: Request, service: TrustService, staff: Staff, said: SearchIn) -> Response:
    """Ask; who was erased, and who never was, look the same and count as a guess."""
    service.access.look_up(staff)
    try:
        made = service.searches.ask(SubjectId(said.subject), said.by(staff.name))
    except NotFound:
        return show(request, "nobody.html", status=404, crumbs=[("Decisions", "/decisions")])
    service.access.looked_up(staff)
    return RedirectResponse(f"/decisions/about/{made.ask}", status_code=303)


def _page(
    request: Request, service: TrustService, made: SearchAsk, told: Sequence[Told] | None
) -> Response:
    zone = zone_of(request)
    branches = _branches(service, made, told or (), zone)
    tables = [branches] if told is None else [_decisions(told, zone), branches]
    return show(
        request,
        "search.html",
        tables=tables,
        lasts=False,
        crumbs=[("Decisions", "/decisions")],
        made=made,
        told=told,
        subject="" if told is None else made.subject,
        rows=[("Company", plain(made.recorded.company)), *asked_because(made, zone)],
        progress=_progress(made),
        notes=[line for one in told or () for line in _notes(one)],
        kept_minutes=int(KEPT_S // 60),
        waits_hours=int(WAITS_S // 3600),
    )


def _decisions(told: Sequence[Told], zone: tzinfo) -> Listing:
    found = [decision for one in told for decision in one.found]
    found.sort(key=lambda one: (one.at, one.log, one.idx), reverse=True)
    return Listing(
        name="decisions",
        caption="Decisions of branches about this person, newest first",
        columns=COLUMNS,
        rows=[row(one, zone) for one in found],
        empty="None is here yet. Below stands what each branch has said.",
    )


def _branches(
    service: TrustService, made: SearchAsk, told: Sequence[Told], zone: tzinfo
) -> Listing:
    """Return who has answered; what, on a page that shows it."""
    known = {one.node: one for one in told}
    heard = {state.node: state for state in service.branches.states()}
    rows = []
    for node in sorted(made.nodes):
        answer, state = made.answers.get(node), heard.get(node)
        if answer is not None:
            stands = _told(known[node]) if node in known else badge("answered", "ok")
        elif state is not None and state.silent:
            since = "it was enrolled" if state.heard is None else moment(state.heard, zone)
            stands = badge(f"silent since {since}", "warn")
        else:
            stands = badge("not answered yet", "quiet")
        at = None if answer is None else answer.at
        count = number(len(known[node].found)) if node in known else plain("-")
        rows.append((plain(node), stands, when(at, zone), count))
    return Listing(
        name="branches",
        caption="What each branch has said",
        columns=("Branch", "State", "Answered", "Decisions here"),
        rows=rows,
        empty="No branch was asked.",
    )


def _told(one: Told) -> Cell:
    if rules_said(one.answer):
        return badge("its gate keeps it shut", "warn")
    if one.answer.outcome == NOTHING_HERE:
        return badge("has none, or cannot tell any more", "quiet")
    return badge("told them", "ok")


def _notes(one: Told) -> list[str]:
    """Return what of a branch's answer is not in the table of decisions, and why."""
    lines = [f"{one.node} keeps it shut: {words}" for words in rules_said(one.answer)]
    if one.awaited:
        lines.append(
            f"{one.node} names {one.awaited:,} that it has not handed over yet: look again in a "
            "minute."
        )
    if one.gone:
        lines.append(f"{one.node} names {one.gone:,} whose period here is over: its log has them.")
    if one.wrong:
        lines.append(
            f"{one.node} names {one.wrong:,} that are something else in its own log: treat what it "
            "said as untrue, and ask whoever runs it."
        )
    if one.answer.report["cut"]:
        lines.append(f"{one.node} tells the newest alone; there are older ones.")
    return lines
