"""Claims about the page of rules: whole, in the reader's language, and open to anybody."""

from __future__ import annotations

from html import unescape

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from audit.portal.rules_page import preferred, rules_page
from policies.words import Language, Reader, rule_pages


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
