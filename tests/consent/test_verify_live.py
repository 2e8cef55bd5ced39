"""Verify now, watched in a real browser: how far it is, how it ends, and that it may fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit import verify
from audit.errors import EvidenceUnavailable, LogTampered, Tampering
from audit.pki import create_authority, issue_server
from audit.portal import verifying
from consent.api import create_app
from tests.browser import chromium, served
from tests.consent.conftest import World
from tests.consent.test_portal_pages import Portal

# FastAPI silences this by a filter that is not safe among threads, and these serve in one.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.UnsupportedFieldAttributeWarning"
)


class Slow:
    """A verification that goes on when it is told to, and then is the real one, or fails."""

    def __init__(self) -> None:
        self.go_on, self.real = threading.Event(), verify.verify_log
        self.fails_by: Exception | None = None

    def __call__(self, *given: Any, progress: Any, **named: Any) -> Any:
        """Say that 40 of 100 are read, wait, and go on."""
        progress(40, 100)
        assert self.go_on.wait(60)
        if self.fails_by is not None:
            raise self.fails_by
        return self.real(*given, progress=progress, **named)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Return what the service verifies by."""
    made = Slow()
    monkeypatch.setattr(verifying, "verify_log", made)
    yield made
    made.go_on.set()


@pytest.fixture
def page(world: World, tmp_path: Path) -> Iterator[Any]:
    """Return an officer's browser at the page of evidence, in which the log is being verified."""
    pki = tmp_path / "pki"
    create_authority(pki)
    issue_server(pki, "portal")
    portal = Portal(world)
    cookies = [
        {"name": one.name, "value": one.value, "domain": "localhost", "path": "/", "secure": True}
        for one in portal.http.cookies.jar
    ]
    with served(create_app(world.service), pki=pki) as url, chromium() as opened:
        context = opened.new_context(ignore_https_errors=True, locale="en")
        context.add_cookies(cookies)
        shown = context.new_page()
        shown.set_default_timeout(30_000)
        shown.goto(f"{url}/evidence")
        shown.get_by_role("button", name="Verify now").click()
        shown.get_by_text("40 of 100 entries").wait_for()
        shown.evaluate("window.stayed = true")
        yield shown
        context.close()


def _ended(world: World, slow: Slow) -> None:
    slow.go_on.set()
    world.service.evidence.verifier.close()


def test_progress_becomes_an_end_without_loading_the_page_again(
    world: World, slow: Slow, page: Any
) -> None:
    """How far it is, then that it holds, said politely; the button can be pressed again."""
    assert page.get_by_role("button", name="Verifying").is_disabled()
    assert page.get_by_role("progressbar").is_visible()
    _ended(world, slow)
    page.get_by_text("It holds", exact=True).wait_for()
    assert page.evaluate("window.stayed") is True
    assert page.locator("#verification").get_attribute("aria-live") == "polite"
    assert page.get_by_role("button", name="Verify now").is_enabled()
    assert page.get_by_role("progressbar").count() == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LogTampered(Tampering.EDITED, "entry 5 was changed"), "It does not hold"),
        (EvidenceUnavailable("the file cannot be read"), "It could not be verified"),
        (OSError("/secret/place"), "OSError while reading"),
    ],
    ids=["tampered", "unreadable", "broken"],
)
def test_a_failure_ends_it_and_is_told_apart_from_a_forgery(
    world: World, slow: Slow, page: Any, error: Any, said: str
) -> None:
    """What could not be read is no word against the log, and nothing goes on for ever."""
    slow.fails_by = error
    _ended(world, slow)
    page.get_by_text(said).wait_for()
    assert page.get_by_role("button", name="Verify now").is_enabled()
    assert ("does not hold" in page.inner_text("main")) is isinstance(error, LogTampered)
    assert "/secret/place" not in page.inner_text("main")


@pytest.mark.usefixtures("slow")
def test_a_service_that_does_not_answer_is_told(page: Any) -> None:
    """After five questions without an answer the page says so, and where to look again."""
    page.route("**/evidence", lambda route: route.abort())
    page.get_by_text("The service does not answer").wait_for()
    assert page.get_by_role("link", name="look again").is_visible()


def test_it_works_without_a_script(world: World, slow: Slow, page: Any) -> None:
    """The page asks to be loaded again by itself, and then has the end."""
    without = page.context.browser.new_context(
        ignore_https_errors=True,
        java_script_enabled=False,
        storage_state=page.context.storage_state(),
    )
    shown = without.new_page()
    shown.goto(page.url)
    assert shown.get_by_role("progressbar").is_visible()
    _ended(world, slow)
    shown.get_by_text("It holds", exact=True).wait_for()
    without.close()
