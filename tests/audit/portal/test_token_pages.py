"""Bearer tokens by a page: proved once more who asks, whichever way they sign in."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from audit.portal.session import FRESH_S, MOST_PROVIDED_DAYS
from audit.staff import StaffRole
from tests.audit.portal.conftest import PASSWORD, Desk
from tests.audit.portal.test_provider import ADA, Town, town

__all__ = ["town"]


def _csrf(browser: TestClient) -> str:
    return str(browser.get("/account/tokens").text.split('name="csrf" value="')[1].split('"')[0])


def _make(browser: TestClient, **said: str) -> tuple[int, str]:
    """Return the status and the bearer token that the page shows, if any."""
    form = {"csrf": _csrf(browser), "days": "1", "role-officer": "1"} | said
    answer = browser.post("/account/tokens", data=form)
    shown = re.search(r'id="bearer">([^<]+)<', answer.text)
    return answer.status_code, shown[1] if shown else ""


def _as(desk: Desk, bearer: str) -> int:
    answer = desk.browser().post("/change", headers={"Authorization": f"Bearer {bearer}"})
    return answer.status_code


def test_a_local_account_makes_a_token_with_password_and_code(desk: Desk) -> None:
    """Neither alone is enough, though signed in; the page ends it as well."""
    browser = desk.sign_in("ada")
    for wrong in ({"code": "000000"}, {"password": "not hers at all"}):
        said = {"password": PASSWORD, "code": desk.code("ada"), **wrong}
        assert _make(browser, **said) == (422, "")
    status, bearer = _make(browser, password=PASSWORD, code=desk.code("ada"))
    assert (status, _as(desk, bearer)) == (200, 200)
    named = bearer.split("_")[1]
    assert named in browser.get("/account/tokens").text
    assert bearer not in browser.get("/account/tokens").text
    browser.post("/account/tokens/revocation", data={"csrf": _csrf(browser), "token": named})
    assert _as(desk, bearer) == 401


@pytest.mark.parametrize("days", ["0", "366", "-1", "9" * 30, "", "\u0661"])
def test_a_token_lasts_a_year_at_most(desk: Desk, days: str) -> None:
    """Anything else is one clear line."""
    browser = desk.sign_in("ada")
    said = {"password": PASSWORD, "code": desk.code("ada"), "days": days}
    assert _make(browser, **said) == (422, "")


def test_whom_the_provider_lets_in_makes_a_token_just_after(town: Town) -> None:
    """For a week at most; later the page sends them to the provider again."""
    browser = town.sign_in()
    status, bearer = _make(browser, days=str(MOST_PROVIDED_DAYS))
    assert (status, _as(town.desk, bearer)) == (200, 200)
    assert _make(browser, days=str(MOST_PROVIDED_DAYS + 1)) == (422, "")
    town.desk.now += FRESH_S + 1
    assert _make(browser) == (422, "")
    assert _make(town.sign_in())[0] == 200


def test_another_persons_fresh_session_proves_nothing(town: Town) -> None:
    """With Ada's token and Bea's session no token comes out in Ada's name."""
    bearer = _make(town.sign_in())[1]
    bea = {"preferred_username": "bea", "groups": ["officers"], "amr": ["mfa"]}
    town.provider.people["bea"] = bea
    town.provider.sign_in_as = "bea"
    browser = town.sign_in()
    browser.headers["Authorization"] = f"Bearer {bearer}"
    answer = browser.post("/account/tokens", data={"days": "1", "role-officer": "1"})
    assert (answer.status_code, 'id="bearer"' in answer.text) == (422, False)


def test_a_role_that_the_provider_took_away_is_gone_from_the_token(town: Town) -> None:
    """From the next sign-in on; the account's roles are what counts."""
    bearer = _make(town.sign_in())[1]
    town.provider.people[ADA]["groups"] = ["auditors"]
    town.sign_in()
    assert _as(town.desk, bearer) == 403


def test_who_has_no_password_is_told_the_other_way(town: Town) -> None:
    """The same line for every name, so nobody learns who has a password here."""
    town.sign_in()
    town.desk.staff("bea", StaffRole.AUDITOR)
    lines = set()
    for name in ("ada", "bea", "nobody"):
        wanted = {"name": name, "password": "x", "code": "000000", "roles": ["officer"]}
        answer = town.desk.browser().post("/v1/tokens", json=wanted)
        assert answer.status_code == 401
        lines.add(answer.json()["detail"])
    (line,) = lines
    assert "/account/tokens" in line
