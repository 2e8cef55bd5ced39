"""The page that checks a receipt in the person's own browser, and the same page as one file.

    GET /check[?language=de]   anyone   the page; its one script is `static/check.js`
    GET /check/page            anyone   the page with script and style inside, to keep: it works
                                        without a network, and its policy allows nothing but them

The file that is checked is never sent. The page brings the log's public keys; who does not take
them from here pastes one that they know from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from consent.privacy_centre.frame import (
    HERE,
    SCRIPT,
    centre_words,
    customer_page,
    frame_of,
    language_of,
    saved,
    templates,
)
from consent.service import TrustService
from policies.words import Language


def check_pages(service: TrustService) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get(SCRIPT)
    def script() -> FileResponse:
        return FileResponse(HERE / "static" / "check.js", media_type="text/javascript")

    @router.get("/check")
    def check(request: Request, language: str = "") -> HTMLResponse:
        chosen = language_of(request, language)
        values = _known(service, chosen)
        return customer_page(
            request, "check.html", language=chosen, scripted=True, offline=None, **values
        )

    @router.get("/check/page")
    def page(request: Request, language: str = "") -> Response:
        chosen = language_of(request, language)
        body = _offline(chosen, _known(service, chosen))
        return saved(body, "check-receipt.html", "text/html; charset=utf-8")

    return router


def _known(service: TrustService, language: Language) -> dict[str, Any]:
    """Return what the script needs: the log's keys with the sizes that each signs, and words."""
    terms = service.log.keys.chain.terms
    words = centre_words()[language]
    return {
        "current": str(terms[-1].key),
        "known": {
            "keys": [{"vkey": str(t.key), "first": t.first, "last": t.last} for t in terms],
            "origin": service.log.origin,
            "words": {n: said for n, said in words.items() if n.startswith(("check_", "step_"))},
        },
    }


def _offline(language: Language, values: dict[str, Any]) -> str:
    inside = {
        name: (HERE / "static" / file).read_text(encoding="utf-8")
        for name, file in (("script", "check.js"), ("style", "privacy.css"))
    }
    policy = (
        f"default-src 'none'; script-src {_hash(inside['script'])}; "
        f"style-src {_hash(inside['style'])}; base-uri 'none'; form-action 'none'"
    )
    context = frame_of(language) | {"here": None, "csrf": "", "policy": policy, "offline": inside}
    return templates.get_template("check.html").render(context | values)


def _hash(text: str) -> str:
    """Return the source expression that allows this text and no other (CSP 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
