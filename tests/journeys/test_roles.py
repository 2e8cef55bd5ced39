"""What each role comes for, by the pages' own links and forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from audit.portal.access import SESSION_COOKIE
from audit.portal.frame import csrf_of
from audit.staff import StaffRole
from consent.api import create_app
from deploy.portal_history import PASSWORD, one_time_code, open_accounts
from tests.journeys.sites import HOST, Drawn, Site, Visitor
from tests.promises.town import Town, says, wants_training

READ_ONLY = {"/people", "/decisions", "/evidence/verification", "/sign-out", "/sign-in", "/welcome"}


def _follow(visitor: Visitor, drawn: Drawn, start: str) -> Drawn:
    """Open the first link of a page that begins so; a page that has none fails the journey."""
    found = [link for link in drawn.markup.links if link.startswith(start)]
    assert found, (drawn.path, start)
    return visitor.get(found[0])


@pytest.mark.promise(3)
def test_a_dpo_closes_an_erasure_when_every_branch_has_shown_it(town: Town) -> None:
    """The button comes with the last branch's evidence; before that the page says who owes it."""
    dpo = _dpo(town)
    first, second = town.branch("branch-1"), town.branch("branch-2")
    here, there = first.open(), second.open()
    given = wants_training(first.api(here), here, "anna")["anna"]
    body = {"manage_token": given["manage_token"], "right": "erasure", "jurisdiction": "IE"}
    town.trust.send("POST", "/v1/requests", json.dumps(body).encode())
    listed = dpo.get("/people").text
    path = listed.split('href="/people/requests/')[1].split('"')[0]
    page = f"/people/requests/{path}"
    here.keeper.poll()
    assert "branch-2: no answer" in dpo.get(page).text
    assert "Close as done" not in dpo.get(page).text
    there.keeper.poll()
    csrf = {"csrf": csrf_of(dict(dpo.cookies))}
    delivered = dpo.post(f"{page}/delivery", data=csrf | {"way": "letter"})
    assert "Close as done" in delivered.text
    for branch in ("branch-1", "branch-2"):
        assert branch in delivered.text, "the evidence names who gave it"
    closed = dpo.post(f"{page}/closing", data=csrf | {"outcome": "done"})
    assert "Closed: done" in closed.text
    assert ">done<" in dpo.get("/people").text
    assert "r06-erased" in says(first.api(here), "anna")["rules"]


def _dpo(town: Town) -> TestClient:
    access = town.trust.service.access
    open_accounts(access, town.clock)  # type: ignore[arg-type]  # a clock that is moved, too
    session = access.sessions.open(access.accounts.known("dario"), method="test")
    http = TestClient(
        create_app(town.trust.service), base_url=HOST, headers={"accept": "text/html"}
    )
    http.cookies.set(SESSION_COOKIE, session, domain="portal.example")
    return http


@pytest.mark.parametrize("name", ["trust", "centre"])
def test_an_auditor_reads_everything_and_changes_nothing(sites: dict[str, Site], name: str) -> None:
    """From a decision to its proof; no page offers a form that changes more than one's account."""
    site = sites[name]
    forms = {
        form.action.partition("?")[0]
        for drawn in site.walked(StaffRole.AUDITOR)
        if drawn.is_page and not drawn.path.startswith(("/my", "/consent", "/confirm", "/asked"))
        for form in drawn.markup.forms
        if form.method == "post"
    }
    assert {f for f in forms if not f.startswith(("/account", "/my", "/receipt"))} <= READ_ONLY
    auditor = site.visitor(StaffRole.AUDITOR)
    listed = auditor.get("/decisions")
    opened = _follow(auditor, listed, "/decisions/")
    proof = _follow(auditor, opened, opened.path.partition("?")[0] + "/proof")
    assert proof.body.startswith("c2sp.org/tlog-proof@v1")


def test_a_data_scientist_goes_from_a_run_to_its_release(sites: dict[str, Site]) -> None:
    """Federation, the run with its cost and rounds, what came of it, and the card; no person."""
    site = sites["centre"]
    scientist = site.visitor(StaffRole.DATA_SCIENTIST)
    front = scientist.get("/")
    run = _follow(scientist, scientist.get(front.headers["location"]), "/federation/runs/")
    for said in ("ε", "aggregated", "Macro-F1"):
        assert said in run.body
    saved = scientist.get(f"{run.path}?format=csv&table=rounds")
    assert saved.headers["content-type"].startswith("text/csv")
    card = _follow(scientist, scientist.get("/models"), "/models/")
    assert run.path in card.markup.links
    trust = sites["trust"].visitor(StaffRole.DATA_SCIENTIST)
    assert trust.get("/people").status == 403


def test_an_operator_makes_an_account_and_a_second_person_confirms_it(
    sites: dict[str, Site],
) -> None:
    """The token is shown once; who is to oversee waits for somebody who oversees."""
    site = sites["trust"]
    operator, officer = site.visitor(StaffRole.OPERATOR), site.visitor(StaffRole.OFFICER)
    made = operator.post("/settings/people", {"name": "rosa", "dpo": "1"})
    token = next(word for word in _words(made) if len(word) == 43)
    assert token not in operator.get("/settings").body
    assert operator.post("/settings/people/rosa/confirm", {}).status == 403
    assert officer.post("/settings/people/rosa/confirm", {}).status == 409, "she has not begun"
    accounts = site.access.accounts
    secret = accounts.choose_password("rosa", token, PASSWORD).secret
    accounts.activate("rosa", token, one_time_code(secret, site.clock.now))
    assert _waits(accounts.every()) == ["dpo"]
    assert officer.post("/settings/people/rosa/confirm", {}).status == 303
    assert _waits(accounts.every()) == []


def _waits(accounts: list[dict[str, Any]]) -> list[str]:
    return next(one["waiting"] for one in accounts if one["name"] == "rosa")


def _words(drawn: Drawn) -> list[str]:
    return drawn.body.replace("<", " ").replace(">", " ").split()
