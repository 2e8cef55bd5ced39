"""Single sign-on between both real sites in Chromium: one sign-in, no typing, one way out.

Screenshots go to `UNDERTONE_ARTEFACTS` where it names a folder.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.portal.back_channel import EVERY_S
from audit.serve import serve_all
from consent.api import create_app
from coordinator.api import create_app as create_centre_app
from deploy.portal import _listener, make_history
from deploy.portal_centre import make_centre
from deploy.portal_history import PASSWORD, History, open_accounts
from tests.browser import chromium

pytestmark = pytest.mark.slow


@dataclass(slots=True, kw_only=True)
class Sites:
    """Both sites as `make portal` serves them, without the month, and a browser."""

    history: History
    trust: str
    centre: str
    browser: Any

    def page(self, **options: Any) -> Any:
        """Return a page in which nobody is signed in."""
        page = self.browser.new_context(ignore_https_errors=True, **options).new_page()
        page.set_default_timeout(20_000)
        return page

    def sign_in(self, page: Any, name: str) -> None:
        """Fill in the page that asks."""
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("Code of your").fill(self.history.codes[name].pop())
        page.get_by_role("button", name="Sign in").click()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Serve both sites of one installation over TLS on loopback."""
    folder, port = tmp_path_factory.mktemp("both"), _two_ports()
    trust, centre = (f"https://localhost:{port + n}" for n in (0, 1))
    with ExitStack() as stack:
        now = time.time()
        history = make_history(folder, end=now, people=8, uses=8, other_url=centre, own_url=trust)
        stack.callback(history.close)
        app = create_app(history.service)
        made = make_centre(folder, history, app, url=trust, port=port + 1)
        stack.callback(made.service.close)
        history.clock.now = now
        history.codes = open_accounts(history.service.access, history.clock)
        history.clock.follow = time.time
        centre_app = create_centre_app(made.service, admin_token=made.token)
        listeners = [_listener(folder, app, port), _listener(folder, centre_app, port + 1)]
        ready, stop = threading.Event(), threading.Event()
        serving = threading.Thread(
            target=serve_all,
            args=(listeners,),
            kwargs={"on_ready": lambda _: ready.set(), "stop": stop},
            daemon=True,
        )
        serving.start()
        stack.callback(serving.join)
        stack.callback(stop.set)
        assert ready.wait(60)
        browser = stack.enter_context(chromium())
        yield Sites(history=history, trust=trust, centre=centre, browser=browser)


def _two_ports() -> int:
    """Return a free port whose next is free too."""
    for _ in range(50):
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = int(bound.getsockname()[1])
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port
    raise RuntimeError("no two free ports in a row")


def _keep(page: Any, name: str) -> None:
    if folder := os.environ.get("UNDERTONE_ARTEFACTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("script", [True, False])
def test_one_sign_in_is_for_both_sites_and_so_is_the_way_out(sites: Sites, script: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """A link leads from either site into the other; signing out at one's home ends it there."""
    page = sites.page(java_script_enabled=script)
    page.goto(f"{sites.trust}/today")
    sites.sign_in(page, "olga")
    page.get_by_role("link", name="Federation").click()
    page.wait_for_url(f"{sites.centre}/federation")
    assert page.get_by_role("banner").get_by_text("olga").is_visible()
    _keep(page, "sign-on-centre")
    page.goto(f"{sites.trust}/account")
    assert "Signed in as olga (officer)" in page.locator("main").inner_text()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_text("You are signed out here").wait_for()
    until = time.monotonic() + 10 * EVERY_S
    while True:
        page.goto(f"{sites.centre}/federation")
        if page.url.startswith(f"{sites.trust}/sign-in"):
            break
        assert time.monotonic() < until, "the centre was not told"
        time.sleep(EVERY_S / 4)


def test_who_begins_at_the_coordinator_signs_in_at_the_trust_service(sites: Sites) -> None:
    """The form is the trust service's, and leads back to the page that was asked for.

    Chromium lets no redirect of a form leave its site: the page between leads on by itself.
    """
    page, blocked = sites.page(), list[str]()
    page.on("console", lambda said: blocked.append(said.text))
    page.goto(f"{sites.centre}/models")
    assert page.url.startswith(f"{sites.trust}/sign-in")
    _keep(page, "sign-on-asked")
    sites.sign_in(page, "sam")
    page.wait_for_url(f"{sites.centre}/models")
    assert [said for said in blocked if "Content Security Policy" in said] == []
    page.get_by_role("link", name="Today").click()
    page.wait_for_url(f"{sites.trust}/today")
