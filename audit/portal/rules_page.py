"""The rules as a page that anybody may read: what decides, by which law, in their language.

    GET /rules[?language=de]   anyone   every rule and duty, from the same catalogue that decides

Without `language` it is the browser's (RFC 9110, 12.5.4), English where none of its is known.
Staff who are signed in read it in their own frame, with the menu that leads back.
"""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from audit.portal.frame import page
from audit.staff import Staff, staff_if_any
from policies.words import NAMES, Language, Reader, rule_pages

_TITLES = {
    Language.ENGLISH: ("The rules", "Rule", "What may be allowed", "since"),
    Language.GERMAN: ("Die Regeln", "Regel", "Was erlaubt sein kann", "seit"),
    Language.FRENCH: ("Les règles", "Règle", "Ce qui peut être permis", "depuis"),
}


def rules_page() -> APIRouter:
    """Return the route of the page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/rules")
    def rules(
        request: Request,
        _: Annotated[Staff | None, Depends(staff_if_any)],
        language: Language | None = None,
    ) -> HTMLResponse:
        chosen = language or preferred(request.headers.get("accept-language", ""))
        title, rule, permissions, since = _TITLES[chosen]
        numbered = groupby(rule_pages(), key=lambda one: one["number"])
        sections = [
            (f"{rule} {number}" if number else permissions, [_row(one, chosen) for one in group])
            for number, group in numbered
        ]
        drawn = page(
            request,
            "rules.html",
            lang=chosen.value,
            title=title,
            since=since,
            languages=[(each.value, NAMES[each]) for each in Language],
            sections=sections,
        )
        drawn.headers["content-language"] = chosen.value
        drawn.headers["vary"] = "Accept-Language, Cookie"
        return drawn

    return router


def preferred(header: str) -> Language:
    """Return the best known language of an `Accept-Language` header; English where none is."""
    wanted: list[tuple[float, Language]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        name = tag.partition("-")[0].lower()
        if name in set(Language):
            wanted.append((_number(weight), Language(name)))
    best = max(wanted, key=lambda one: one[0], default=(0.0, Language.ENGLISH))  # first of equals
    return best[1] if best[0] > 0 else Language.ENGLISH


def _number(weight: str) -> float:
    try:
        return float(weight) if weight else 1.0
    except ValueError:
        return 0.0


def _row(one: dict[str, Any], language: Language) -> dict[str, Any]:
    words = one["words"]
    return {
        "rule": one["rule"],
        "kind": one["kind"],
        "source": one["source"],
        "applies_from": one["applies_from"],
        "customer": words[Reader.CUSTOMER][language],
        "officer": words[Reader.OFFICER][language],
    }
