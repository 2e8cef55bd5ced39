"""Every route as every role: for whom it is declared to be, and nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pyotp
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from audit.portal.access import SESSION_COOKIE
from audit.portal.audience_api import Audience, routes_of
from audit.portal.frame import csrf_of
from audit.portal.passwords import Passwords
from audit.staff import StaffRole
from consent.api import create_app
from consent.open_api import AUDIENCES
from tests.consent.conftest import ADMIN, World

PASSWORD = "nine calm herons wade"  # noqa: S105 (of tests)
REFUSED = {401, 403}
STAFF = [role.value for role in StaffRole]
OUTSIDERS = ["nobody", "subject", "node", "disabled", "expired"]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/withdrawals": {"purpose": "service"},
    "/v1/objections": {"purposes": ["service"]},
    "/v1/restrictions": {"restricted": True},
    "/v1/consent-states": {},
    "/v1/deferrals": {"purposes": ["service"]},
    "/v1/refusals": {"purposes": ["service"]},
    "/v1/requests": {"right": "access"},
}


@pytest.fixture
def peopled(world: World) -> World:
    """Return a service with staff in each role, a person, a closed account and an old session."""
    access = world.service.access
    access._passwords = access.accounts._passwords = Passwords(
        PasswordHasher(time_cost=1, memory_cost=64)
    )
    for role in StaffRole:
        _begin(world, role.value, role)
    _begin(world, "disabled", *StaffRole)
    _begin(world, "expired", *StaffRole)
    return world


def _begin(world: World, name: str, *roles: StaffRole) -> None:
    accounts = world.service.access.accounts
    token = accounts.add(name, roles, by="bootstrap")
    secret = accounts.choose_password(name, token, PASSWORD).secret
    accounts.activate(name, token, pyotp.TOTP(secret).at(int(world.clock.now)))
    if accounts.known(name).asked_roles:
        accounts.confirm(name, by="officer")


def _headers(world: World, actor: str, method: str, path: str, body: bytes) -> dict[str, str]:
    """Return what an actor sends along; a session is opened afresh for each request."""
    if actor == "node":
        return world.signed("north", method, path, body)
    if actor in {"nobody", "subject"}:
        return {}
    access = world.service.access
    account = access.accounts.known(actor)
    session = access.sessions.open(account, method="test")
    if actor == "disabled":
        access.accounts.disable(actor, by="bootstrap")
    if actor == "expired":
        world.clock.now += 43_201
    csrf = csrf_of({SESSION_COOKIE: session})
    return {"Cookie": f"{SESSION_COOKIE}={session}", "X-CSRF-Token": csrf}


def _ask(
    world: World, app: FastAPI, actor: str, method: str, template: str, *, token: str = "A" * 43
) -> httpx.Response:
    path = (
        template.replace("{rest:path}", "none")
        .replace("{index}", "0")
        .replace("{version}", "1")
        .replace("{", "")
    )
    path = path.replace("}", "")
    value = dict(BODIES.get(template, {}))
    if template in BODIES:
        value |= {"manage_token": token} if actor == "subject" else {"subject": "alice"}
    body = b"" if method == "GET" else json.dumps(value).encode()
    headers = _headers(world, actor, method, path, body)
    headers["Content-Type"] = "application/json"

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://trust") as client:
            return await client.request(method, path, content=body, headers=headers)

    return asyncio.run(send())


def _may(actor: str, method: str, path: str, roles: frozenset[StaffRole]) -> bool:
    if roles:
        return actor in roles
    audience = AUDIENCES[method, path].audience
    if audience is Audience.NODE:
        return actor == "node"
    if audience is Audience.SUBJECT:
        return actor in {"node", "subject"}
    return audience is Audience.ANYONE


def test_every_route_has_an_audience(world: World) -> None:
    """A route is for staff by role, or has a row; no row is of a route that is not there."""
    found = list(routes_of(create_app(world.service)))
    staff = {(method, path) for method, path, roles in found if roles}
    every = {(method, path) for method, path, _ in found}
    assert every - staff == set(AUDIENCES)


def test_a_route_without_an_audience_is_seen(world: World) -> None:
    """A new route that says nothing of whom it is for is found."""
    app = create_app(world.service)
    app.get("/v1/new")(lambda: "hello")
    assert ("GET", "/v1/new") in {(m, p) for m, p, roles in routes_of(app) if not roles}
    assert ("GET", "/v1/new") not in AUDIENCES


@pytest.mark.parametrize("actor", [*OUTSIDERS, *STAFF])
def test_a_route_is_open_to_its_audience_alone(peopled: World, actor: str) -> None:
    """Every route as this actor: not refused where it is for them, refused where it is not."""
    token = peopled.grant("alice").json()["manage_token"]
    app = create_app(peopled.service)
    judged = 0
    for method, path, roles in routes_of(app):
        row = AUDIENCES.get((method, path))
        if method == "HEAD" or (row and row.audience in {Audience.SEALED, Audience.HOLDER}):
            continue
        answer = _ask(peopled, app, actor, method, path, token=token)
        may = _may(actor, method, path, roles)
        assert (answer.status_code not in REFUSED) == may, (method, path, answer.text)
        assert answer.status_code < 500
        judged += 1
    assert judged > 20


@pytest.mark.parametrize("actor", [*STAFF, "node", "nobody"])
def test_what_needs_a_seal_or_secret_is_closed_without_it(peopled: World, actor: str) -> None:
    """No role stands in for the officer's seal, a one-time token or a password."""
    app = create_app(peopled.service)
    before = peopled.service.officer.governance()
    for (method, path), row in AUDIENCES.items():
        if row.audience in {Audience.SEALED, Audience.HOLDER}:
            assert 400 <= _ask(peopled, app, actor, method, path).status_code < 500, path
    assert peopled.service.officer.governance() == before


def test_what_staff_changes_is_in_the_log_first(peopled: World) -> None:
    """Every staff route that changes something adds its event, also for the wrong role."""
    app = create_app(peopled.service)
    changing = [(m, p) for m, p, roles in routes_of(app) if roles and m not in {"GET", "HEAD"}]
    assert len(changing) >= 7
    for role in (StaffRole.OPERATOR, StaffRole.AUDITOR):
        for method, path in changing:
            before = peopled.service.log.size
            _ask(peopled, app, role.value, method, path)
            entries = peopled.service.log.entries(before, peopled.service.log.size)
            acts = [e.event.fields for e in entries if e.event.kind == "staff-acted"]
            act = f"{method}:{path.replace('{', ':').replace('}', '')}"
            assert [(f["staff"], f["act"]) for f in acts] == [(role.value, act)]


def test_the_admin_token_is_an_operator_whose_acts_are_logged(
    make_world: Callable[..., World],
) -> None:
    """Enrolment by the shared token is in the log as bootstrap's."""
    world = make_world()
    assert world.enrol("north", "acme").status_code == 201
    (found,) = [
        entry.event.fields
        for entry in world.service.log.entries(0, world.service.log.size)
        if entry.event.kind == "staff-acted"
    ]
    assert found == {"staff": "bootstrap", "act": "POST:/v1/nodes", "allowed": True}


def test_wrong_bearer_tokens_are_slowed_and_say_nothing(world: World) -> None:
    """Thirty unknown tokens are answered alike; then all there wait but who was right before."""
    right = {"Authorization": f"Bearer {ADMIN}"}
    assert world.send("GET", "/v1/tokens", b"", right).status_code == 200
    answers = []
    for number in range(31):
        headers = {"Authorization": f"Bearer wrong-token-{number}"}
        answers.append(world.send("GET", "/v1/tokens", b"", headers))
    assert {(a.status_code, a.text) for a in answers[:30]} == {(401, answers[0].text)}
    assert answers[30].status_code == 429
    assert "wait 30 s" in answers[30].json()["detail"]
    assert world.send("GET", "/v1/tokens", b"", right).status_code == 200
