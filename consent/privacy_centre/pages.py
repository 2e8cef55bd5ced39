"""What a customer sees with the code of their consent: what remains, and what was learned.

    GET  /my[?language=de]   anyone   asks for the code
    POST /my                 holder   the page; the code is in the form, never in an address

Nothing here is about the person but whether they allow learning: the bounds are a branch's, the
same for everybody. The code is kept in no cookie, so a browser that is left open at the door
tells nothing.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse

from consent.acts import Person
from consent.errors import NotFound
from consent.privacy_centre.frame import HERE, customer_page, language_of
from consent.service import TrustService
from policies.budget import BudgetState, sentences
from policies.vocabulary import Purpose
from policies.words import Language


def add_privacy_centre(app: FastAPI, service: TrustService) -> None:
    """Add the customer's pages to the trust service's application."""

    @app.get("/my/privacy.css", include_in_schema=False)
    def style() -> FileResponse:
        return FileResponse(HERE / "static" / "privacy.css", media_type="text/css")

    @app.get("/my", include_in_schema=False)
    def door(request: Request, language: str | None = None) -> HTMLResponse:
        chosen = language_of(request, language)
        return customer_page(request, "door.html", language=chosen, wrong=False)

    @app.post("/my", include_in_schema=False)
    async def remains(request: Request) -> HTMLResponse:
        form = _form(await request.body())
        language, code = language_of(request, form.get("language")), form.get("code", "").strip()
        try:
            shown = await run_in_threadpool(lambda: _shown(service, code, language))
        except NotFound:
            return customer_page(request, "door.html", language=language, status=404, wrong=True)
        return customer_page(request, "remains.html", language=language, code=code, **shown)


def _shown(service: TrustService, code: str, language: Language) -> dict[str, Any]:
    person = service.acts.holder(code)
    heard = service.acknowledgements.budgets(person.company)
    return {
        "learning": _learning(service, person),
        "branches": [_branch(row.node, state, language) for row, state in heard],
    }


def _learning(service: TrustService, person: Person) -> bool:
    """Return whether the person's consent to training stands, and nothing of theirs speaks against.

    Simpler than the gate, and never surer: every condition here is one of the gate's rules too.
    """
    standing, training = service.feed.standing(person.company, person.subject), Purpose.TRAINING
    if standing is None or standing.restricted or standing.erased:
        return False
    if training in standing.withdrawn | standing.objected:
        return False
    since = standing.refused_at(training)
    return any(
        grant.purpose is training
        and grant.granted_at >= since
        and grant.expires_at > standing.as_of
        for grant in standing.grants
    )


def _branch(name: str, state: BudgetState | None, language: Language) -> dict[str, Any]:
    if state is None:
        return {"name": name, "day": None, "words": [], "used": 0}
    used = 1.0 if state.epsilon_limit == 0 else state.epsilon_spent / state.epsilon_limit
    return {
        "name": name,
        "day": state.day,
        "words": sentences(state, language),
        "used": min(100, math.ceil(100 * used)),
    }


def _form(body: bytes) -> dict[str, str]:
    try:
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in given.items()}
