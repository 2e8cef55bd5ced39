"""The coordinator's routes as every role, its fuzzing, and what it logs of its staff."""

from __future__ import annotations

import re
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import openapi
from starlette.testclient import TestClient

from audit.portal.audience_api import Audience, describe, routes_of
from audit.portal.cookies import Cookies
from audit.portal.frame import csrf_of
from audit.portal.passwords import Passwords
from audit.staff import StaffRole
from coordinator.api import create_app
from coordinator.open_api import AUDIENCES
from coordinator.staff import COOKIES
from policies.vocabulary import RunId
from tests.coordinator.fleet import make_plan
from tests.coordinator.test_service import TOKEN, Centre, centre
from tests.fuzzing import BY_DAY_AND_NIGHT

__all__ = ["centre"]

PASSWORD = "nine calm herons wade"  # noqa: S105 (of tests)
ACTORS = ["nobody", *(role.value for role in StaffRole)]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/runs": {"plan_digest": "0" * 64, "approved_by": "ACTOR"},
    "/v1/releases": {"run": "run-none", "approved_by": "ACTOR"},
    "/v1/nodes": {"node": "n", "vkey": "none", "supernode_public_key": "none"},
}


def _app(centre: Centre) -> FastAPI:
    """Return the app with an account for each role."""
    app = create_app(centre.service, admin_token=TOKEN)
    access = centre.service.access(TOKEN)
    access._passwords = access.accounts._passwords = Passwords(
        PasswordHasher(time_cost=1, memory_cost=64)
    )
    for role in StaffRole:
        begun = access.accounts.add(role.value, [role], by="bootstrap")
        secret = access.accounts.choose_password(role.value, begun, PASSWORD).secret
        code = pyotp.TOTP(secret).at(int(centre.service.log.clock()))
        access.accounts.activate(role.value, begun, code)
        if access.accounts.known(role.value).asked_roles:
            access.accounts.confirm(role.value, by="officer")
    return app


def _headers(centre: Centre, actor: str) -> dict[str, str]:
    """Return a fresh session's headers."""
    if actor == "nobody":
        return {}
    access = centre.service.access(TOKEN)
    session = access.sessions.open(access.accounts.known(actor), method="test")
    csrf = csrf_of({COOKIES.session: session}, COOKIES)
    return {"Cookie": f"{COOKIES.session}={session}", "X-CSRF-Token": csrf}


def _ask(centre: Centre, http: TestClient, actor: str, method: str, path: str) -> Any:
    body = {k: actor if v == "ACTOR" else v for k, v in BODIES.get(path, {}).items()}
    plain = path.replace("{", "").replace("}", "")
    sent: dict[str, Any] = {} if method == "GET" else {"json": body}
    http.cookies.clear()
    return http.request(method, plain, headers=_headers(centre, actor), **sent)


def test_every_route_of_the_coordinator_has_an_audience(centre: Centre) -> None:
    """A route names roles or has a row; no row is of a route that is not there."""
    found = list(routes_of(create_app(centre.service, admin_token=TOKEN)))
    staff = {(method, path) for method, path, roles in found if roles}
    assert {(method, path) for method, path, _ in found} - staff == set(AUDIENCES)
    assert len(staff) > 20


@pytest.mark.parametrize("actor", ACTORS)
def test_a_coordinators_route_is_open_to_its_roles_alone(centre: Centre, actor: str) -> None:
    """Every staff route as this role: refused where it is for others, and only there."""
    app = _app(centre)
    http = TestClient(app, base_url="https://centre", follow_redirects=False)
    judged = 0
    for method, path, roles in routes_of(app):
        row = AUDIENCES.get((method, path))
        if row is not None and row.audience is Audience.HOLDER:
            continue
        answer = _ask(centre, http, actor, method, path)
        may = actor in roles or (row is not None and row.audience is Audience.ANYONE)
        if not path.startswith("/sign-in/provider"):  # there is none: 404
            assert (answer.status_code not in {401, 403}) == may, (method, path, answer.text)
        assert answer.status_code < 500, (method, path, answer.text)
        judged += 1
    assert judged > 25


def test_what_staff_changes_at_the_coordinator_is_in_its_log_first(centre: Centre) -> None:
    """Every route that changes something adds its event, also for a role that may not."""
    app = _app(centre)
    http = TestClient(app, base_url="https://centre", follow_redirects=False)
    changing = [(m, p) for m, p, roles in routes_of(app) if roles and m not in {"GET", "HEAD"}]
    assert len(changing) >= 12
    for role in (StaffRole.DATA_SCIENTIST, StaffRole.AUDITOR):
        for method, path in changing:
            before = centre.service.log.size
            _ask(centre, http, role.value, method, path)
            entries = centre.service.log.entries(before, centre.service.log.size)
            acts = [e.event.fields for e in entries if e.event.kind == "staff-acted"]
            act = f"{method}:{path.replace('{', ':').replace('}', '')}"
            assert [(f["staff"], f["act"]) for f in acts] == [(role.value, act)]


def test_nobody_approves_in_anothers_name(centre: Centre) -> None:
    """Who signed in is who approves; the admin token, which is nobody, says who."""
    http = TestClient(_app(centre), base_url="https://centre")
    for path, more in (("/v1/runs", {"plan_digest": "0" * 64}), ("/v1/releases", {"run": "x"})):
        said = {"approved_by": "ada"} | more
        own = _headers(centre, "data-scientist")
        assert http.post(path, json=said, headers=own).status_code == 403
        own = _headers(centre, "data-scientist")
        said_own = said | {"approved_by": "data-scientist"}
        assert http.post(path, json=said_own, headers=own).status_code == 404
        http.cookies.clear()
        token = {"Authorization": f"Bearer {TOKEN}"}
        assert http.post(path, json=said, headers=token).status_code == 404


@pytest.mark.parametrize("examples", BY_DAY_AND_NIGHT)
def test_no_generated_request_breaks_the_coordinator(centre: Centre, examples: int) -> None:
    """Generated requests to each route, as nobody and with the admin token: no 5xx."""
    app = create_app(centre.service, admin_token=TOKEN)
    http = TestClient(app, base_url="https://centre", follow_redirects=False)
    answered = 0
    for result in openapi.from_dict(describe(app, AUDIENCES)).get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]  # a broken description raises

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), known=st.booleans())
        def no_case_breaks(case: Any, known: bool) -> None:  # noqa: FBT001 (hypothesis gives it)
            nonlocal answered
            kwargs = case.as_transport_kwargs(base_url="https://centre")
            sent = {n: kwargs[n] for n in ("json", "params", "data", "content") if n in kwargs}
            headers = {n: str(v).encode("utf-8", "replace") for n, v in kwargs["headers"].items()}
            if known:
                headers["Authorization"] = f"Bearer {TOKEN}".encode()
            answer = http.request(case.method, kwargs["url"], headers=headers, **sent)
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            answered += 1

        no_case_breaks()
    assert answered > 50


def test_staff_read_what_the_centre_has_set_aside(centre: Centre) -> None:
    """Nothing at first; after a reservation its epsilon, what is left, and the words."""
    client = TestClient(_app(centre), base_url="https://centre")
    centre.enrol_all()
    empty = client.get("/budget", headers=_headers(centre, "officer")).text
    assert "No run was ever begun here" in empty
    centre.service.ledger.reserve_run(RunId("run-1"), make_plan(epsilon=0.5))
    page = client.get("/budget", headers=_headers(centre, "officer")).text
    assert "was ever asked of nodes" in page
    ceiling = centre.service.ledger.ceiling.epsilon
    cells = re.findall(r"<td[^>]*>([0-9.]+)</td>", page)
    assert ["0.500", f"{ceiling:.3f}", f"{ceiling - 0.5:.3f}"] == cells[:3]
    assert "nothing is given back" in page
    saved = client.get("/budget?format=csv", headers=_headers(centre, "officer")).text
    assert saved.splitlines()[0].startswith("Place,Purpose,Spent,Limit,Remains,")
    assert f",0.500,{ceiling:.3f},{ceiling - 0.5:.3f}," in saved


def test_the_sites_cookies_are_not_the_trust_services(centre: Centre) -> None:
    """A cookie knows no port: on one host the two sites keep each their own session."""
    access, theirs = centre.service.access(TOKEN), Cookies()
    assert {theirs.session, theirs.visit, theirs.device}.isdisjoint(
        {COOKIES.session, COOKIES.visit, COOKIES.device}
    )
    access.accounts.add("ada", [StaffRole.AUDITOR], by="bootstrap")
    session = access.sessions.open(access.accounts.known("ada"), method="test")
    with TestClient(_app(centre), base_url="https://centre.example") as http:
        answers = [
            http.get("/account", headers={"Cookie": f"{names.session}={session}"}).status_code
            for names in (theirs, COOKIES)
        ]
    assert answers == [401, 200]
