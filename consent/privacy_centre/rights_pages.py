"""A customer's rights, each in one page and one press, over the rights desk that staff use too.

    GET  /my/{token}/rights               holder   all of them
    GET  /my/{token}/rights/{right}       holder   one in plain words, and its button
    POST /my/{token}/rights/{right}       holder   asks, and goes on to the answer's page
    GET  /my/{token}/used                 holder   what was used: asks the branches by a press
    GET  /my/{token}/asked                holder   what was asked and is open
    GET  /my/{token}/asked/{case}[/file]  holder   how far it is, and the answer
    GET  /asked/{request}[/file]          holder   the same by the request's own token, which lives
                                                   on when an erasure has ended the consent's

Who asks again for what is open already is shown the open request. Showing a whole answer counts as
its delivery, like fetching it by `/v1/requests/mine/package`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from consent.acts import Person
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.privacy_centre.frame import (
    centre_words,
    customer_page,
    day_of,
    form_values,
    language_of,
    last,
    opens_nothing,
    saved,
)
from consent.privacy_centre.pages import holder, in_force, onward
from consent.privacy_centre.used import copies_of, learned_from, lines_of
from consent.rights import Case, EvidenceKind, Identity, Right, person_answered
from consent.rights_desk import DECISION, PERSON
from consent.service import TrustService
from policies.vocabulary import Purpose
from policies.words import Language

LINES = 20
"""How many decisions a page shows."""
_MOST_STATEMENT = 4000
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_MOST_WORD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request as its person sees it: by which address, and how far it is."""

    case: Case
    base: str
    home: str | None


def rights_pages(service: TrustService) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False)
    _add_rights(router, service)
    _add_asked(router, service)
    _add_answers(router, service)
    return router


def _add_rights(router: APIRouter, service: TrustService) -> None:
    @router.get("/my/{token}/rights")
    def rights(request: Request, token: str, language: str = "") -> HTMLResponse:
        return _drawn(service, request, token, language, "rights.html", rights=list(Right))

    @router.get("/my/{token}/rights/{right}")
    def one(request: Request, token: str, right: str, language: str = "") -> HTMLResponse:
        if right not in set(Right):
            return opens_nothing(service, request, language_of(request, language))
        return _right(service, request, token, Right(right), language)

    @router.post("/my/{token}/rights/{right}")
    async def asked(request: Request, token: str, right: str) -> Response:
        form = form_values(await request.body())
        if right not in set(Right):
            return opens_nothing(service, request, language_of(request, last(form, "language")))
        return await run_in_threadpool(lambda: _ask(service, request, token, Right(right), form))


def _add_asked(router: APIRouter, service: TrustService) -> None:
    @router.get("/my/{token}/used")
    def used(request: Request, token: str, language: str = "") -> HTMLResponse:
        return _drawn(service, request, token, language, "used.html")

    @router.get("/my/{token}/asked")
    def asked(request: Request, token: str, language: str = "") -> HTMLResponse:
        chosen = language_of(request, language)

        def cases(person: Person) -> dict[str, Any]:
            return {
                "cases": [
                    (case.case, case.right.value, day_of(case.received_at, chosen))
                    for case in service.rights.open_of(person.subject)
                ]
            }

        return _drawn(service, request, token, language, "asked.html", also=cases)


def _add_answers(router: APIRouter, service: TrustService) -> None:
    @router.get("/my/{token}/asked/{case}")
    def mine(
        request: Request, token: str, case: str, language: str = "", page: int = 1
    ) -> Response:
        return _answer(service, request, language, lambda: _mine(service, token, case), page)

    @router.get("/my/{token}/asked/{case}/file")
    def my_file(request: Request, token: str, case: str) -> Response:
        return _file(service, request, lambda: _mine(service, token, case))

    @router.get("/asked/{token}")
    def followed(request: Request, token: str, language: str = "", page: int = 1) -> Response:
        return _answer(service, request, language, lambda: _followed(service, token), page)

    @router.get("/asked/{token}/file")
    def followed_file(request: Request, token: str) -> Response:
        return _file(service, request, lambda: _followed(service, token))


def _mine(service: TrustService, token: str, case: str) -> Answer:
    person, found = holder(service, token), service.rights.case(case)
    if found.subject != person.subject:
        raise NotFound("no such request")
    return Answer(case=found, base=f"/my/{token}/asked/{case}", home=f"/my/{token}")


def _followed(service: TrustService, token: str) -> Answer:
    found = service.rights.by_token(token)
    return Answer(case=found, base=f"/asked/{token}", home=None)


def _drawn(
    service: TrustService,
    request: Request,
    token: str,
    language: str,
    template: str,
    *,
    also: Callable[[Person], dict[str, Any]] | None = None,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    chosen = language_of(request, language)
    try:
        person = holder(service, token)
    except NotFound:
        return opens_nothing(service, request, chosen)
    values |= {} if also is None else also(person)
    return customer_page(
        request, template, language=chosen, status=status, base=f"/my/{token}", **values
    )


def _right(
    service: TrustService,
    request: Request,
    token: str,
    right: Right,
    language: str,
    *,
    wrong: str = "",
    about: Mapping[str, str] | None = None,
) -> HTMLResponse:
    def purposes(person: Person) -> dict[str, Any]:
        return {"purposes": sorted({grant.purpose for grant in in_force(service, person)})}

    given = dict(request.query_params) if about is None else about
    return _drawn(
        service,
        request,
        token,
        language,
        "right.html",
        also=purposes,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK,
        right=right.value,
        wrong=wrong,
        decision=_word(given.get("decision", "")),
    )


def _ask(
    service: TrustService,
    request: Request,
    token: str,
    right: Right,
    form: Mapping[str, list[str]],
) -> Response:
    language = language_of(request, last(form, "language"))
    about = _about(right, form)
    given = {name: last(form, name) for name in form}
    if right is Right.ERASURE and last(form, "sure") != "yes":
        return _right(service, request, token, right, language, wrong="sure_missing", about=given)
    try:
        person = holder(service, token)
        opened = _open_already(service, person, right, about) or service.rights.open(
            right,
            person,
            by=PERSON,
            about=about,
            jurisdiction="EU",
            method=Identity.MANAGE_TOKEN,
            statement=last(form, "statement")[:_MOST_STATEMENT] or None,
        )
    except NotFound:
        return opens_nothing(service, request, language)
    except (RequestInvalid, Conflict):
        return _right(service, request, token, right, language, wrong="pick_one", about=given)
    lives_on = right is Right.ERASURE and "request_token" in opened
    where = (
        f"/asked/{opened['request_token']}"
        if lives_on
        else f"/my/{token}/asked/{opened['request']}"
    )
    return onward(f"{where}?language={language}")


def _open_already(
    service: TrustService, person: Person, right: Right, about: Mapping[str, Any]
) -> dict[str, Any] | None:
    for case in service.rights.open_of(person.subject):
        if case.right is right and dict(case.about) == dict(about):
            fresh = right in {Right.ACCESS, Right.PORTABILITY} and not _missing(service, case)
            return None if fresh else {"request": case.case}
    return None


def _about(right: Right, form: Mapping[str, list[str]]) -> dict[str, Any]:
    match right:
        case Right.OBJECTION:
            named = [purpose for purpose in form.get("purpose", []) if purpose in set(Purpose)]
            return {"purposes": sorted(set(named))}
        case Right.RECTIFICATION:
            label = _word(last(form, "label").strip().lower())
            return {"turn": _word(last(form, "turn")), "label": label}
        case Right.REVIEW:
            return {"decision": _word(last(form, "decision"))}
        case _:
            return {}


def _word(text: str) -> str:
    return text if len(text) <= _MOST_WORD and set(text) <= _WORD else ""


def _missing(service: TrustService, case: Case) -> list[str]:
    lacking = service.rights.state(case)["missing"]
    return [one for one in lacking if EvidenceKind.DELIVERED not in one]


def _answer(
    service: TrustService,
    request: Request,
    language: str,
    find: Callable[[], Answer],
    page: int,
) -> Response:
    chosen = language_of(request, language)
    try:
        answer = find()
    except NotFound:
        return opens_nothing(service, request, chosen)
    case, state = answer.case, service.rights.state(answer.case)
    by = _whole(service, case)
    return customer_page(
        request,
        "answer.html",
        language=chosen,
        base=answer.base,
        home=answer.home,
        right=case.right.value,
        state=_state(case, state, whole=by is not None),
        done=len(case.answered()),
        all=len(case.nodes),
        asked_on=day_of(case.received_at, chosen),
        due=date.fromisoformat(state["due"]).strftime(centre_words()[chosen]["day_format"]),
        closed=case.outcome is not None,
        decided=(state["decided"] or {}).get("outcome"),
        reasons=(by or {}).get(DECISION, {}).get("reasons", ""),
        whole=by is not None,
        **_shown(by or {}, chosen, page),
    )


def _shown(by: Mapping[str, Any], language: Language, page: int) -> dict[str, Any]:
    lines, at = lines_of(by, language), max(1, page)
    return {
        "lines": lines[(at - 1) * LINES : at * LINES],
        "copies": copies_of(by, language) if at == 1 else [],
        "models": learned_from(by, language) if at == 1 else [],
        "page": at,
        "has_older": len(lines) > at * LINES,
    }


def _state(case: Case, state: Mapping[str, Any], *, whole: bool) -> str:
    if case.outcome is not None:
        return "state_closed"
    if "held" in state:
        return "state_held"
    if whole:
        return "state_ready"
    answered = len(case.answered()) == len(case.nodes)
    return "state_person" if case.right is Right.REVIEW and answered else "state_waiting"


def _whole(service: TrustService, case: Case) -> dict[str, Any] | None:
    """Return the whole answer by source, noting that it was delivered; None while it is not."""
    try:
        package = service.rights.package(case)
    except Conflict:
        return None
    if not person_answered(case):
        service.rights.deliver(case.case, by=PERSON, way="fetched")
    return dict(package["by"])


def _file(service: TrustService, request: Request, find: Callable[[], Answer]) -> Response:
    try:
        answer = find()
        body = json.dumps(service.rights.package(answer.case), indent=1)
    except (NotFound, Conflict):
        return opens_nothing(service, request, language_of(request, None))
    if not person_answered(answer.case):
        service.rights.deliver(answer.case.case, by=PERSON, way="fetched")
    return saved(body, f"{answer.case.right.value}.json", "application/json")
