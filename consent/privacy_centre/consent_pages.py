"""The pages on which a person answers and confirms, and takes their receipt along.

    GET, POST /consent/{token}   whoever has the invitation's token; a GET answers nothing
    GET, POST /confirm/{token}   whoever has the token that was sent elsewhere; a GET confirms
                                 nothing, so that a mail program's look at the link is no yes
    POST /receipt                anyone   gives a receipt of ours back as a file

Without script and without cookies: the token in the address is all the authority there is.
Giving takes a scan, a tick and a press; nothing is ticked beforehand, and yes and no are buttons
of one kind. What was answered is over: its link says no more than a wrong one.

A receipt exists in the answer alone, for its salt is not kept: so the page holds it in a form,
and `/receipt`, which takes only what verifies by our own log, hands it out as a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from consent.answers import Question, Ticks
from consent.capture import Layer
from consent.errors import Conflict, NotFound, ReceiptInvalid
from consent.privacy_centre.frame import (
    as_files,
    customer_page,
    form_values,
    language_of,
    last,
    opens_nothing,
    saved,
)
from consent.service import TrustService
from consent.taken import verify_taken
from policies.vocabulary import AgeBand, Purpose
from policies.words import Language


def consent_pages(service: TrustService) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False)
    _add_question(router, service)
    _add_confirmation(router, service)

    @router.post("/receipt")
    async def receipt(request: Request) -> Response:
        form = form_values(await request.body())
        return await run_in_threadpool(lambda: _receipt(service, request, form))

    return router


def _add_question(router: APIRouter, service: TrustService) -> None:
    @router.get("/consent/{token}")
    def question(request: Request, token: str, language: str = "") -> HTMLResponse:
        return _asked(service, request, token, language)

    @router.post("/consent/{token}")
    async def answer(request: Request, token: str) -> HTMLResponse:
        form = form_values(await request.body())
        return await run_in_threadpool(lambda: _answered(service, request, token, form))


def _add_confirmation(router: APIRouter, service: TrustService) -> None:
    @router.get("/confirm/{token}")
    def unconfirmed(request: Request, token: str, language: str = "") -> HTMLResponse:
        chosen = language_of(request, language)
        try:
            waiting = service.answers.unconfirmed(token)
        except (NotFound, Conflict):
            return opens_nothing(service, request, chosen)
        purposes = sorted(getattr(waiting.act, "purposes", ()))
        return customer_page(request, "confirm.html", language=chosen, purposes=purposes)

    @router.post("/confirm/{token}")
    async def confirm(request: Request, token: str) -> HTMLResponse:
        chosen = language_of(request, last(form_values(await request.body()), "language"))
        try:
            taken = await run_in_threadpool(service.answers.confirm, token)
        except (NotFound, Conflict):
            return await run_in_threadpool(opens_nothing, service, request, chosen)
        return _done(request, chosen, [taken], "confirmed")


def _asked(
    service: TrustService, request: Request, token: str, chosen: str, wrong: str = ""
) -> HTMLResponse:
    language = language_of(request, chosen)
    try:
        question = service.answers.question(token)
    except (NotFound, Conflict):
        return opens_nothing(service, request, language)
    shown, layer = _shown(service, question, language)
    notice = service.officer.notice(question.asked.notice_version)
    return customer_page(
        request,
        "question.html",
        language=language,
        status=422 if wrong else 200,
        action=request.url.path,
        text=notice.layer(layer)[shown],
        text_language=shown,
        full=notice.texts[shown] if layer is Layer.SHORT else None,
        purposes=sorted(question.asked.purposes),
        of_age=question.invitation.age is AgeBand.ADULT,
        wrong=wrong,
    )


def _answered(
    service: TrustService, request: Request, token: str, form: Mapping[str, list[str]]
) -> HTMLResponse:
    chosen = last(form, "language")
    language = language_of(request, chosen)
    yes, adult = form.get("answer") == ["yes"], form.get("adult") == ["yes"]
    given = set(form.get("purpose", [])) if yes else set()
    ticked = frozenset(purpose for purpose in Purpose if purpose.value in given)
    try:
        question = service.answers.question(token)
        if (not yes and form.get("answer") != ["no"]) or (yes and not ticked):
            return _asked(service, request, token, chosen, "none_ticked")
        if yes and not adult and question.invitation.age is not AgeBand.ADULT:
            return _asked(service, request, token, chosen, "age_missing")
        shown, layer = _shown(service, question, language)
        ticks = Ticks(purposes=ticked, language=shown, layer=layer, adult=adult)
        taken = service.answers.answer(token, ticks)
    except (NotFound, Conflict):
        return opens_nothing(service, request, language)
    waits = yes and question.invitation.confirm_hours is not None
    return _done(request, language, taken, "awaits" if waits else "done")


def _done(
    request: Request, language: Language, taken: list[dict[str, Any]], said: str
) -> HTMLResponse:
    manage: Any = next((one["manage_token"] for one in taken if "manage_token" in one), None)
    link = None if manage is None else f"/my/{manage}?language={language}"
    return customer_page(
        request,
        "done.html",
        language=language,
        status=201,
        said=said,
        link=link,
        receipts=as_files(taken),
    )


def _receipt(service: TrustService, request: Request, form: Mapping[str, list[str]]) -> Response:
    given, form_of = last(form, "receipt"), last(form, "as")
    try:
        verify_taken(given.encode("utf-8", "replace"), service.log.keys.chain)
    except ReceiptInvalid:
        return opens_nothing(service, request, language_of(request, last(form, "language")))
    taken = json.loads(given)
    match form_of:
        case "proof":
            return saved(taken["proof"], "receipt.tlog-proof", "text/plain; charset=utf-8")
        case "jsonld":
            body = json.dumps(taken["receipt"], indent=1)
            return saved(body, "receipt.jsonld", "application/ld+json")
        case _:
            return saved(given, "receipt.json", "application/json")


def _shown(service: TrustService, question: Question, language: Language) -> tuple[str, Layer]:
    """Return which language and layer of the notice the page shows; English or any where needed."""
    notice = service.officer.notice(question.asked.notice_version)
    layer = Layer.SHORT if notice.short else Layer.FULL
    texts = notice.layer(layer)
    wanted = [one for one in (language.value, "en") if one in texts]
    return (wanted or sorted(texts))[0], layer
