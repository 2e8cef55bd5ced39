"""Decisions: searched, and each opened to its rule, statute, evidence, proof and trace.

    GET  /decisions                  ?by=&node=&purpose=&action=&rule=&outcome=&since=&until=
                                     &decision=
    POST /decisions                  the same by a person's pseudonym, which stays out of addresses
    GET  /decisions/{id}             one decision; ?log=NODE where a branch took it
    GET  /decisions/{id}/proof       its `.tlog-proof`, to verify offline

Officer, DPO and auditor at the trust service; the coordinator's decisions are of no person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from audit.http import attachment
from audit.portal.access import Access
from audit.portal.decision_index import Found, Key, Search
from audit.portal.decision_sources import BranchSource, Sources, branch_listing, silence
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
from audit.trace import Link
from policies.catalogue import CATALOGUE, DUTIES
from policies.vocabulary import RuleId, SubjectId
from policies.words import Language, Reader, rule_page, say

READERS = frozenset({StaffRole.DATA_SCIENTIST, StaffRole.OPERATOR}) | OVERSEERS
_OUTCOMES = {"allowed": True, "refused": False}
_KEY = re.compile(
    r"([0-9]{1,12}(?:\.[0-9]{1,9})?)_([0-9]{1,16})(?:_([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?"
)
COLUMNS = ("When", "Outcome", "Action", "Purpose", "Node", "Rules", "Decision", "Entry")
_HERE, _BRANCH = "this service", "a branch"
_BY = {_HERE: False, _BRANCH: True}
_EMPTY = "No decision fits. Take a filter away, or look at other days."
_EMPTY_OF_PERSON = "This service itself decided nothing about them."
_EMPTY_WITH_BRANCHES = (
    f"{_EMPTY} Here are the decisions of this service and those that branches took: a branch's "
    "node hands them over about once a minute, after its log was cosigned here."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """Where the facts that a decision considered can be read, or in words why they cannot."""

    words: str
    href: str = ""
    link: str = "Open the request"
    whys: tuple[tuple[str, str], ...] = ()
    """Why this reader may ask for them: value and words; none where they may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtBranches:
    """Who else can tell which decisions are about a person, in words, and how this reader asks."""

    words: str
    whys: tuple[tuple[str, str], ...] = ()
    """Why this reader may ask: value and words; none where they may not."""
    asked: tuple[tuple[str, str], ...] = ()
    """What they asked and is not over: address and words."""


def decision_pages(
    desk: EvidenceDesk,
    *,
    roles: frozenset[StaffRole] = OVERSEERS,
    considered: Callable[[Request, Found], Considered],
    access: Access | None = None,
    branches: BranchSource | None = None,
    at_branches: Callable[[Request], AtBranches] | None = None,
) -> APIRouter:
    """Return the routes over a service's log, and over what branches handed over where they do.

    `access` counts who looks for whom, if one may; `at_branches` says who else can be asked.
    """
    router = APIRouter(include_in_schema=False, dependencies=[Depends(only(*roles))])
    sources, by_person = Sources(desk=desk, branches=branches), access is not None
    if access is not None:
        _add_by_person(router, sources, access, at_branches)

    @router.get("/decisions")
    def decisions(request: Request) -> Response:
        others = None if at_branches is None else at_branches(request)
        return _listed(request, sources, _search(request), by_person=by_person, at_branches=others)

    @router.get("/decisions/{decision}")
    def one(request: Request, decision: str) -> Response:
        found = sources.known(decision, _log(request))
        return _shown(request, sources, found, considered(request, found))

    @router.get("/decisions/{decision}/proof")
    def proof(request: Request, decision: str) -> Response:
        found = sources.known(decision, _log(request))
        name = f"decision-{found.log or 'here'}-{found.idx}.tlog-proof"
        return PlainTextResponse(sources.receipt(found), headers=attachment(name))

    return router


def _log(request: Request) -> str | None:
    return request.query_params.get("log") or None


def _add_by_person(
    router: APIRouter,
    sources: Sources,
    access: Access,
    at_branches: Callable[[Request], AtBranches] | None,
) -> None:
    @router.post("/decisions")
    async def of_person(request: Request) -> Response:
        staff: Staff = request.state.staff
        subject = (await form_of(request)).get("subject", "").strip()
        if not subject:
            return RedirectResponse("/decisions", status_code=303)
        return await run_in_threadpool(listed, request, staff, subject)

    def listed(request: Request, staff: Staff, subject: str) -> Response:
        """Show a person's decisions; who asks for nobody's too often must wait."""
        access.look_up(staff)
        places = sources.desk.log.sealed_for(SubjectId(subject))
        if places:
            access.looked_up(staff)
        return _listed(
            request,
            sources,
            Search(among=places),
            by_person=True,
            of_person=subject,
            at_branches=None if at_branches is None else at_branches(request),
        )


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
        by_branch=_BY.get(given.get("by", "")),
    )


def _listed(
    request: Request,
    sources: Sources,
    search: Search,
    *,
    by_person: bool,
    of_person: str = "",
    at_branches: AtBranches | None = None,
) -> Response:
    zone, limit = zone_of(request), rows_wanted(request)
    mark = _KEY.fullmatch(request.query_params.get("after", ""))
    after = None if mark is None else Key(float(mark[1]), int(mark[2]), mark[3] or "")
    found = sources.find(search, limit=limit + 1, after=after)
    more = len(found) > limit and not of_person
    last = found[limit - 1] if more else None
    states, branches = sources.states(), sources.branches is not None and not of_person
    listing = Listing(
        name="decisions",
        caption="Decisions of this service, newest first"
        if of_person
        else "Decisions, newest first",
        columns=COLUMNS,
        rows=[row(one, zone) for one in found[:limit]],
        empty=_EMPTY_OF_PERSON if of_person else _EMPTY_WITH_BRANCHES if branches else _EMPTY,
        older="" if last is None else with_query(request, after=_mark(last)),
        newest="" if after is None else with_query(request, after=None),
    )
    return show(
        request,
        "decisions.html",
        tables=[listing, branch_listing(states, zone)] if branches else [listing],
        asked=dict(request.query_params),
        options={name: sources.words(name) for name in ("node", "purpose", "action", "rule")},
        deciders=list(_BY) if branches else [],
        silence=silence(states, zone, node=search.node) if branches else [],
        behind=sources.desk.log.size - sources.desk.index.reached(),
        by_person=by_person,
        of_person=of_person,
        at_branches=at_branches,
    )


def _mark(last: Found) -> str:
    """Return what names a row in an address, to go on after it."""
    return "_".join([repr(last.at), str(last.idx), *([last.log] if last.log else [])])


def decision_address(one: Found, part: str = "") -> str:
    """Return the address of a decision's page, or of a part of it."""
    log = f"?log={quote(one.log)}" if one.log else ""
    return f"/decisions/{one.decision_id}{part}{log}"


def row(one: Found, zone: tzinfo) -> tuple[Cell, ...]:
    """Return a decision in the columns of every table of decisions."""
    return (
        when(one.at, zone),
        outcome(one),
        plain(one.action if one.use is None else f"{one.action}: {one.use}"),
        plain(one.purpose),
        plain(one.node),
        plain(", ".join(one.rules) or "-"),
        ident(one.decision_id, href=decision_address(one)),
        number(one.idx),
    )


def outcome(one: Found) -> Cell:
    """Return how a decision came out."""
    if one.batch:
        return badge("allowed, as a batch", "ok")
    return badge("allowed", "ok") if one.allowed else badge("refused", "bad")


def _shown(request: Request, sources: Sources, found: Found, considered: Considered) -> Response:
    zone, opened = zone_of(request), sources.open(found)
    fields = opened.event.fields
    return show(
        request,
        "decision.html",
        tables=[_trace(opened.links, own=not found.log)],
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
            ("Decided by", plain(f"the branch {found.log}" if found.log else _HERE)),
            ("Decision", ident(found.decision_id)),
            ("Rules in force", ident(str(fields["policy_digest"]))),
            ("What was asked", ident(_text(fields.get("request_digest")))),
            ("Standing then", ident(_text(fields.get("standing_digest")))),
        ],
        rules=[_rule(RuleId(rule)) for rule in found.rules],
        considered=considered,
        proof=decision_address(found, "/proof"),
        asking=decision_address(found, "/facts"),
        leaf=opened.leaf.decode(),
        key=opened.key,
    )


def _trace(links: Sequence[Link], *, own: bool) -> Listing:
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
                else plain(link.index, href=f"/evidence/entries/{link.index}" if own else ""),
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
