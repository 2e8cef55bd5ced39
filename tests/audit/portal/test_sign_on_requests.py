"""Single sign-on: each way to cheat by what a browser asks, or by what it brings back."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from audit.portal.cookies import Cookies
from tests.audit.portal.conftest import BOOTSTRAP_TOKEN
from tests.audit.portal.two_sites import CENTRE, SECRET, VERIFIER, Pair, pair

__all__ = ["pair"]

ELSEWHERE: dict[str, dict[str, str | None]] = {
    "another address": {"redirect_uri": "https://evil.example/"},
    "an address that begins alike": {"redirect_uri": "+/evil"},
    "another port": {"redirect_uri": "https://localhost:1/sign-in/provider/return"},
    "no address": {"redirect_uri": None},
    "a word with a quote": {"redirect_uri": 'https://evil.example/"'},
    "another client": {"client_id": "somebody-else"},
    "no client": {"client_id": None},
    "another client's token flow": {"client_id": "somebody-else", "response_type": "token"},
}


@pytest.mark.parametrize("wrong", ELSEWHERE)
def test_nobody_is_led_to_another_address(pair: Pair, wrong: str) -> None:
    """No open redirect: whom the request is not of, it is not answered to."""
    browser, asked = pair.at_home(), pair.request(**ELSEWHERE[wrong])
    if asked.get("redirect_uri", "").startswith("+"):
        asked["redirect_uri"] = pair.request()["redirect_uri"] + asked["redirect_uri"][1:]
    for visitor in (browser, pair.browser(pair.home)):
        answer = visitor.get("/sign-on", params=asked)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert "evil" not in answer.text


MISSING: dict[str, dict[str, str | None]] = {
    "plain PKCE": {"code_challenge_method": "plain", "code_challenge": VERIFIER},
    "PKCE without a method, which is plain": {"code_challenge_method": None},
    "no PKCE": {"code_challenge_method": None, "code_challenge": None},
    "an empty challenge": {"code_challenge": ""},
    "a challenge that is none": {"code_challenge": "short"},
    "no nonce": {"nonce": None},
    "no state": {"state": None},
    "no scope": {"scope": None},
    "another scope": {"scope": "profile"},
    "a request object": {"request": "e30.e30."},
    "an age that is no number": {"max_age": "-1"},
    "asked silently and loudly": {"prompt": "none login"},
}


@pytest.mark.parametrize("wrong", MISSING)
def test_a_request_without_its_safeguards_gets_no_code(pair: Pair, wrong: str) -> None:
    """The error goes back to the centre's own address, and names who answers (RFC 9207)."""
    answer = pair.at_home().get("/sign-on", params=pair.request(**MISSING[wrong]))
    where = answer.headers["location"]
    assert where.startswith(pair.request()["redirect_uri"] + "?error=")
    back = parse_qs(urlsplit(where).query)
    assert back["iss"] == [pair.home_url]
    assert "code" not in back
    assert pair.home.last("sign-on")["step"] == "refused"


def test_another_kind_of_answer_is_not_given(pair: Pair) -> None:
    """No token in an address, where histories and logs keep it."""
    for kind in ("token", "id_token", "code id_token", "none"):
        answer = pair.at_home().get("/sign-on", params=pair.request(response_type=kind))
        assert "unsupported_response_type" in answer.headers["location"]
        assert "access_token" not in answer.headers["location"]


def test_a_parameter_that_comes_twice_is_refused(pair: Pair) -> None:
    """Whoever reads the first and whoever reads the last would see two requests."""
    twice: list[tuple[str, Any]] = [
        *pair.request().items(),
        ("nonce", "another"),
    ]
    answer = pair.at_home().get("/sign-on", params=twice)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


_ASKED = (
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "prompt",
    "max_age",
)
_PROOF = ("code_challenge", "code_challenge_method", "code", "code_verifier", "client_secret")
NAMES = st.sampled_from((*_ASKED, *_PROOF, "response_mode", "request", "grant_type"))
WORDS = st.one_of(st.text(max_size=50), st.sampled_from(["code", "none", "login", "0", "S256"]))


@settings(max_examples=80, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
@given(changed=st.lists(st.tuples(NAMES, WORDS), max_size=4), signed_in=st.booleans())
def test_nothing_that_is_asked_breaks_it_or_leads_elsewhere(
    pair: Pair, changed: list[tuple[str, str]], *, signed_in: bool
) -> None:
    """Any parameters beside whole ones, of a browser and of the client: no 5xx, one address."""
    browser = pair.browser(pair.home)
    if signed_in:
        account = pair.home.access.accounts.known("ada")
        session = pair.home.access.sessions.open(account, method="test")
        browser.cookies.set(Cookies().session, session, domain="localhost.local")
    asked: list[tuple[str, Any]] = [*(pair.request() | dict(changed)).items()]
    answer = browser.get("/sign-on", params=asked)
    assert answer.status_code in {303, 400}, answer.text
    back = pair.request()["redirect_uri"] + "?"
    assert answer.headers.get("location", back).startswith((back, "/sign-in?next=/sign-on"))
    whole = {"grant_type": "authorization_code", "code": "x", "code_verifier": VERIFIER}
    answer = browser.post("/sign-on/token", data=whole | dict(changed), auth=("centre", SECRET))
    assert answer.status_code in {400, 403}, answer.text


def test_a_bearer_token_asks_for_nothing(pair: Pair) -> None:
    """A session in a browser does: scripts are not signed in at the other site."""
    browser = pair.browser(pair.home)
    bearer = {"Authorization": f"Bearer {BOOTSTRAP_TOKEN}"}
    answer = browser.get("/sign-on", params=pair.request(), headers=bearer)
    assert answer.headers["location"].startswith("/sign-in?next=")


def test_a_silent_question_is_answered_without_a_page(pair: Pair) -> None:
    """`prompt=none`: nobody is there, or not since so long, and the centre is told."""
    asked = pair.request(prompt="none")
    answer = pair.browser(pair.home).get("/sign-on", params=asked)
    assert "error=login_required" in answer.headers["location"]
    assert "&iss=" in answer.headers["location"]
    browser = pair.at_home()
    assert "code=" in browser.get("/sign-on", params=asked).headers["location"]
    pair.wait(90)
    answer = browser.get("/sign-on", params=asked | {"max_age": "60"})
    assert "error=login_required" in answer.headers["location"]


def test_one_may_be_asked_to_sign_in_again(pair: Pair) -> None:
    """`prompt=login` and `max_age`; having done so, one is not asked for ever."""
    browser = pair.at_home()
    for more in ({"prompt": "login"}, {"max_age": "60"}):
        pair.wait(90)
        asked = pair.request(**more)
        answer = browser.get("/sign-on", params=asked)
        assert answer.headers["location"].startswith("/sign-in?next=")
        going = parse_qs(urlsplit(answer.headers["location"]).query)["next"][0]
        pair.home.sign_in("ada", browser)
        assert "code=" in browser.get(going).headers["location"]


def test_a_page_elsewhere_gains_nothing_by_beginning_for_somebody(pair: Pair) -> None:
    """CSRF of the request: the answer fits no attempt of that browser; the code is worthless."""
    home, centre = pair.at_home(), pair.browser(pair.centre)
    centre.get("/sign-in")
    answer = home.get("/sign-on", params=pair.request(state="planted", nonce="planted"))
    back = answer.headers["location"].removeprefix(pair.centre_url)
    assert centre.get(back).status_code == HTTPStatus.UNAUTHORIZED
    assert CENTRE.session not in centre.cookies


def test_nobody_is_signed_in_as_another_by_a_link(pair: Pair) -> None:
    """Login CSRF: an answer belongs to the browser that began."""
    attacker, victim = pair.browser(pair.centre), pair.browser(pair.centre)
    victim.get("/sign-in")
    back = pair.answers(pair.at_home("bea"), pair.asks(attacker))
    assert victim.get(back).status_code == HTTPStatus.UNAUTHORIZED
    assert CENTRE.session not in victim.cookies


def test_an_answer_that_names_another_is_refused(pair: Pair) -> None:
    """Mix-up: without our name or with another's, the code goes to nobody and stays good."""
    for change in ({"iss": "https://evil.example"}, {"iss": None}):
        home, centre = pair.at_home(), pair.browser(pair.centre)
        path, _, query = pair.answers(home, pair.asks(centre)).partition("?")
        said: dict[str, str | None] = {**dict(parse_qsl(query)), **change}
        changed = urlencode({name: value for name, value in said.items() if value is not None})
        assert centre.get(f"{path}?{changed}").status_code == HTTPStatus.UNAUTHORIZED
        row, first = pair.home.access.sign_on.store.take(  # type: ignore[union-attr]
            hashlib.sha256(str(said["code"]).encode()).hexdigest()
        )
        assert row is not None
        assert first, "the centre sent the code to somebody"


def test_a_session_from_before_is_none_after(pair: Pair) -> None:
    """Session fixation: the id that was planted at the centre opens nothing."""
    home, centre = pair.at_home(), pair.browser(pair.centre)
    centre.cookies.set(CENTRE.session, "planted", domain="localhost.local")
    centre.get(pair.answers(home, pair.asks(centre)))
    planted = pair.browser(pair.centre)
    planted.cookies.set(CENTRE.session, "planted", domain="localhost.local")
    assert planted.get("/account").status_code == HTTPStatus.SEE_OTHER
    ids = {c.value for c in centre.cookies.jar if c.name == CENTRE.session}
    assert len(ids - {"planted"}) == 1
