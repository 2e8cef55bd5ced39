"""The one frame of every page for customers: layout, style, headers, languages, refusals.

A link is a capability: whoever has its token may do what the page offers, nobody signs in, and
no cookie is set or read. So nothing of the address may leak (no referrer, nothing stored, no
script but the receipt check's own), and a token that opens nothing gets one answer, whatever the
reason. Words are data (`words.toml`): every language has every sentence, or nothing loads.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from audit.errors import TooManyAttempts
from audit.http import address_of, attachment, tell_wait
from audit.portal.frame import cookies_of, csrf_of
from audit.portal.rules_page import preferred
from audit.portal.throttle import Counted
from audit.visible import visible_value
from consent.errors import SettingsInvalid
from consent.service import TrustService
from policies.words import NAMES, Language

HERE = Path(__file__).parent
STYLE, SCRIPT = "/centre/privacy.css", "/centre/check.js"
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
"""Languages that are written from right to left; the style asks only for start and end."""
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
RECEIPT_PARTS = frozenset({"record", "receipt", "log_index", "leaf", "proof", "manage_token"})
PRIVATE = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-robots-tag": "noindex",
}
"""Headers of every answer to a customer; the portal's frame adds the others."""
_DOORS = frozenset({"my", "choices", "consent", "confirm", "asked", "receipt", "check"})
"""How every address of a customer's page begins."""
templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    finalize=visible_value,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def customer_page(
    request: Request,
    template: str,
    *,
    language: Language,
    status: int = 200,
    scripted: bool = False,
    **values: Any,
) -> HTMLResponse:
    """Draw a page for a customer in their language.

    Args:
        request: What it answers.
        template: Its file.
        language: Its language.
        status: HTTP status.
        scripted: Whether our script of the receipt check runs on it; nothing else ever does.
        **values: What the template shows.
    """
    context = frame_of(language) | {
        "csrf": csrf_of(request.cookies, cookies_of(request)),
        "here": request.url.path if request.method == "GET" else None,
    }
    drawn = HTMLResponse(
        templates.get_template(template).render(context | values),
        status_code=status,
        headers=PRIVATE,
    )
    if scripted:
        drawn.headers["content-security-policy"] = f"{_POLICY}; script-src 'self'"
    drawn.headers["content-language"] = language.value
    drawn.headers["vary"] = "Accept-Language"
    return drawn


def frame_of(language: Language) -> dict[str, Any]:
    """Return what the frame needs of a language."""
    return {
        "lang": language.value,
        "dir": "rtl" if language.value in RIGHT_TO_LEFT else "ltr",
        "languages": [(each.value, name) for each, name in NAMES.items()],
        "say": centre_words()[language],
        "style": STYLE,
        "script": SCRIPT,
    }


def opens_nothing(service: TrustService, request: Request, language: Language) -> HTMLResponse:
    """Answer a token that opens nothing: mistyped, over, used or erased are not told apart.

    Wrong tokens are counted by address, and too many get 429 in place of 404. A right one is never
    refused for what its neighbours did: 256 random bits are not found by trying.
    """
    told = partial(customer_page, request, "told.html", language=language, error_id="")
    try:
        count_wrong(service, request)
    except TooManyAttempts as error:
        answer = told(status=429, said="too_often")
        tell_wait(answer, error)
        return answer
    return told(status=404, said="unknown")


def count_wrong(service: TrustService, request: Request) -> None:
    """Count a token that opened nothing, at a page or at the interface.

    Raises:
        TooManyAttempts: Too many before, from the same address.
    """
    counted = Counted(what="links", name=address_of(request), free=30)
    service.link_throttle.begin([counted])


def customer_problem(request: Request, said: Mapping[str, Any]) -> HTMLResponse | None:
    """Draw a problem that no page of ours answered, in the customer's words; staff's pages none."""
    if request.url.path.split("/")[1] not in _DOORS:
        return None
    status = int(said["status"])
    return customer_page(
        request,
        "told.html",
        language=language_of(request, request.query_params.get("language")),
        status=status,
        said="unknown" if status in {404, 405} else "failed",
        error_id=said.get("error_id", ""),
    )


def as_files(taken: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what was given out as the files that people keep, without what is sent elsewhere."""
    kept = [{n: v for n, v in one.items() if n in RECEIPT_PARTS} for one in taken]
    return [json.dumps(one) for one in kept]


def saved(body: bytes | str, name: str, media_type: str) -> Response:
    """Return a file to keep, under a name of ours."""
    return Response(body, media_type=media_type, headers=PRIVATE | attachment(name))


def language_of(request: Request, chosen: str | None) -> Language:
    """Return the language that was chosen, or the browser's; English where none is known."""
    if chosen in set(Language):
        return Language(chosen)
    return preferred(request.headers.get("accept-language", ""))


def form_values(body: bytes) -> dict[str, list[str]]:
    """Return the fields of a form; none of them where it is not one."""
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=40)
    except ValueError:
        return {}


def last(form: Mapping[str, list[str]], name: str) -> str:
    """Return the last value of a field, empty where there is none."""
    return form.get(name, [""])[-1]


def day_of(at: float, language: Language) -> str:
    """Return the day of a Unix second as people write it."""
    return datetime.fromtimestamp(at, tz=UTC).strftime(centre_words()[language]["day_format"])


def minute_of(at: float, language: Language) -> str:
    """Return day and minute of a Unix second, in universal time and saying so."""
    return datetime.fromtimestamp(at, tz=UTC).strftime(centre_words()[language]["minute_format"])


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
