"""Single sign-on ends at both sites: signing out, closed accounts, logout tokens, old sessions."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.testclient import TestClient

from audit.portal.back_channel import BackChannel
from tests.audit.portal.two_sites import CENTRE, Pair, pair

__all__ = ["pair"]


def _sign_out(browser: TestClient) -> None:
    csrf = browser.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
    assert browser.post("/sign-out", data={"csrf": csrf}).status_code == HTTPStatus.OK


def test_signing_out_at_home_ends_it_at_the_centre(pair: Pair) -> None:
    """That session's alone, once the centre was told; another browser stays."""
    home, centre = pair.at_both()
    _, other = pair.at_both()
    pair.tell()  # of the tests before
    _sign_out(home)
    assert pair.tell() == 1
    assert centre.get("/account").status_code == HTTPStatus.SEE_OTHER
    assert other.get("/account").status_code == HTTPStatus.OK
    last = pair.home.last("sign-on")
    assert (last["staff"], last["step"]) == ("ada", "session-ended")
    assert pair.centre.last("signed-out") == {"staff": "ada", "everywhere": False}
    assert pair.tell() == 0, "it is told once"


def test_closing_an_account_ends_sessions_and_tokens_at_the_centre(pair: Pair) -> None:
    """Also what was made there and would have outlived the session."""
    _, centre = pair.at_both("bea")
    account = pair.centre.access.ledger.account("bea")
    assert account is not None
    owner = pair.centre.access.sessions.find(centre.cookies[CENTRE.session])
    made = pair.centre.access.sessions.issue(owner, owner.roles, days=7)
    bearer = {"Authorization": f"Bearer {made['bearer']}", "Accept": "*/*"}
    _, before = pair.at_both("bea")
    pair.home.access.sessions.end_all("bea")
    assert pair.tell() >= 1
    assert before.get("/v1/tokens", headers=bearer).status_code == HTTPStatus.OK
    pair.home.access.accounts.disable("bea", by="bootstrap")
    assert pair.tell() >= 1
    assert before.get("/v1/tokens", headers=bearer).status_code == HTTPStatus.UNAUTHORIZED
    assert centre.get("/account").status_code == HTTPStatus.SEE_OTHER
    assert pair.home.last("sign-on")["step"] == "account-ended"
    pair.home.access.accounts.enable("bea", by="bootstrap")


def test_a_centre_that_does_not_answer_is_told_later(pair: Pair) -> None:
    """Tried again with longer pauses, after a restart too: what is due lies in the store."""
    home, centre = pair.at_both()
    pair.tell()  # of the tests before
    sign_on = pair.home.access.sign_on
    assert sign_on is not None
    real = sign_on.settings
    sign_on.settings = real.model_copy(update={"logout_uri": "https://localhost:1/logout"})
    _sign_out(home)
    assert (pair.tell(), pair.tell()) == (0, 0)
    sign_on.settings = real
    assert BackChannel(sign_on).tell() == 0, "it waits"
    assert centre.get("/account").status_code == HTTPStatus.OK
    pair.wait(10)
    assert BackChannel(sign_on).tell() == 1
    assert centre.get("/account").status_code == HTTPStatus.SEE_OTHER


def test_the_home_is_asked_again_after_a_quarter_of_an_hour(pair: Pair) -> None:
    """Whatever was not told: an end at home reaches the centre by then; who stays types nothing."""
    home, centre = pair.at_both()
    pair.wait(890)
    assert home.get("/account").status_code == HTTPStatus.OK
    assert centre.get("/account").status_code == HTTPStatus.OK
    pair.wait(20)
    answer = centre.get(pair.answers(home, pair.asks(centre)))
    assert answer.status_code == HTTPStatus.SEE_OTHER
    assert centre.get("/account").status_code == HTTPStatus.OK


def test_who_works_at_the_centre_alone_is_not_idle_at_home(pair: Pair) -> None:
    """Each asking counts as use there: nothing is typed until the day's limit."""
    home, centre = pair.at_both()
    for _ in range(3):
        pair.wait(910)
        assert centre.get(pair.answers(home, pair.asks(centre))).status_code == 303
    assert home.get("/account").status_code == HTTPStatus.OK


def test_a_sign_in_of_this_morning_is_not_fresh_at_the_centre(pair: Pair) -> None:
    """What needs one to prove oneself anew asks the home for it: coming in untyped is no proof."""
    home, centre = pair.at_home(), pair.browser(pair.centre)
    pair.wait(700)
    centre.get(pair.answers(home, pair.asks(centre)))
    assert not _is_fresh(pair, centre)
    wanted = {"next": "/account/tokens", "anew": "true"}
    address = centre.get("/sign-in/provider", params=wanted).headers["location"]
    asked = home.get(address.removeprefix(pair.home_url)).headers["location"]
    assert asked.startswith("/sign-in?next=")
    pair.home.sign_in("ada", home)
    pair.centre.now = pair.home.now
    going = parse_qs(urlsplit(asked).query)["next"][0]
    assert centre.get(pair.answers(home, going)).headers["location"] == "/account/tokens"
    assert _is_fresh(pair, centre)


def _is_fresh(pair: Pair, centre: TestClient) -> bool:
    session = centre.cookies[CENTRE.session]
    return pair.centre.access.sessions.is_fresh(session, of="ada", method="provider")


def test_the_home_shows_the_way_out_to_whoever_left_the_centre(pair: Pair) -> None:
    """A link signs nobody out; the page it leads to does, by a form."""
    home, centre = pair.at_both()
    csrf = centre.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
    shown = centre.post("/sign-out", data={"csrf": csrf}).text
    assert f"{pair.home_url}/sign-on/leave?client_id=centre" in shown
    assert home.get("/sign-on/leave").headers["location"] == "/account"
    assert home.get("/account").status_code == HTTPStatus.OK


def _logout(pair: Pair, token: str) -> int:
    answer = pair.browser(pair.centre).post(
        "/sign-in/provider/logout", data={"logout_token": token}
    )
    return answer.status_code


FORGED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "another"},
    "expired": {"exp": 1_000},
    "no end": {"exp": None},
    "no id": {"jti": None},
    "of the future": {"iat": 4_000_000_000},
    "a nonce, as identity tokens have": {"nonce": "n"},
    "no event": {"events": None},
    "another event": {"events": {"http://evil.example": {}}},
    "nobody": {"sub": None},
}


@pytest.mark.parametrize("lie", FORGED)
def test_a_logout_token_that_does_not_hold_ends_nothing(pair: Pair, lie: str) -> None:
    """Signed by the home itself, and still not for this."""
    _, centre = pair.at_both()
    sign_on, account = pair.home.access.sign_on, pair.home.access.accounts.known("ada")
    assert sign_on is not None
    honest = pair.claims(sign_on.logout_token(account, None))
    claims = {n: v for n, v in (honest | FORGED[lie]).items() if v is not None}
    assert _logout(pair, sign_on.key.sign(claims, kind="logout+jwt")) == HTTPStatus.BAD_REQUEST
    assert centre.get("/account").status_code == HTTPStatus.OK
    assert _logout(pair, sign_on.key.sign(honest, kind="logout+jwt")) == HTTPStatus.OK
    assert centre.get("/account").status_code == HTTPStatus.SEE_OTHER


def test_a_logout_token_of_anybody_else_ends_nothing(pair: Pair) -> None:
    """Another key, none at all, an identity token, or no token."""
    _, centre = pair.at_both()
    sign_on, account = pair.home.access.sign_on, pair.home.access.accounts.known("ada")
    assert sign_on is not None
    claims = pair.claims(sign_on.logout_token(account, None))
    foreign = ECKey.generate_key("P-256", {"alg": "ES256"}, auto_kid=True)
    parts = [json.dumps(p).encode() for p in ({"alg": "none"}, claims)]
    bare = ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts) + "."
    identity = pair.redeem(pair.code(pair.at_home())).json()["id_token"]
    signed = jwt.encode({"alg": "ES256", "kid": foreign.kid}, claims, foreign, ["ES256"])
    for token in (signed, bare, identity, "", "x" * 20_000, *["x"] * 35):
        assert _logout(pair, token) == HTTPStatus.BAD_REQUEST, "and nobody waits for others' lies"
    assert centre.get("/account").status_code == HTTPStatus.OK
