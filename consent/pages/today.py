"""Today: what needs a person now, the most urgent first, and the stop switch.

GET  /today                     every role; each sees the tasks that it can act on or must know
POST /today/stop                officer, DPO, operator: stop everything, after a question
POST /today/stop/proposal       officer, DPO, operator: propose to lift the stop
POST /today/stop/confirmation   another of them
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.portal.budget_page import BUDGET_READERS
from audit.portal.frame import form_of, page
from audit.portal.moments import lasting, moment, zone_of
from audit.portal.site import OVERSEERS, TRUST_AREAS
from audit.staff import Staff, StaffRole, only
from consent.errors import RequestInvalid
from consent.notice import StopReason
from consent.pages.lacking import lacking
from consent.register import LIFT_S, UNABLE, Register
from consent.service import TrustService

_DESK = frozenset({StaffRole.OFFICER, StaffRole.DPO})
_LIFTERS = _DESK | {StaffRole.OPERATOR}
_ANYBODY = Annotated[Staff, Depends(only(*StaffRole))]
_Lifter = Annotated[Staff, Depends(only(*_LIFTERS))]
_SOON_DAYS, _SOON_HOURS = 7, 24
REASONS = {
    StopReason.INCIDENT: "a breach, or the suspicion of one",
    StopReason.WRONG_DECISIONS: "decisions are wrong",
    StopReason.COMPLAINT: "a complaint",
    StopReason.AUTHORITY: "an authority or a court asked for it",
    StopReason.PRECAUTION: "as a precaution: something is unclear",
}
_LITTLE_LEFT = 0.1
_DAY_S = 86_400


class Urgency(IntEnum):
    """How soon somebody must act; the order of the page."""

    NOW = 0
    SOON = 1
    WAITS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing that needs a person: what, why in one line, where it is done, and for whom."""

    title: str
    words: str
    href: str
    urgency: Urgency
    roles: frozenset[StaffRole] = OVERSEERS


def today_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(include_in_schema=False)

    @router.get("/today")
    def today(request: Request, staff: _ANYBODY) -> Response:
        tasks = [task for task in tasks_of(service) if task.roles & staff.roles]
        return page(
            request,
            "today.html",
            tasks=sorted(tasks, key=lambda task: task.urgency),
            stop=_stop(request, service, staff),
            reasons=[(reason.value, said) for reason, said in REASONS.items()],
            quiet=_quiet(service, staff),
        )

    @router.post("/today/stop")
    async def stop(request: Request, staff: _Lifter) -> Response:
        form = await form_of(request)
        reason = _reason(form.get("reason", ""))
        if form.get("sure") != "yes":
            crumbs = [("Today", "/today")]
            return page(
                request, "stop_everything.html", reason=reason, said=REASONS[reason], crumbs=crumbs
            )
        await run_in_threadpool(lambda: service.officer.stop(by=staff.name, reason=reason))
        return RedirectResponse("/today#stop", status_code=303)

    @router.post("/today/stop/proposal")
    async def propose(request: Request, staff: _Lifter) -> Response:
        await form_of(request)
        await run_in_threadpool(lambda: service.registers.propose_lift(by=staff.name))
        return RedirectResponse("/today#stop", status_code=303)

    @router.post("/today/stop/confirmation")
    async def confirm(request: Request, staff: _Lifter) -> Response:
        await form_of(request)
        await run_in_threadpool(lambda: service.registers.confirm_lift(by=staff.name))
        return RedirectResponse("/today#stop", status_code=303)

    return router


def _reason(word: str) -> StopReason:
    try:
        return StopReason(word)
    except ValueError as error:
        raise RequestInvalid("choose a reason from the list", field="reason") from error


def tasks_of(service: TrustService) -> Iterator[Task]:
    """Yield everything that needs somebody now."""
    yield from _proofs(service)
    yield from _breaches(service)
    yield from _requests(service)
    yield from _documents(service)
    yield from _oversight(service)
    yield from _nodes(service)
    yield from _budgets(service)
    yield from _accounts(service)


def _proofs(service: TrustService) -> Iterator[Task]:
    for alarm in service.witnessing.alarms():
        yield Task(
            title=f"The log {alarm.origin} was {alarm.what.value}",
            words="Its signed checkpoint contradicts one that was cosigned before. Keep its file, "
            "and verify it where nobody can change it.",
            href="/evidence#caught",
            urgency=Urgency.NOW,
        )
    disagreed = service.ledger.alarms()
    if disagreed:
        yield Task(
            title=f"{disagreed} answers of nodes do not hold",
            words="A node decided otherwise than its rules and the person's standing say, or "
            "its log became shorter.",
            href="/evidence?kind=challenge-answered#log",
            urgency=Urgency.NOW,
        )


def _breaches(service: TrustService) -> Iterator[Task]:
    for breach in service.registers.breaches():
        if breach["closed_at"] is not None or not breach["missing"]:
            continue
        hours = breach["hours_left"]
        clock = f"{hours:.0f}\xa0h left" if hours >= 0 else f"late by {-hours:.0f}\xa0h"
        yield Task(
            title=f"Breach {breach['breach'][:8]}: {clock} of the 72 hours",
            words=_sentence(breach["missing"]),
            href=f"/incidents/{breach['breach']}",
            urgency=Urgency.NOW if hours < _SOON_HOURS else Urgency.SOON,
        )


def _requests(service: TrustService) -> Iterator[Task]:
    for request in service.rights.due():
        days = request["days_left"]
        if request["overdue"]:
            clock, urgency = f"late by {-days} days", Urgency.NOW
        elif request["paused"]:
            clock, urgency = "the clock stands still until the identity is known", Urgency.WAITS
        else:
            clock = f"{days}\xa0days left"
            urgency = Urgency.SOON if days <= _SOON_DAYS else Urgency.WAITS
        yield Task(
            title=f"Request for {request['right']}: {clock}",
            words=_sentence(lacking(request["missing"]))
            or "Everything is there: it can be closed.",
            href=f"/people/requests/{request['request']}",
            urgency=urgency,
        )


def _documents(service: TrustService) -> Iterator[Task]:
    for document in service.documents.every():
        approval = document["approval"]
        if approval["approved"]:
            continue
        waits = " and ".join(approval["waits_for"])
        lacking = len(document["missing"])
        yield Task(
            title=f"{document['title']} is not approved",
            words=f"{lacking} things are missing in it." if lacking else f"It waits for {waits}.",
            href=f"/documents/{document['name']}",
            urgency=Urgency.SOON if approval["approvals"] else Urgency.WAITS,
            roles=_DESK,
        )


def _oversight(service: TrustService) -> Iterator[Task]:
    for made in service.registers.appointments():
        if made["within_term"] and not made["in_force"]:
            yield Task(
                title=f"{made['person']} cannot oversee {made['purpose']}",
                words=f"Who is appointed {UNABLE[made['account']]}. Appoint another: "
                "undertone-trust oversight appoint.",
                href="/documents/instructions",
                urgency=Urgency.SOON,
                roles=_DESK,
            )


def _nodes(service: TrustService) -> Iterator[Task]:
    now, old_s = service.now(), service.settings.standing_max_age_s
    for node in service.ledger.nodes():
        if node.node == service.settings.coordinator:
            continue
        heard = service.acknowledgements.last_heard(node)
        if heard is not None and now - heard <= old_s:
            continue
        since = "since it was enrolled" if heard is None else f"for {lasting(now - heard)}"
        yield Task(
            title=f"Node {node.node} was not heard {since}",
            words=f"What it knows of people's choices goes stale after {lasting(old_s)}; then its "
            "gate closes by itself.",
            href="/settings#nodes",
            urgency=Urgency.SOON,
            roles=OVERSEERS | {StaffRole.OPERATOR},
        )


def _budgets(service: TrustService) -> Iterator[Task]:
    for node, state in service.acknowledgements.budgets():
        if state is None or not state.epsilon_limit:
            continue
        left = 1 - state.epsilon_spent / state.epsilon_limit
        if left < _LITTLE_LEFT:
            yield Task(
                title=f"The privacy budget of {node.node} is nearly spent",
                words=f"{100 * max(left, 0):.0f} % is left; when nothing is, it trains no more.",
                href="/budget",
                urgency=Urgency.SOON,
                roles=BUDGET_READERS,
            )


def _accounts(service: TrustService) -> Iterator[Task]:
    for account in service.access.accounts.every():
        waiting = account["waiting"]
        if isinstance(waiting, list) and waiting:
            yield Task(
                title=f"{account['name']} is to become {', '.join(waiting)}",
                words="Roles that oversee need a second person's yes.",
                href="/settings#people",
                urgency=Urgency.SOON,
                roles=_DESK,
            )


def _sentence(parts: list[str]) -> str:
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _stop(request: Request, service: TrustService, staff: Staff) -> dict[str, Any]:
    """Return how the stop switch stands, and what this person may do about it."""
    steps = [s for entry in service.registers.entries(Register.LIFT).values() for s in entry]
    last = max(reversed(steps), key=lambda step: step.at, default=None)  # the later of equals
    alive = last is not None and service.now() <= last.at + LIFT_S
    step = last.step if last is not None and alive else ""
    return {
        "stopped": service.officer.governance().stopped,
        "proposed": step == "proposed",
        "confirmed": step == "confirmed",
        "by": "" if last is None else last.by,
        "until": "" if last is None else moment(last.at + LIFT_S, zone_of(request)),
        "own": last is not None and last.by.casefold() == staff.name.casefold(),
        "may": bool(_LIFTERS & staff.roles),
    }


def _quiet(service: TrustService, staff: Staff) -> list[tuple[str, str, str]]:
    """Return the figures at the foot of the page, of what this person may open: how many, where."""
    breaches = [b for b in service.registers.breaches() if b["closed_at"] is None]
    open_to = {area.path for area in TRUST_AREAS if area.roles & staff.roles}
    open_to |= {"/budget"} if BUDGET_READERS & staff.roles else set()
    figures = [
        ("Entries in the log", f"{service.log.size:,}", "/evidence"),
        ("Open requests", f"{len(service.rights.requests()):,}", "/people"),
        ("Open breaches", f"{len(breaches):,}", "/incidents"),
        ("Branches enrolled", f"{_branches(service):,}", "/settings#nodes"),
        *_least_left(service),
    ]
    return [one for one in figures if one[2].partition("#")[0] in open_to]


def _branches(service: TrustService) -> int:
    return sum(node.node != service.settings.coordinator for node in service.ledger.nodes())


def _least_left(service: TrustService) -> list[tuple[str, str, str]]:
    """Return how much of its privacy budget the branch has left that has least."""
    told = [state for _, state in service.acknowledgements.budgets() if state is not None]
    left = [1 - t.epsilon_spent / t.epsilon_limit if t.epsilon_limit else 0.0 for t in told]
    shown = f"{100 * max(min(left), 0):.0f} %" if left else "unheard"
    return [("Privacy budget left, at the least", shown, "/budget")]
