"""The person's pages: answer by the code of a kiosk or a link, and withdraw by the link kept.

    GET, POST /consent/{token}   whoever has the invitation's token; a GET answers nothing
    GET, POST /choices/{token}   whoever has the manage token; a GET withdraws nothing

Without script and without cookies: the token in the address is all the authority there is.
Giving takes a scan, a tick and a press; withdrawing the kept link and a press.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from audit.portal.frame import csrf_of
from consent.answers import Question, Ticks
from consent.capture import Layer
from consent.consent_page import choices_page, question_page, told_page
from consent.errors import Conflict, NotFound
from consent.privacy_centre.frame import language_of
from consent.service import TrustService
from policies.vocabulary import AgeBand, Purpose
from policies.words import Language


def consent_pages(service: TrustService) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(include_in_schema=False)
    _add_question(router, service)
    _add_choices(router, service)
    return router


def _add_question(router: APIRouter, service: TrustService) -> None:
    @router.get("/consent/{token}")
    def ask(request: Request, token: str, language: str = "") -> HTMLResponse:
        return _asked(service, request, token, language)

    @router.post("/consent/{token}")
    async def answer(request: Request, token: str) -> HTMLResponse:
        form = _form(await request.body())
        return await run_in_threadpool(lambda: _answered(service, request, token, form))


def _add_choices(router: APIRouter, service: TrustService) -> None:
    @router.get("/choices/{token}")
    def choices(request: Request, token: str, language: str = "") -> HTMLResponse:
        return _choices(service, request, token, language)

    @router.post("/choices/{token}")
    async def withdraw(request: Request, token: str) -> HTMLResponse:
        form = _form(await request.body())
        return await run_in_threadpool(lambda: _withdrawn(service, request, token, form))


def _asked(
    service: TrustService, request: Request, token: str, chosen: str, wrong: str = ""
) -> HTMLResponse:
    language = language_of(request, chosen)
    try:
        question = service.answers.question(token)
    except (NotFound, Conflict) as error:
        return _refused(error, language)
    shown, layer = _shown(service, question, language)
    notice = service.officer.notice(question.asked.notice_version)
    drawn = question_page(
        language,
        text=notice.layer(layer)[shown],
        full=notice.texts[shown] if layer is Layer.SHORT else None,
        purposes=sorted(question.asked.purposes),
        of_age=question.invitation.age is AgeBand.ADULT,
        wrong=wrong,
        csrf=csrf_of(request.cookies),
    )
    return HTMLResponse(drawn, status_code=422 if wrong else 200)


def _answered(
    service: TrustService, request: Request, token: str, form: dict[str, list[str]]
) -> HTMLResponse:
    chosen = form.get("language", [""])[-1]
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
    except (NotFound, Conflict) as error:
        return _refused(error, language)
    manage: Any = next((one["manage_token"] for one in taken if "manage_token" in one), None)
    link = None if manage is None else f"/choices/{manage}?language={language}"
    return HTMLResponse(told_page(language, "done", link=link), status_code=201)


def _choices(
    service: TrustService, request: Request, token: str, chosen: str, said: str = ""
) -> HTMLResponse:
    language = language_of(request, chosen)
    try:
        person = service.acts.holder(token)
    except NotFound as error:
        return _refused(error, language)
    standing = service.feed.standing(person.company, person.subject)
    grants = () if standing is None else standing.grants
    granted = sorted({grant.purpose for grant in grants if grant.expires_at > service.now()})
    csrf = csrf_of(request.cookies)
    return HTMLResponse(choices_page(language, granted=granted, said=said, csrf=csrf))


def _withdrawn(
    service: TrustService, request: Request, token: str, form: dict[str, list[str]]
) -> HTMLResponse:
    chosen, wanted = form.get("language", [""])[-1], form.get("purpose", [""])[-1]
    try:
        person = service.acts.holder(token)
        if wanted in set(Purpose):
            service.acts.withdraw(person, Purpose(wanted))
    except (NotFound, Conflict) as error:
        return _refused(error, language_of(request, chosen))
    said = "withdrawn" if wanted in set(Purpose) else ""
    return _choices(service, request, token, chosen, said)


def _shown(service: TrustService, question: Question, language: Language) -> tuple[str, Layer]:
    """Return which language and layer of the notice the page shows; English or any where needed."""
    notice = service.officer.notice(question.asked.notice_version)
    layer = Layer.SHORT if notice.short else Layer.FULL
    texts = notice.layer(layer)
    wanted = [one for one in (language.value, "en") if one in texts]
    return (wanted or sorted(texts))[0], layer


def _refused(error: NotFound | Conflict, language: Language) -> HTMLResponse:
    name, status = ("unknown", 404) if isinstance(error, NotFound) else ("over", 409)
    return HTMLResponse(told_page(language, name), status_code=status)


def _form(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode("utf-8", "replace"), max_num_fields=40)
    except ValueError:
        return {}
