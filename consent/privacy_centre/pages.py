"""A customer's own page, from the link or code of their consent.

    GET  /my[?language=de]    anyone   asks for the code
    POST /my                  holder   goes on to the page of the code
    GET  /my/{token}          holder   what is in force, each with a button that stops it
    POST /my/{token}          holder   stop=PURPOSE or all, or hold=lift; one step, no question back
    GET  /my/{token}/rules    holder   every rule in the customer's words, with its law
    GET  /my/{token}/learned  holder   what was learned, and what remains of each branch's limit
    *    /choices/{token}     holder   the same page under its earlier address

The address holds the token and no pseudonym. A GET changes nothing. A link opens while a consent
lasts and a year after; stopping is never refused in that time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from consent.acts import Person
from consent.errors import Conflict, NotFound
from consent.privacy_centre.frame import (
    HERE,
    STYLE,
    as_files,
    centre_words,
    customer_page,
    day_of,
    form_values,
    language_of,
    last,
    opens_nothing,
)
from consent.records import DAY_S, Granted
from consent.service import TrustService
from policies.budget import BudgetState, sentences
from policies.standing import Standing
from policies.vocabulary import Purpose
from policies.words import Language, Reader, rule_pages

LINK_DAYS = 365
"""How long a link opens after the last consent is over."""


def privacy_centre(service: TrustService) -> APIRouter:
    """Return the routes of the customer's own page."""
    router = APIRouter(include_in_schema=False)
    _add_door(router)
    _add_home(router, service)

    @router.get("/my/{token}/rules")
    def rules(request: Request, token: str, language: str = "") -> HTMLResponse:
        chosen = language_of(request, language)
        try:
            holder(service, token)
        except NotFound:
            return opens_nothing(service, request, chosen)
        found = [
            {"words": one["words"][Reader.CUSTOMER][chosen], "source": one["source"]}
            for one in rule_pages()
        ]
        return customer_page(
            request, "my_rules.html", language=chosen, base=f"/my/{token}", rules=found
        )

    @router.get("/my/{token}/learned")
    def learned(request: Request, token: str, language: str = "") -> HTMLResponse:
        chosen = language_of(request, language)
        try:
            person = holder(service, token)
        except NotFound:
            return opens_nothing(service, request, chosen)
        return customer_page(
            request,
            "learned.html",
            language=chosen,
            base=f"/my/{token}",
            learning=_learning(service, person),
            branches=[
                _branch(row.node, state, chosen)
                for row, state in service.acknowledgements.budgets(person.company)
            ],
        )

    return router


def _add_door(router: APIRouter) -> None:
    @router.get(STYLE)
    def style() -> FileResponse:
        return FileResponse(HERE / "static" / "privacy.css", media_type="text/css")

    @router.get("/my")
    def door(request: Request, language: str = "") -> HTMLResponse:
        return customer_page(request, "door.html", language=language_of(request, language))

    @router.post("/my")
    async def through(request: Request) -> Response:
        form = form_values(await request.body())
        code, chosen = last(form, "code").strip(), language_of(request, last(form, "language"))
        return onward(f"/my/{quote(code or '-', safe='')}?language={chosen}")


def _add_home(router: APIRouter, service: TrustService) -> None:
    @router.get("/choices/{token}")
    @router.post("/choices/{token}")
    def earlier(request: Request, token: str) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        return onward(f"/my/{quote(token, safe='')}{query}", status=308)

    @router.get("/my/{token}")
    def home(request: Request, token: str, language: str = "") -> HTMLResponse:
        chosen = language_of(request, language)
        try:
            person = holder(service, token)
        except NotFound:
            return opens_nothing(service, request, chosen)
        return _home(service, request, person, token, chosen)

    @router.post("/my/{token}")
    async def change(request: Request, token: str) -> HTMLResponse:
        form = form_values(await request.body())
        return await run_in_threadpool(lambda: _changed(service, request, token, form))


def onward(path: str, *, status: int = 303) -> RedirectResponse:
    """Send the browser on to a page of ours."""
    return RedirectResponse(path, status_code=status, headers={"referrer-policy": "no-referrer"})


def holder(service: TrustService, token: str) -> Person:
    """Return whose link it is, while it opens.

    Raises:
        NotFound: Nobody's, its time is over, or its person is erased.
    """
    person = service.acts.holder(token)
    records = service.ledger.records_of([person.subject]).get(person.subject, [])
    ends = [r.at + r.act.valid_days * DAY_S for r in records if isinstance(r.act, Granted)]
    if service.now() >= max(ends, default=0) + LINK_DAYS * DAY_S:
        raise NotFound("this link is over")
    return person


def _changed(
    service: TrustService, request: Request, token: str, form: Mapping[str, list[str]]
) -> HTMLResponse:
    chosen, wanted = language_of(request, last(form, "language")), last(form, "stop")
    receipts: list[dict[str, Any]] = []
    said = ""
    try:
        person = holder(service, token)
        if last(form, "hold") == "lift":
            receipts, said = [service.acts.restrict(person, restricted=False)], "resumed"
        elif wanted == "all" or wanted in set(Purpose):
            granted = {grant.purpose for grant in in_force(service, person)}
            named = granted if wanted == "all" else {Purpose(wanted)}
            receipts = [service.acts.withdraw(person, purpose) for purpose in sorted(named)]
            said = "withdrawn"
    except (NotFound, Conflict):
        return opens_nothing(service, request, chosen)
    return _home(service, request, person, token, chosen, said=said, receipts=receipts)


def _home(
    service: TrustService,
    request: Request,
    person: Person,
    token: str,
    language: Language,
    *,
    said: str = "",
    receipts: Sequence[Mapping[str, Any]] = (),
) -> HTMLResponse:
    standing = standing_of(service, person)
    party = service.settings.parties.get(person.company)
    ends: dict[Purpose, int] = {}
    for grant in in_force(service, person):
        ends[grant.purpose] = max(ends.get(grant.purpose, 0), grant.expires_at)
    return customer_page(
        request,
        "home.html",
        language=language,
        base=f"/my/{token}",
        company=person.company if party is None else party.name,
        party=party,
        said=said,
        receipts=as_files(receipts),
        granted=[(p.value, day_of(end, language)) for p, end in sorted(ends.items())],
        objected=sorted(standing.objected),
        paused=standing.restricted,
        by_guardian=_by_guardian(service, person),
    )


def standing_of(service: TrustService, person: Person) -> Standing:
    """Return what a person chose; nothing where nothing is known."""
    found = service.feed.standing(person.company, person.subject)
    return found or Standing(subject=person.subject, as_of=int(service.now()))


def in_force(service: TrustService, person: Person) -> list[Any]:
    """Return the consents of a person that have not run out."""
    standing = standing_of(service, person)
    return [grant for grant in standing.grants if grant.expires_at > service.now()]


def _by_guardian(service: TrustService, person: Person) -> bool:
    records = service.ledger.records_of([person.subject]).get(person.subject, [])
    return any(isinstance(r.act, Granted) and r.act.guardian is not None for r in records)


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


def _day(day: str, language: Language) -> str:
    """Return a day as people write it; what a node said that is none stays as it is."""
    try:
        at = date.fromisoformat(day)
    except ValueError:
        return day
    return at.strftime(centre_words()[language]["day_format"])


def _branch(name: str, state: BudgetState | None, language: Language) -> dict[str, Any]:
    if state is None:
        return {"name": name, "day": None, "words": [], "used": 0}
    used = 1.0 if state.epsilon_limit == 0 else state.epsilon_spent / state.epsilon_limit
    return {
        "name": name,
        "day": _day(state.day, language),
        "words": sentences(state, language),
        "used": min(100, math.ceil(100 * used)),
    }
