"""Single sign-on: each way to cheat by a code, and what is given for one."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import update

from audit.errors import EvidenceUnavailable
from audit.portal.cookies import Cookies
from audit.portal.tables import SessionRow
from tests.audit.portal.two_sites import CENTRE, SECRET, VERIFIER, Pair, pair

__all__ = ["pair"]


def test_a_code_is_good_once_and_a_second_use_ends_the_first(pair: Pair) -> None:
    """Replay: it is refused, logged, and whoever came in by it is out."""
    home, centre = pair.at_home(), pair.browser(pair.centre)
    back = pair.answers(home, pair.asks(centre))
    code = parse_qs(urlsplit(back).query)["code"][0]
    pair.tell()  # of the tests before
    assert centre.get(back).status_code == HTTPStatus.SEE_OTHER
    answer = pair.redeem(code)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    last = pair.home.last("sign-on")
    assert (last["staff"], last["step"], last["reason"]) == ("ada", "refused", "invalid_grant")
    assert pair.tell() == 1
    assert centre.get("/account").status_code == HTTPStatus.SEE_OTHER
    assert home.get("/account").status_code == HTTPStatus.OK


def test_a_code_is_good_for_a_minute(pair: Pair) -> None:
    """Then one begins again."""
    code = pair.code(pair.at_home())
    pair.wait(61)
    assert pair.redeem(code).json()["error"] == "invalid_grant"


WRONG: dict[str, tuple[dict[str, str | None], str]] = {
    "another verifier": ({"code_verifier": "w" * 64}, "invalid_grant"),
    "the challenge for the verifier": ({"code_verifier": "CHALLENGE"}, "invalid_grant"),
    "no verifier": ({"code_verifier": None}, "invalid_request"),
    "another address": ({"redirect_uri": "https://evil.example/"}, "invalid_grant"),
    "no address": ({"redirect_uri": None}, "invalid_grant"),
    "another code": ({"code": "guessed"}, "invalid_grant"),
    "no code": ({"code": None}, "invalid_request"),
    "another grant": ({"grant_type": "password"}, "unsupported_grant_type"),
    "a refresh": ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
    "a grant with a quote": ({"grant_type": '"'}, "invalid_request"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_code_is_redeemed_by_who_asked_for_it(pair: Pair, wrong: str) -> None:
    """PKCE, and what it was given for; a wrong try with a right code uses it up."""
    changes, error = WRONG[wrong]
    if changes.get("code_verifier") == "CHALLENGE":
        changes = {"code_verifier": pair.request()["code_challenge"]}
    code = pair.code(pair.at_home())
    answer = pair.redeem(code, SECRET, **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.headers["cache-control"] == "no-store"
    if error == "invalid_grant" and "code" not in changes:
        assert pair.redeem(code).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("how", ["wrong", "empty", "post", "none", "garbage", "other"])
def test_a_code_is_for_the_client_alone(pair: Pair, how: str) -> None:
    """Without its secret, by HTTP Basic, a code is worth nothing, and is not used up by that."""
    code, browser = pair.code(pair.at_home()), pair.browser(pair.home)
    said = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    said |= {"redirect_uri": pair.request()["redirect_uri"]}
    ways: dict[str, dict[str, Any]] = {
        "wrong": {"auth": ("centre", "another secret")},
        "empty": {"auth": ("centre", "")},
        "post": {},
        "none": {},
        "garbage": {"headers": {"Authorization": "Basic \x7f\x7f="}},
        "other": {"auth": ("somebody", SECRET)},
    }
    if how == "post":
        said |= {"client_id": "centre", "client_secret": SECRET}
    answer = browser.post("/sign-on/token", data=said, **ways[how])
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert pair.redeem(code).status_code == HTTPStatus.OK


def test_guessing_the_clients_secret_must_wait(pair: Pair) -> None:
    """The centre itself, which was right from there before, is not kept waiting."""
    code = pair.code(pair.at_home())
    assert pair.redeem(pair.code(pair.at_home())).status_code == HTTPStatus.OK
    answers = [pair.redeem(code, secret=f"guess {n}").status_code for n in range(40)]
    assert (answers[0], answers[-1]) == (401, 429)
    assert pair.redeem(code).status_code == HTTPStatus.OK
    pair.wait(86_401)


@pytest.mark.parametrize("how", ["signed out", "over"])
def test_a_code_of_a_session_that_ended_is_worth_nothing(pair: Pair, how: str) -> None:
    """Between asking and redeeming somebody signed out, or their twelve hours were over."""
    code = pair.code(pair.at_home())
    if how == "signed out":
        pair.home.access.sessions.end_all("ada")
    else:
        with pair.home.access.ledger.writing() as session:
            session.exec(update(SessionRow).values(made_at=pair.now - 43_190))
        pair.wait(20)
    assert pair.redeem(code).json()["error"] == "invalid_grant"


def test_a_code_lies_in_the_store_as_a_hash(pair: Pair) -> None:
    """Neither codes nor tokens are in any file of the home's."""
    code = pair.code(pair.at_home())
    told = pair.redeem(code).json()
    folder = pair.authority.parent.parent / "home"
    found = b"".join(path.read_bytes() for path in folder.glob("*.db*"))
    assert hashlib.sha256(code.encode()).hexdigest().encode() in found
    for secret in (code, told["access_token"], told["id_token"], SECRET):
        assert secret.encode() not in found


def test_what_cannot_be_logged_is_not_given(pair: Pair) -> None:
    """No code leaves before its entry is durable."""
    browser, sign_on = pair.at_home(), pair.home.access.sign_on
    assert sign_on is not None
    known, sign_on._diary = sign_on._diary, _Full()  # type: ignore[assignment]
    try:
        answer = browser.get("/sign-on", params=pair.request(nonce="unlogged"))
    finally:
        sign_on._diary = known
    assert (answer.status_code, "location" in answer.headers) == (503, False)
    folder = pair.authority.parent.parent / "home"
    assert b"unlogged" not in b"".join(path.read_bytes() for path in folder.glob("staff.db*"))


class _Full:
    """A log that takes nothing."""

    def write(self, *_: object, **__: object) -> None:
        """Raise."""
        raise EvidenceUnavailable("no space")


def test_its_tokens_open_no_interface(pair: Pair) -> None:
    """Neither as bearer nor as cookie, at either site."""
    told = pair.redeem(pair.code(pair.at_home())).json()
    assert "refresh_token" not in told
    for desk, cookie in ((pair.home, Cookies().session), (pair.centre, CENTRE.session)):
        for token in (told["access_token"], told["id_token"]):
            for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"{cookie}={token}"}):
                answer = pair.browser(desk).get("/v1/tokens", headers=headers | {"Accept": "*/*"})
                assert answer.status_code == HTTPStatus.UNAUTHORIZED
