"""The portal in a real browser: two journeys of staff, and every page for every eye.

Screenshots go to `UNDERTONE_ARTEFACTS` where it names a folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.portal.access import SESSION_COOKIE
from consent.api import create_app
from deploy.portal import make_history
from deploy.portal_history import History
from tests.browser import chromium, served


@dataclass(slots=True, kw_only=True)
class Place:
    """A served history, and a browser at it."""

    history: History
    url: str
    browser: Any

    def page(self, name: str, **options: Any) -> Any:
        """Return a page in which somebody is signed in."""
        access = self.history.service.access
        session = access.sessions.open(access.accounts.known(name), method="test")
        context = self.browser.new_context(ignore_https_errors=True, **options)
        cookie = {"name": SESSION_COOKIE, "value": session, "domain": "localhost", "path": "/"}
        context.add_cookies([cookie | {"secure": True, "httpOnly": True}])
        page = context.new_page()
        page.set_default_timeout(20_000)
        return page


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Serve a short history over TLS on loopback, and open Chromium."""
    folder = tmp_path_factory.mktemp("portal")
    history = make_history(folder, end=time.time(), people=12, uses=40, other_url=None)
    history.play()
    history.clock.follow = time.time
    try:
        with (
            served(create_app(history.service), pki=folder / "pki") as url,
            chromium() as opened,
        ):
            yield Place(history=history, url=url, browser=opened)
    finally:
        history.close()


def _keep(page: Any, name: str) -> None:
    """Keep a picture of a page where the run wants them."""
    if folder := os.environ.get("UNDERTONE_ARTEFACTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def test_an_officer_answers_an_authority_with_proof(place: Place) -> None:
    """From Today to the refused decision, its statute, and the proof as a file: by links alone."""
    page = place.page("olga")
    page.goto(place.url)
    page.get_by_role("link", name="Decisions").click()
    page.get_by_label("Outcome").select_option("refused")
    page.get_by_label("Decided by").select_option("this service")
    page.get_by_role("button", name="Search").first.click()
    assert "outcome=refused" in page.url
    page.locator("tbody a code").first.click()
    assert page.get_by_text("GDPR").first.is_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proof").click()
    proof = download.value.path().read_text(encoding="utf-8")
    index = int(proof.split("\n")[1].removeprefix("index "))
    assert proof == place.history.service.witnessing.receipt(index)
    page.get_by_role("link", name="Evidence", exact=True).click()
    page.get_by_role("button", name="Verify now").click()
    page.get_by_text("It holds", exact=True).wait_for()


def test_a_dpo_brings_an_erasure_on_its_way(place: Place) -> None:
    """From the task of Today to a delivered answer; what nodes still owe is on the page."""
    page = place.page("dario")
    page.goto(f"{place.url}/today")
    page.get_by_role("link", name="Request for erasure").first.click()
    assert page.get_by_text("no answer").first.is_visible()
    page.get_by_label("Answered by").select_option("letter")
    page.get_by_role("button", name="Delivered").click()
    assert (
        page.get_by_role("cell", name="delivered")
        .or_(page.get_by_role("rowheader", name="delivered"))
        .first.is_visible()
    )
    assert page.get_by_role("button", name="Close as done").count() == 0


def test_the_portal_works_without_script_and_by_keyboard(place: Place) -> None:
    """With scripts off: the skip link is first, a search is typed and sent, a phone shows all."""
    page = place.page("olga", java_script_enabled=False, viewport={"width": 390, "height": 844})
    page.goto(f"{place.url}/decisions")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.get_by_label("Decision id").fill("nothing")
    page.keyboard.press("Enter")
    page.get_by_text("No decision fits").wait_for()
    page.goto(f"{place.url}/today")
    _keep(page, "phone-today")
