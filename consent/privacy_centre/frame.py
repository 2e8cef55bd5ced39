"""The frame of the customer's pages: layout, style and languages, apart from staff's portal.

Translations are data (`words.toml`): every language has every sentence, or nothing loads.
Templates escape what they show; a page is one column that reads well on a telephone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from audit.portal.frame import csrf_of
from audit.portal.rules_page import preferred
from consent.errors import SettingsInvalid
from policies.words import Language

HERE = Path(__file__).parent
_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
)


def customer_page(
    request: Request, template: str, *, language: Language, status: int = 200, **values: Any
) -> HTMLResponse:
    """Draw a page for a customer in their language."""
    context = {
        "lang": language.value,
        "languages": [each.value for each in Language],
        "say": centre_words()[language],
        "csrf": csrf_of(request.cookies),
    }
    drawn = HTMLResponse(
        _templates.get_template(template).render(context | values), status_code=status
    )
    drawn.headers["content-language"] = language.value
    drawn.headers["vary"] = "Accept-Language"
    return drawn


def language_of(request: Request, chosen: str | None) -> Language:
    """Return the language that was chosen, or the browser's; English where none is known."""
    if chosen in set(Language):
        return Language(chosen)
    return preferred(request.headers.get("accept-language", ""))


@cache
def centre_words() -> Mapping[Language, Mapping[str, str]]:
    """Return the sentences of every page by language."""
    return parse_centre_words((HERE / "words.toml").read_text(encoding="utf-8"))


def parse_centre_words(text: str) -> Mapping[Language, Mapping[str, str]]:
    """Read the sentences.

    Raises:
        SettingsInvalid: A language is missing, or lacks a sentence that another has.
    """
    found: dict[str, dict[str, str]] = tomllib.loads(text)
    if set(found) != set(Language) or len({frozenset(said) for said in found.values()}) != 1:
        raise SettingsInvalid("words.toml: en, de and fr, each with the same sentences")
    if not all(sentence for said in found.values() for sentence in said.values()):
        raise SettingsInvalid("words.toml: a sentence is empty")
    return {Language(language): said for language, said in found.items()}
