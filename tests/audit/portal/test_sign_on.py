"""Single sign-on between our two sites: both served over TLS, and each way to cheat.

The home signs staff in (`audit.portal.sign_on`); the centre takes its word, as it takes any
identity provider's (`audit.portal.provider_sign_in`). Browsers are in process; what the sites say
to each other goes over loopback.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from sqlmodel import update
from starlette.testclient import TestClient
from typer.testing import CliRunner

from audit.errors import AccountsUnavailable, EvidenceUnavailable
from audit.http import BodyLimit, install_error_handlers
from audit.log import EvidenceLog
from audit.pki import create_authority, issue_server
from audit.portal.access import Access
from audit.portal.back_channel import BackChannel
from audit.portal.cli import sign_on_app
from audit.portal.cookies import Cookies
from audit.portal.frame import guard_answers, install_frame
from audit.portal.passwords import Passwords
from audit.portal.settings import PortalSettings, ProviderSettings, SingleSignOnSettings
from audit.portal.sign_on import ONE_FACTOR, TWO_FACTORS
from audit.portal.sign_on_key import SignOnKey
from audit.portal.sign_on_pages import sign_on_pages
from audit.portal.tables import SessionRow
from audit.serve import Listener, serve_all
from audit.signing import SigningKey
from audit.staff import StaffRole
from tests.audit.portal.conftest import BOOTSTRAP_TOKEN, START, Desk

SECRET = "a secret of the centre and its home"  # noqa: S105 (of tests)
CENTRE = Cookies(site="centre")
VERIFIER = "v" * 64
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(slots=True, kw_only=True)
class Pair:
    """The two sites, one clock, and browsers that visit both."""

    home: Desk
    centre: Desk
    home_url: str
    centre_url: str
    authority: Path

    @property
    def now(self) -> float:
        """Return the time at both."""
        return self.home.now

    def wait(self, seconds: float) -> None:
        """Let time pass at both."""
        self.home.now += seconds
        self.centre.now = self.home.now

    def at_home(self, name: str = "ada") -> TestClient:
        """Return a browser in which somebody is signed in at home."""
        browser = self.home.sign_in(name, self.browser(self.home))
        self.centre.now = self.home.now
        return browser

    def browser(self, desk: Desk) -> TestClient:
        """Return a browser that has been nowhere."""
        url = self.home_url if desk is self.home else self.centre_url
        return TestClient(desk.app, base_url=url, follow_redirects=False, headers=HTML)

    def asks(self, browser: TestClient, going: str = "/account") -> str:
        """Return where the centre sends a browser that is nobody there."""
        answer = browser.get(going)
        assert answer.status_code == HTTPStatus.SEE_OTHER
        assert answer.headers["location"].startswith("/sign-in/provider?next=")
        answer = browser.get(answer.headers["location"])
        assert answer.headers["location"].startswith(f"{self.home_url}/sign-on?")
        return str(answer.headers["location"]).removeprefix(self.home_url)

    def answers(self, browser: TestClient, address: str) -> str:
        """Return where the home sends a browser that is signed in there, at the centre."""
        answer = browser.get(address)
        assert answer.status_code == HTTPStatus.SEE_OTHER, answer.text
        assert answer.headers["location"].startswith(f"{self.centre_url}/"), answer.headers
        return str(answer.headers["location"]).removeprefix(self.centre_url)

    def at_both(self, name: str = "ada") -> tuple[TestClient, TestClient]:
        """Return a browser at home and at the centre, where nothing was typed."""
        home, centre = self.at_home(name), self.browser(self.centre)
        answer = centre.get(self.answers(home, self.asks(centre)))
        assert (answer.status_code, answer.headers["location"]) == (303, "/account"), answer.text
        return home, centre

    def code(self, browser: TestClient, **changes: str | None) -> str:
        """Return a code for the test's own verifier, as a client that asks by itself gets one."""
        answer = browser.get("/sign-on", params=self.request(**changes))
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def request(self, **changes: str | None) -> dict[str, str]:
        """Return a whole request, changed or with parts missing."""
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        whole = {
            "response_type": "code",
            "client_id": "centre",
            "redirect_uri": f"{self.centre_url}/sign-in/provider/return",
            "scope": "openid profile",
            "state": "a-state",
            "nonce": "a-nonce",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in whole.items() if value is not None}

    def redeem(self, given: str, secret: str = SECRET, **changes: str | None) -> Any:
        """Bring a code as the centre does."""
        whole = {
            "grant_type": "authorization_code",
            "code": given,
            "redirect_uri": f"{self.centre_url}/sign-in/provider/return",
            "code_verifier": VERIFIER,
        } | changes
        said = {name: value for name, value in whole.items() if value is not None}
        return self.browser(self.home).post("/sign-on/token", data=said, auth=("centre", secret))

    def claims(self, token: str) -> dict[str, Any]:
        """Return what a token says, verified by the key that the home publishes."""
        keys = KeySet.import_key_set(self.browser(self.home).get("/sign-on/keys").json())
        return dict(jwt.decode(token, keys, algorithms=["ES256"]).claims)

    def tell(self) -> int:
        """Let the home tell the centre what is over."""
        channel = self.home.access._back_channel
        assert channel is not None
        return channel.tell()


HTML = {"Accept": "text/html"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def _desk(folder: Path, name: str, settings: PortalSettings, cookies: Cookies) -> Desk:
    folder.mkdir()
    app, key = FastAPI(title=name), SigningKey.generate(name)
    made: Desk | None = None

    def clock() -> float:
        return START if made is None else made.now

    access = Access(
        folder=folder,
        log=EvidenceLog(folder / "log.db", key, origin=name, clock=clock),
        key=key,
        clock=clock,
        bootstrap_token=BOOTSTRAP_TOKEN,
        bootstrap_roles=frozenset({StaffRole.OPERATOR}),
        settings=settings,
        passwords=partial(Passwords, PasswordHasher(time_cost=1, memory_cost=64)),
        cookies=cookies,
    )
    made = Desk(app=app, access=access, log=access._diary._log)
    install_frame(app, access)
    app.include_router(sign_on_pages(access))
    app.add_middleware(BodyLimit)
    install_error_handlers(app, {})
    guard_answers(app)
    return made


@contextmanager
def _served(app: FastAPI, port: int, pki: Path) -> Iterator[None]:
    listener = Listener(
        app=app, port=port, certificate=pki / "site.crt", private_key=pki / "site.key"
    )
    ready, stop = threading.Event(), threading.Event()
    serving = threading.Thread(
        target=serve_all,
        args=([listener],),
        kwargs={"on_ready": lambda _: ready.set(), "stop": stop},
        daemon=True,
    )
    serving.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        stop.set()
        serving.join(30)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Serve a home with three people, and a centre that admits officers and auditors."""
    folder = tmp_path_factory.mktemp("sign-on")
    pki, secret = folder / "pki", folder / "centre.secret"
    create_authority(pki)
    issue_server(pki, "site")
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    at = [_free_port(), _free_port()]
    home_url, centre_url = (f"https://localhost:{port}" for port in at)
    back = f"{centre_url}/sign-in/provider"
    shared: dict[str, Any] = {
        "issuer": home_url,
        "client_id": "centre",
        "client_secret_file": secret,
        "redirect_uri": f"{back}/return",
        "authority": pki / "authority.crt",
    }
    on = SingleSignOnSettings(logout_uri=f"{back}/logout", **shared)
    by = ProviderSettings(
        roles={
            "officer": frozenset({StaffRole.OFFICER}),
            "auditor": frozenset({StaffRole.AUDITOR}),
        },
        roles_claim="roles",
        at_once=True,
        again_s=900,
        **shared,
    )
    home = _desk(folder / "home", "home", PortalSettings(single_sign_on=on), Cookies())
    centre = _desk(folder / "centre", "centre", PortalSettings(provider=by), CENTRE)
    for name, role in (
        ("ada", StaffRole.OFFICER),
        ("bea", StaffRole.AUDITOR),
        ("otto", StaffRole.OPERATOR),
    ):
        home.staff(name, role)
    with ExitStack() as stack:
        for desk, port in ((home, at[0]), (centre, at[1])):
            stack.enter_context(closing(desk.log))
            stack.callback(desk.access.close)
            stack.enter_context(_served(desk.app, port, pki))
        yield Pair(
            home=home,
            centre=centre,
            home_url=home_url,
            centre_url=centre_url,
            authority=pki / "authority.crt",
        )


# -- the honest way ---------------------------------------------------------------------


def test_whoever_is_signed_in_at_home_is_in_at_the_centre(pair: Pair) -> None:
    """Nothing is typed; name and role come along, and both logs say so."""
    _, centre = pair.at_both()
    assert "Signed in as <strong>ada</strong> (officer)" in centre.get("/account").text
    assert pair.home.last("sign-on") == {
        "staff": "ada",
        "client": "centre",
        "step": "allowed",
        "roles": ["officer"],
        "acr": TWO_FACTORS,
    }
    signed_in = pair.centre.last("signed-in")
    assert signed_in == {"staff": "ada", "method": "provider", "roles": ["officer"]}


def test_whoever_is_nobody_signs_in_once_at_home(pair: Pair) -> None:
    """The home asks, and leads on by a page: Chromium lets no form's redirect leave a site."""
    home, centre = pair.browser(pair.home), pair.browser(pair.centre)
    address = pair.asks(centre, "/account/sessions?a=1")
    answer = home.get(address)
    asked = answer.headers["location"]
    assert asked.startswith("/sign-in?next=/sign-on%3F"), asked
    going = parse_qs(urlsplit(asked).query)["next"][0]
    assert going == address
    assert "You sign in here for both sites" in home.get(asked).text
    answer = home.post("/sign-in", data=pair.home.form(home, "ada", next=going))
    pair.centre.now = pair.home.now
    assert (answer.status_code, "location" in answer.headers) == (200, False)
    assert answer.headers["content-security-policy"].count("form-action 'self';") == 1
    refresh = answer.text.split('http-equiv="refresh" content="0; url=')[1].split('"')[0]
    assert refresh.replace("&amp;", "&") == address
    answer = centre.get(pair.answers(home, address))
    assert answer.headers["location"] == "/account/sessions?a=1"
    assert centre.get("/account").status_code == HTTPStatus.OK


def test_the_token_says_who_and_how_and_nothing_else(pair: Pair) -> None:
    """Name and roles, two factors and when; the subject is no name, and the same next time."""
    browser = pair.at_home()
    began = pair.now
    pair.wait(40)
    told = pair.redeem(pair.code(browser, nonce="n-1")).json()
    claims = pair.claims(told["id_token"])
    assert claims["auth_time"] == int(began)
    assert claims["iat"] == int(pair.now)
    assert 0 < claims["exp"] - claims["iat"] <= 120
    assert (claims["acr"], claims["amr"]) == (TWO_FACTORS, ["mfa", "otp", "pwd"])
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (pair.home_url, "centre", "n-1")
    assert (claims["preferred_username"], claims["roles"]) == ("ada", ["officer"])
    known = "iss aud sub iat exp nonce sid acr amr auth_time preferred_username roles at_hash"
    assert set(claims) == set(known.split())
    assert [len(bytes.fromhex(claims[name])) for name in ("sub", "sid")] == [32, 32]  # no name
    assert claims["sub"] != hashlib.sha256(b"ada").hexdigest()
    again = pair.claims(pair.redeem(pair.code(pair.at_home())).json()["id_token"])
    assert again["sub"] == claims["sub"]
    assert again["sid"] != claims["sid"]


def test_a_session_without_a_second_factor_is_said_to_have_none(pair: Pair) -> None:
    """As after a provider of the home's that said nothing; the centre then refuses."""
    account = pair.home.access.accounts.known("bea")
    session = pair.home.access.sessions.open(account, method="provider")
    home, centre = pair.browser(pair.home), pair.browser(pair.centre)
    home.cookies.set(Cookies().session, session, domain="localhost.local")
    claims = pair.claims(pair.redeem(pair.code(home)).json()["id_token"])
    assert claims["acr"] == ONE_FACTOR
    assert not {"amr", "auth_time"} & claims.keys()
    answer = centre.get(pair.answers(home, pair.asks(centre)))
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert "second factor" in answer.text
    assert pair.centre.last("sign-in-refused")["reason"] == "second-factor"


def test_a_role_that_the_centre_does_not_admit_is_told_so(pair: Pair) -> None:
    """A page that says what to do, and no session."""
    home, centre = pair.at_home("otto"), pair.browser(pair.centre)
    answer = centre.get(pair.answers(home, pair.asks(centre)))
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "open nothing here: ask your operator" in answer.text
    assert CENTRE.session not in centre.cookies
    assert pair.centre.last("sign-in-refused")["reason"] == "role"


def test_what_the_provider_says_of_itself_is_what_it_does(pair: Pair) -> None:
    """Codes, S256 and one signature; endpoints of its own address; a key without its secret."""
    browser = pair.browser(pair.home)
    said = browser.get("/.well-known/openid-configuration").json()
    assert said["issuer"] == pair.home_url
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["response_types_supported"] == ["code"]
    assert said["token_endpoint_auth_methods_supported"] == ["client_secret_basic"]
    assert all(v.startswith(pair.home_url + "/") for n, v in said.items() if n.endswith("endpoint"))
    (key,) = browser.get("/sign-on/keys").json()["keys"]
    assert key["alg"] == said["id_token_signing_alg_values_supported"][0] == "ES256"
    assert "d" not in key


def test_a_service_without_the_setting_signs_nobody_in_elsewhere(pair: Pair) -> None:
    """Its routes say that they are not there."""
    browser = pair.browser(pair.centre)
    for path in ("/.well-known/openid-configuration", "/sign-on", "/sign-on/keys"):
        assert browser.get(path).status_code == HTTPStatus.NOT_FOUND
    assert browser.post("/sign-on/token").status_code == HTTPStatus.NOT_FOUND
    answer = pair.browser(pair.home).post("/sign-in/provider/logout", data={"logout_token": "x"})
    assert answer.status_code == HTTPStatus.NOT_FOUND


# -- attacks on the request -------------------------------------------------------------

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


# -- attacks on the code ------------------------------------------------------------------


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


# -- the end --------------------------------------------------------------------------------


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


# -- the key --------------------------------------------------------------------------------


def test_the_key_is_private_and_is_replaced(pair: Pair) -> None:
    """By an operator, logged; the old one is gone, and whoever comes next is let in by the new."""
    folder = pair.authority.parent.parent / "home" / "sign-on"
    (before,) = folder.iterdir()
    assert before.stat().st_mode & 0o077 == 0
    old = pair.browser(pair.home).get("/sign-on/keys").json()
    bearer = {"Authorization": f"Bearer {BOOTSTRAP_TOKEN}"}
    answer = pair.browser(pair.home).post("/v1/sign-on-key/rotate", headers=bearer)
    (after,) = folder.iterdir()
    assert after != before
    (key,) = pair.browser(pair.home).get("/sign-on/keys").json()["keys"]
    assert key["kid"] == answer.json()["key"] != old["keys"][0]["kid"]
    assert pair.home.last("staff-acted")["act"] == "POST:/v1/sign-on-key/rotate"
    told = [e.event.fields for e in pair.home.log.entries(0, pair.home.log.size)]
    made = [(f["staff"], f["key"]) for f in told if f.get("step") == "key-made"]
    assert made == [(None, old["keys"][0]["kid"]), ("bootstrap", key["kid"])]
    assert SignOnKey(folder, record=_not_now).public() == {"keys": [key]}
    pair.wait(31)
    pair.at_both()


def test_a_command_replaces_the_key(pair: Pair, tmp_path: Path) -> None:
    """With an operator's token; what it prints is the id of the key that signs from then on."""

    def call(_: str, path: str, *, ca: Path | None, body: bytes, headers: dict[str, str]) -> Any:
        assert ca is None
        answer = pair.browser(pair.home).post(path, content=body, headers=headers)
        return answer.raise_for_status().json()

    (tmp_path / "admin.token").write_text(BOOTSTRAP_TOKEN)
    words = ["rotate-key", "--admin-token-file", str(tmp_path / "admin.token"), "--json"]
    printed = CliRunner().invoke(sign_on_app(call, url=pair.home_url), words)
    (key,) = pair.browser(pair.home).get("/sign-on/keys").json()["keys"]
    assert json.loads(printed.stdout) == {"key": key["kid"]}
    assert pair.home.last("sign-on")["key"] == key["kid"]


def test_a_key_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    """At the start, before anybody is signed in by it."""
    (tmp_path / "sign-on-1.pem").write_text("no key")
    with pytest.raises(AccountsUnavailable, match="key of single sign-on"):
        SignOnKey(tmp_path, record=_not_now)


def test_a_key_that_is_not_recorded_is_not_made(tmp_path: Path) -> None:
    """Neither the first nor a new one: the old goes on signing, and no file is there of the new."""
    with pytest.raises(EvidenceUnavailable):
        SignOnKey(tmp_path, record=_not_now)
    assert list(tmp_path.iterdir()) == []
    key = SignOnKey(tmp_path, record=lambda _: None)
    before = (key.public(), list(tmp_path.iterdir()))
    with pytest.raises(EvidenceUnavailable):
        key.rotate(record=_not_now)
    assert (key.public(), list(tmp_path.iterdir())) == before


def _not_now(key: str) -> None:
    raise EvidenceUnavailable(f"the log cannot record {key} now")
