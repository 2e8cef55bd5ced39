"""Claims about the page of rules: whole, in the reader's language, and open to anybody."""

from __future__ import annotations

from html import unescape

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from audit.portal.rules_page import preferred, rules_page
from policies.words import Language, Reader, rule_pages
from tests.audit.portal.conftest import Desk


@pytest.fixture
def browser() -> TestClient:
    """Return a visitor of a service that has nothing but this page."""
    app = FastAPI(title="Trust")
    app.include_router(rules_page())
    return TestClient(app)


@pytest.mark.parametrize("language", Language)
def test_page_holds_every_rule_in_the_language_asked_for(
    browser: TestClient, language: Language
) -> None:
    """Each rule and duty stands there once, with words for both readers, source and date."""
    answer = browser.get("/rules", params={"language": language.value})
    shown = unescape(answer.text)
    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in shown
    for one in rule_pages():
        assert shown.count(f'<article id="{one["rule"]}">') == 1
        assert all(one["words"][reader][language] in shown for reader in Reader)
        assert one["source"] in shown
        assert one["applies_from"] in shown


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", Language.ENGLISH),
        ("de", Language.GERMAN),
        ("fr-CA, de;q=0.9", Language.FRENCH),
        ("it, de;q=0.2, fr;q=0.4", Language.FRENCH),
        ("it, pt", Language.ENGLISH),
        ("de;q=0, en;q=0.1", Language.ENGLISH),
        ("de;q=x, fr;q=0.1", Language.FRENCH),
        ("," * 10_000, Language.ENGLISH),
    ],
)
def test_language_is_the_best_that_the_browser_knows(header: str, language: Language) -> None:
    """Weights decide, regions do not, and nonsense is English."""
    assert preferred(header) is language


def test_unknown_language_is_refused(browser: TestClient) -> None:
    """A language that nobody wrote is a clear no, never a page half in English."""
    assert browser.get("/rules", params={"language": "tlh"}).status_code == 422


def test_staff_read_the_rules_in_their_frame(desk: Desk) -> None:
    """Who is signed in keeps name and account; a visitor, an old session and a token get neither.

    In French the frame, whose words are English, says so to whoever has the page read out.
    """
    desk.app.include_router(rules_page())
    browser = desk.sign_in("ada")
    mine = browser.get("/rules", params={"language": "fr"})
    assert ">ada</span>" in mine.text
    assert '<header class="top" lang="en">' in mine.text
    assert "Cookie" in mine.headers["vary"]
    assert ">ada</span>" not in desk.browser().get("/rules").text
    wrong = desk.browser().get("/rules", headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 200
    desk.now += 40 * 86_400
    old = browser.get("/rules")
    assert old.status_code == 200
    assert ">ada</span>" not in old.text


def test_a_browser_finds_an_icon_of_ours(desk: Desk) -> None:
    """Pages name it, and what is no page has it under the address that browsers try."""
    browser = desk.browser()
    assert '<link rel="icon" href="/favicon.svg"' in browser.get("/sign-in").text
    for path in ("/favicon.svg", "/favicon.ico"):
        answer = browser.get(path)
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.text.startswith("<svg")
