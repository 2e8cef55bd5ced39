"""Two at once: a code, a one-time token and an account's end count once, whoever comes first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from audit.errors import SignInRefused
from audit.portal.access import SESSION_COOKIE, Attempt
from audit.portal.passwords import Passwords
from audit.staff import StaffRole
from tests.audit.portal.conftest import PASSWORD, Desk

# FastAPI hushes it while a route is first used, by `catch_warnings`, which is one for all threads.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.UnsupportedFieldAttributeWarning"
)

AT_ONCE = 6
ANOTHER = "seven warm otters dive"


def _together(act: Callable[[Any], Any], given: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(act, given))


@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_a_code_sent_by_many_at_once_lets_one_in(desk: Desk, kind: str) -> None:
    """A form pressed twice, or a code that was seen: one session, and one entry of it."""
    browsers = [desk.browser() for _ in range(AT_ONCE)]
    code = desk.code("ada") if kind == "app" else desk.codes["ada"][0]
    forms = [desk.form(browser, "ada", code=code) for browser in browsers]
    with mock.patch.object(type(desk.access._throttle), "begin", return_value=[]):
        told = _together(
            lambda pair: pair[0].post("/sign-in", data=pair[1]).status_code,
            list(zip(browsers, forms, strict=True)),
        )
    assert sorted(told) == [303] + [401] * (AT_ONCE - 1)
    assert sum(SESSION_COOKIE in browser.cookies for browser in browsers) == 1
    assert desk.kinds().count("signed-in") == 1


@pytest.mark.parametrize("end", ["password", "disabled", "reset"])
def test_nobody_is_let_in_who_was_known_before_the_account_changed(desk: Desk, end: str) -> None:
    """Between the right password and the session all sessions ended: this one does not begin."""
    attempt = Attempt(name="ada", password=PASSWORD, code=desk.code("ada"))
    known = desk.access.sign_in(attempt)
    accounts = desk.access.accounts
    if end == "password":
        accounts.change_password("ada", ANOTHER)
    elif end == "disabled":
        accounts.disable("ada", by="bootstrap")
    else:
        accounts.reset("ada", by="bootstrap")
    with pytest.raises(SignInRefused, match="sign in again"):
        desk.access.sessions.open(known, method="password-and-code")
    assert desk.access.ledger.sessions("ada") == []


def test_a_one_time_token_that_is_used_meanwhile_changes_nothing(desk: Desk) -> None:
    """Whoever saw the token and sends it beside its owner sets no password of theirs."""
    accounts = desk.access.accounts
    token = accounts.add("bea", [StaffRole.AUDITOR], by="bootstrap")
    desk.secrets["bea"] = accounts.choose_password("bea", token, PASSWORD).secret
    hashed = Passwords.hash

    def slowly(self: Passwords, password: str, *, name: str) -> str:
        """Let the owner finish while the other's password is hashed."""
        if password == ANOTHER:
            desk.codes["bea"] = accounts.activate("bea", token, desk.code("bea"))
        return hashed(self, password, name=name)

    with (
        mock.patch.object(Passwords, "hash", slowly),
        pytest.raises(SignInRefused, match="one-time token"),
    ):
        accounts.choose_password("bea", token, ANOTHER)
    desk.sign_in("bea")


def test_a_one_time_token_sent_twice_at_once_begins_one_account(desk: Desk) -> None:
    """Two codes of neighbouring half minutes fit: recovery codes are given out once."""
    accounts = desk.access.accounts
    token = accounts.add("bea", [StaffRole.AUDITOR], by="bootstrap")
    desk.secrets["bea"] = accounts.choose_password("bea", token, PASSWORD).secret
    codes = [desk.code("bea"), desk.code("bea")]
    change, done = desk.access._diary.changed, list[list[str]]()

    def meanwhile(name: str, what: str, **said: Any) -> None:
        """Let the other request through once this one has shown its token and code."""
        change(name, what, **said)
        if not done:
            done.append([])
            done[0] = accounts.activate("bea", token, codes[1])

    with (
        mock.patch.object(desk.access._diary, "changed", meanwhile),
        pytest.raises(SignInRefused, match="one-time token"),
    ):
        accounts.activate("bea", token, codes[0])
    assert len(done[0]) == 10
    browser = desk.browser()
    form = desk.form(browser, "bea", code=done[0][0])
    assert browser.post("/sign-in", data=form).status_code == 303
