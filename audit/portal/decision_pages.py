"""Decisions: searched, and each opened to its rule, statute, evidence, proof and trace.

    GET  /decisions                  ?node=&purpose=&action=&rule=&outcome=&since=&until=&decision=
    POST /decisions                  the same by a person's pseudonym, which stays out of addresses
    GET  /decisions/{id}             one decision
    GET  /decisions/{id}/proof       its `.tlog-proof`, to verify offline

Officer, DPO and auditor at the trust service; the coordinator's decisions are of no person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from audit.errors import EntryMissing
from audit.portal.access import Access
from audit.portal.decision_index import Found, Key, Search
from audit.portal.evidence_desk import EvidenceDesk
from audit.portal.frame import form_of, show
from audit.portal.listing import (
    Cell,
    Listing,
    badge,
    ident,
    number,
    plain,
    rows_wanted,
    when,
    with_query,
)
from audit.portal.moments import day_bounds, zone_of
from audit.portal.site import OVERSEERS
from audit.staff import Staff, StaffRole, only
from audit.trace import Link, Proofs, trace
from policies.catalogue import CATALOGUE, DUTIES
from policies.vocabulary import RuleId, SubjectId
from policies.words import Language, Reader, rule_page, say

READERS = frozenset({StaffRole.DATA_SCIENTIST, StaffRole.OPERATOR}) | OVERSEERS
_OUTCOMES = {"allowed": True, "refused": False}
_KEY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)_([0-9]{1,16})")
_COLUMNS = ("When", "Outcome", "Action", "Purpose", "Node", "Rules", "Decision", "Entry")
_EMPTY = (
    "No decision fits. Here are the decisions that this service made itself; each branch's own "
    "are in its own log, which this service witnesses and of which it decides a sample again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """Where the facts that a decision considered can be read, or in words why they cannot."""

    words: str
    href: str = ""


def decision_pages(
    desk: EvidenceDesk,
    *,
    roles: frozenset[StaffRole] = OVERSEERS,
    considered: Callable[[str], Considered],
    access: Access | None = None,
) -> APIRouter:
    """Return the routes over a service's log; `access` counts who looks for whom, if one may."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(only(*roles))])
    by_person = access is not None
    if access is not None:
        _add_by_person(router, desk, access)

    @router.get("/decisions")
    def decisions(request: Request) -> Response:
        return _listed(request, desk, _search(request), by_person=by_person)

    @router.get("/decisions/{decision}")
    def one(request: Request, decision: str) -> Response:
        return _shown(request, desk, decision, considered(decision))

    @router.get("/decisions/{decision}/proof")
    def proof(decision: str) -> Response:
        found = _known(desk, decision)
        name = f"decision-{found.idx}.tlog-proof"
        return PlainTextResponse(
            desk.witnessing.receipt(found.idx),
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    return router


def _add_by_person(router: APIRouter, desk: EvidenceDesk, access: Access) -> None:
    @router.post("/decisions")
    async def of_person(request: Request) -> Response:
        staff: Staff = request.state.staff
        subject = (await form_of(request)).get("subject", "").strip()
        if not subject:
            return RedirectResponse("/decisions", status_code=303)
        return await run_in_threadpool(_of_person, request, desk, access, staff, subject)


def _of_person(
    request: Request, desk: EvidenceDesk, access: Access, staff: Staff, subject: str
) -> Response:
    """Show a person's decisions; who asks for nobody's too often must wait (`Access.look_up`)."""
    access.look_up(staff)
    places = desk.log.sealed_for(SubjectId(subject))
    if places:
        access.looked_up(staff)
    return _listed(request, desk, Search(among=places), by_person=True, of_person=subject)


def _search(request: Request) -> Search:
    given = {name: value.strip()[:200] for name, value in request.query_params.items()}

    def said(name: str) -> str | None:
        return given.get(name) or None

    try:
        since, until = day_bounds(given.get("since", ""), given.get("until", ""), zone_of(request))
    except ValueError:
        since, until = None, None
    return Search(
        node=said("node"),
        purpose=said("purpose"),
        action=said("action"),
        rule=said("rule"),
        allowed=_OUTCOMES.get(given.get("outcome", "")),
        since=since,
        until=until,
        decision_id=said("decision"),
    )


def _listed(
    request: Request,
    desk: EvidenceDesk,
    search: Search,
    *,
    by_person: bool,
    of_person: str = "",
) -> Response:
    zone, limit = zone_of(request), rows_wanted(request)
    mark = _KEY.fullmatch(request.query_params.get("after", ""))
    after = None if mark is None else Key(float(mark[1]), int(mark[2]))
    found = desk.index.find(search, limit=limit + 1, after=after)
    more = len(found) > limit and not of_person
    last = found[limit - 1] if more else None
    listing = Listing(
        name="decisions",
        caption="Decisions, newest first",
        columns=_COLUMNS,
        rows=[_row(one, zone) for one in found[:limit]],
        empty=_EMPTY,
        older="" if last is None else with_query(request, after=f"{last.at!r}_{last.idx}"),
        newest="" if after is None else with_query(request, after=None),
    )
    return show(
        request,
        "decisions.html",
        tables=[listing],
        asked=dict(request.query_params),
        options={name: desk.index.words(name) for name in ("node", "purpose", "action", "rule")},
        behind=desk.log.size - desk.index.reached(),
        by_person=by_person,
        of_person=of_person,
    )


def _row(one: Found, zone: tzinfo) -> tuple[Cell, ...]:
    return (
        when(one.at, zone),
        outcome(one),
        plain(one.action if one.use is None else f"{one.action}: {one.use}"),
        plain(one.purpose),
        plain(one.node),
        plain(", ".join(one.rules) or "-"),
        ident(one.decision_id, href=f"/decisions/{one.decision_id}"),
        number(one.idx),
    )


def outcome(one: Found) -> Cell:
    """Return how a decision came out."""
    if one.batch:
        return badge("allowed, as a batch", "ok")
    return badge("allowed", "ok") if one.allowed else badge("refused", "bad")


def _known(desk: EvidenceDesk, decision: str) -> Found:
    found = desk.index.one(decision[:200])
    if found is None:
        raise EntryMissing("this log has no such decision: check the id, and ask the log it is in")
    return found


def _shown(request: Request, desk: EvidenceDesk, decision: str, considered: Considered) -> Response:
    found, zone = _known(desk, decision), zone_of(request)
    entry = desk.log.entry(found.idx)
    links = _links(desk, found)
    return show(
        request,
        "decision.html",
        tables=[_trace(links)],
        crumbs=[("Decisions", "/decisions")],
        one=found,
        outcome=outcome(found),
        facts=[
            ("When", when(found.at, zone)),
            ("Outcome", outcome(found)),
            ("Action", plain(found.action)),
            ("Use", plain(found.use or "-")),
            ("Purpose", plain(found.purpose)),
            ("Node", plain(found.node)),
            ("Decision", ident(found.decision_id)),
            ("Rules in force", ident(str(entry.event.fields["policy_digest"]))),
            ("What was asked", ident(_text(entry.event.fields.get("request_digest")))),
            ("Standing then", ident(_text(entry.event.fields.get("standing_digest")))),
        ],
        rules=[_rule(RuleId(rule)) for rule in found.rules],
        considered=considered,
        leaf=entry.leaf.decode(),
        key=str(desk.log.key.verify_key),
    )


def _links(desk: EvidenceDesk, found: Found) -> Sequence[Link]:
    entries = (desk.log.entry(place) for place in desk.index.around(found))
    leaves = ((entry.index, entry.leaf) for entry in entries)
    return trace(leaves, found.decision_id, Proofs(desk.log.origin, desk.log.receipt))


def _trace(links: Sequence[Link]) -> Listing:
    return Listing(
        name="trace",
        caption="What the decision rests on, each by digest",
        columns=("What", "Name", "Digest", "By", "Entry", "Where it is"),
        rows=[
            (
                plain(link.what.value),
                plain(link.name),
                ident(link.digest),
                plain(link.by or "-"),
                plain("-")
                if link.index is None
                else plain(link.index, href=f"/evidence/entries/{link.index}"),
                plain(link.not_kept or f"in the log {link.origin}"),
            )
            for link in links
        ],
        empty="Nothing is known of this decision.",
    )


def _rule(rule: RuleId) -> dict[str, Any]:
    known = rule in CATALOGUE or rule in DUTIES
    return {
        "rule": rule,
        "officer": say(rule, Reader.OFFICER, Language.ENGLISH),
        "customer": say(rule, Reader.CUSTOMER, Language.ENGLISH),
        "source": rule_page(rule)["source"] if known else "a rule of this organisation's own",
        "known": known,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
