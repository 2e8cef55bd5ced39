"""Our two sites for tests of single sign-on: both served over TLS, and browsers that visit both.

The home signs staff in (`audit.portal.sign_on`); the centre takes its word, as it takes any
identity provider's (`audit.portal.provider_sign_in`). Browsers are in process; what the sites say
to each other goes over loopback.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.testclient import TestClient

from audit.http import BodyLimit, install_error_handlers
from audit.log import EvidenceLog
from audit.pki import create_authority, issue_server
from audit.portal.access import Access
from audit.portal.cookies import Cookies
from audit.portal.frame import guard_answers, install_frame
from audit.portal.passwords import Passwords
from audit.portal.settings import PortalSettings, ProviderSettings, SingleSignOnSettings
from audit.portal.sign_on_pages import sign_on_pages
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
