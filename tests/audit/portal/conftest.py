"""A service with nothing but the frame: real log, real store, a clock that is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyotp
import pytest
from argon2 import PasswordHasher
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from audit.http import BodyLimit, install_error_handlers
from audit.log import EvidenceLog
from audit.portal.access import Access
from audit.portal.frame import guard_answers, install_frame
from audit.portal.passwords import Passwords
from audit.portal.settings import PortalSettings
from audit.signing import SigningKey
from audit.staff import Staff, StaffRole, only

START = 1_800_000_000.0
BOOTSTRAP_TOKEN = "a-bootstrap-token"  # noqa: S105 (of tests)
PASSWORD = "nine calm herons wade"  # noqa: S105 (of tests)
BEARER = {"Authorization": f"Bearer {BOOTSTRAP_TOKEN}"}


@dataclass(slots=True, kw_only=True)
class Desk:
    """The service, and what the people who use it know."""

    app: FastAPI
    access: Access
    log: EvidenceLog
    now: float = START
    secrets: dict[str, str] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)

    def browser(self) -> TestClient:
        """Return a browser that has been nowhere."""
        return TestClient(self.app, base_url="https://desk.example", follow_redirects=False)

    def kinds(self) -> list[str]:
        """Return the kinds of all events so far."""
        return [entry.event.kind.value for entry in self.log.entries(0, self.log.size)]

    def last(self, kind: str) -> dict[str, Any]:
        """Return what the newest event of a kind says."""
        entries = self.log.entries(0, self.log.size)
        return dict([e.event.fields for e in entries if e.event.kind == kind][-1])

    def code(self, name: str) -> str:
        """Return the next code of somebody's app; half a minute goes by."""
        self.now += 30
        return pyotp.TOTP(self.secrets[name]).at(int(self.now))

    def staff(self, name: str, *roles: StaffRole) -> None:
        """Make an account and let its owner begin."""
        token = self.access.accounts.add(name, roles, by="bootstrap")
        self.secrets[name] = self.access.accounts.choose_password(name, token, PASSWORD).secret
        self.codes[name] = self.access.accounts.activate(name, token, self.code(name))

    def form(self, browser: TestClient, name: str, **changes: str) -> dict[str, str]:
        """Open the sign-in page and fill its form in."""
        token = browser.get("/sign-in").text.split('name="csrf" value="')[1].split('"')[0]
        known = {"name": name, "password": PASSWORD, "csrf": token}
        known |= {} if "code" in changes else {"code": self.code(name)}
        return known | changes

    def sign_in(self, name: str, browser: TestClient | None = None) -> TestClient:
        """Return a browser in which somebody signed in."""
        browser = browser or self.browser()
        answer = browser.post("/sign-in", data=self.form(browser, name))
        assert answer.status_code == 303, answer.text
        return browser


@pytest.fixture
def staff_url() -> str | None:
    """Return where the staff tables lie: in the folder's file, but where a room says other."""
    return None


@pytest.fixture
def make_desk(tmp_path: Path, staff_url: str | None) -> Iterator[Callable[..., Desk]]:
    """Return a maker of services over the same files."""
    key = SigningKey.generate("desk")
    opened: list[Desk] = []

    def make(settings: PortalSettings | None = None) -> Desk:
        app = FastAPI(title="Desk")

        def clock() -> float:
            return made.now

        log = EvidenceLog(tmp_path / "log.db", key, origin="desk", clock=clock)
        access = Access(
            folder=tmp_path,
            log=log,
            key=key,
            clock=clock,
            bootstrap_token=BOOTSTRAP_TOKEN,
            bootstrap_roles=frozenset({StaffRole.OPERATOR}),
            settings=(settings or PortalSettings()).model_copy(
                update={} if staff_url is None else {"database_url": staff_url}
            ),
            passwords=partial(Passwords, PasswordHasher(time_cost=1, memory_cost=64)),
        )
        made = Desk(app=app, access=access, log=log)
        install_frame(app, access)
        app.add_middleware(BodyLimit)
        install_error_handlers(app, {})
        guard_answers(app)

        @app.post("/change")
        def change(staff: Annotated[Staff, Depends(only(StaffRole.OFFICER))]) -> str:
            return staff.name

        opened.append(made)
        return made

    yield make
    for desk in opened:
        with closing(desk.log):
            desk.access.close()


@pytest.fixture
def desk(make_desk: Callable[[], Desk]) -> Desk:
    """Return a service with one officer, Ada."""
    made = make_desk()
    made.staff("ada", StaffRole.OFFICER)
    return made
