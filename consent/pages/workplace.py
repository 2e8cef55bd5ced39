"""Settings: the people who work here, the nodes, the log's keys, retention and holds.

    GET  /settings                     officer, DPO, auditor, operator
    POST /settings/people              operator: make an account; its one-time token is shown once
    POST /settings/people/{name}/{act} operator: disable, enable, reset; officer, DPO: confirm

Keys are rotated and holds are placed by their commands, which the page names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.portal.frame import form_of, page, show
from audit.portal.listing import Cell, Listing, badge, ident, number, plain, when
from audit.portal.moments import zone_of
from audit.portal.site import OVERSEERS
from audit.retention_policy import policy_to_dict
from audit.staff import Staff, StaffRole, only
from consent.errors import NotFound, RequestInvalid
from consent.service import TrustService

_Reader = Annotated[Staff, Depends(only(*OVERSEERS, StaffRole.OPERATOR))]
_Operator = Annotated[Staff, Depends(only(StaffRole.OPERATOR))]
_Second = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]


def settings_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/settings", include_in_schema=False)

    @router.get("")
    def settings(request: Request, staff: _Reader) -> Response:
        zone, people = zone_of(request), service.access.accounts.every()
        return show(
            request,
            "settings.html",
            tables=[
                _nodes(service, zone),
                _keys(service),
                _periods(service),
                _holds(service, zone),
                _people(people),
            ],
            people=people,
            roles=[role.value for role in StaffRole],
            operator=StaffRole.OPERATOR in staff.roles,
            second=bool({StaffRole.OFFICER, StaffRole.DPO} & staff.roles),
            own=staff.name,
        )

    _add_people(router, service)
    return router


def _add_people(router: APIRouter, service: TrustService) -> None:
    accounts = service.access.accounts

    @router.post("/people")
    async def add(request: Request, staff: _Operator) -> Response:
        form = await form_of(request)
        roles = [role for role in StaffRole if form.get(role.value)]
        name = form.get("name", "").strip()
        if not roles:
            raise RequestInvalid("choose a role at least", field="roles")
        token = await run_in_threadpool(lambda: accounts.add(name, roles, by=staff.name))
        return _token_page(request, name, token)

    @router.post("/people/{name}/confirm")
    async def confirm(request: Request, staff: _Second, name: str) -> Response:
        await form_of(request)
        await run_in_threadpool(lambda: accounts.confirm(name, by=staff.name))
        return RedirectResponse("/settings#people", status_code=303)

    @router.post("/people/{name}/{act}")
    async def change(request: Request, staff: _Operator, name: str, act: str) -> Response:
        await form_of(request)
        acts = {"disable": accounts.disable, "enable": accounts.enable}
        if act == "reset":
            token = await run_in_threadpool(lambda: accounts.reset(name, by=staff.name))
            return _token_page(request, name, token)
        if act not in acts:
            raise NotFound("no such act")
        await run_in_threadpool(lambda: acts[act](name, by=staff.name))
        return RedirectResponse(f"/settings#{quote(name)}", status_code=303)


def _token_page(request: Request, name: str, token: str) -> Response:
    return page(
        request, "one_time_token.html", crumbs=[("Settings", "/settings")], name=name, token=token
    )


def _people(people: Sequence[Mapping[str, Any]]) -> Listing:
    """Return the table of the page's first section, as it is saved; the page adds its buttons."""
    return Listing(
        name="people",
        caption="People who work here",
        columns=("Name", "Roles", "Waiting for a second yes", "State", "Signs in"),
        rows=[
            (
                plain(one["name"]),
                plain(", ".join(one["roles"])),
                plain(", ".join(one["waiting"])),
                plain(one["state"]),
                plain(one["signs_in"]),
            )
            for one in people
        ],
        empty="Nobody has an account yet.",
    )


def _nodes(service: TrustService, zone: tzinfo) -> Listing:
    now, old_s = service.now(), service.settings.standing_max_age_s
    rows = []
    for node in sorted(service.ledger.nodes(), key=lambda row: (row.company, row.node)):
        heard = service.acknowledgements.last_heard(node)
        fresh = heard is not None and now - heard <= old_s
        rows.append(
            (
                plain(node.node),
                plain(node.company),
                when(node.enrolled_at, zone),
                when(heard, zone),
                _heard(coordinator=node.node == service.settings.coordinator, fresh=fresh),
                ident(node.vkey),
            )
        )
    return Listing(
        name="nodes",
        caption="Enrolled nodes",
        columns=("Node", "Company", "Enrolled", "Last heard", "State", "Key"),
        rows=rows,
        empty="No node is enrolled: `undertone-trust node enrol` does it.",
    )


def _heard(*, coordinator: bool, fresh: bool) -> Cell:
    """Return a node's state; a coordinator holds nobody's standing and acknowledges none."""
    if coordinator:
        return badge("coordinator", "quiet")
    return badge("heard", "ok") if fresh else badge("not heard", "warn")


def _keys(service: TrustService) -> Listing:
    return Listing(
        name="log_keys",
        caption="Keys of the evidence log, oldest first; public halves alone",
        columns=("Key", "From entry", "State"),
        rows=[_key(one) for one in service.key_desk.list()],
        empty="No key.",
    )


def _key(one: dict[str, Any]) -> tuple[Cell, ...]:
    return (
        ident(str(one["key"])),
        number(int(one.get("from_size", 0))),
        plain(str(one.get("state", "in force"))),
    )


def _periods(service: TrustService) -> Listing:
    periods = policy_to_dict(service.retention.retention.policy)["periods"]
    return Listing(
        name="retention",
        caption="How long what lies beside the log is kept",
        columns=("Period", "Days", "For", "By"),
        rows=[
            (
                plain(one["name"]),
                number(one["days"]),
                plain(one["purpose"]),
                plain(", ".join(one["grounds"])),
            )
            for one in periods
        ],
        empty="No period.",
    )


def _holds(service: TrustService, zone: tzinfo) -> Listing:
    return Listing(
        name="holds",
        caption="Legal holds",
        columns=("Hold", "Reason", "State", "Proposed by", "Confirmed by", "Review by"),
        rows=[_hold(service.holds.state(hold), zone) for hold in service.holds.all()],
        empty="Nothing is held. `undertone-trust hold place` keeps what a claim or an authority "
        "needs; a second person confirms it.",
    )


def _hold(one: dict[str, Any], zone: tzinfo) -> tuple[Cell, ...]:
    late = one["review_overdue"]
    state = badge("in force", "warn") if one["in_force"] else badge("over", "quiet")
    return (
        ident(one["hold"]),
        plain(one["reason"]),
        badge("review is due", "bad") if late else state,
        plain(one["proposed_by"]),
        plain(one["confirmed_by"] or "nobody yet"),
        when(one["review_at"], zone),
    )
