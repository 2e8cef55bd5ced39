"""The picture of a page's address, for a kiosk's screen, a poster or a letter.

    GET /consent/{token}/code.svg?language=   whoever has the invitation's token
    GET /my/{token}/code.svg?language=        whoever has the person's own link

The first opens the page and answers nothing; a token that was answered, or is over, has none. The
second is a capability like the link itself (ADR 33): it is drawn for nobody who does not have the
link already, stands in the pages that the link opens and in the answer that gives it out, and in
nothing that is kept, a receipt's file included, which people hand on to be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

from audit.portal.frame import origin_of
from consent.code_picture import code_svg
from consent.errors import Conflict, LinkUnknown, NotFound
from consent.privacy_centre.frame import PRIVATE, centre_words, language_of, opens_nothing
from consent.privacy_centre.pages import holder
from consent.service import TrustService
from policies.words import Language

WORDS: Mapping[Language, tuple[str, str]] = MappingProxyType(
    {
        Language.ENGLISH: (
            "Code to your choice",
            (
                "Scan it with your telephone: it opens the page on which you say yes or no. "
                "Nothing is agreed by scanning."
            ),
        ),
        Language.GERMAN: (
            "Code zu Ihrer Entscheidung",
            (
                "Mit dem Telefon einscannen: Es öffnet die Seite, auf der Sie Ja oder Nein sagen. "
                "Mit dem Scannen ist nichts zugestimmt."
            ),
        ),
        Language.FRENCH: (
            "Code vers votre choix",
            (
                "Scannez-le avec votre téléphone : il ouvre la page où vous dites oui ou non. "
                "Scanner n'est pas accepter."
            ),
        ),
    }
)
"""Title and description of the picture, for whoever cannot see it."""


def code_router(service: TrustService) -> APIRouter:
    """Return the route."""
    router = APIRouter(include_in_schema=False)

    @router.get("/consent/{token}/code.svg")
    def code(request: Request, token: str, language: str = "") -> Response:
        _check_open(service, token)
        chosen = language_of(request, language)
        title, description = WORDS[chosen]
        address = f"{_base(service, request)}/consent/{token}"
        drawn = code_svg(address, title=title, description=description)
        headers = {"Cache-Control": "no-store"}
        return Response(drawn, media_type="image/svg+xml", headers=headers)

    @router.get("/my/{token}/code.svg")
    def own(request: Request, token: str, language: str = "") -> Response:
        chosen = language_of(request, language)
        try:
            holder(service, token)
        except NotFound:
            return opens_nothing(service, request, chosen)
        said = centre_words()[chosen]
        address = f"{_base(service, request)}/my/{token}"
        drawn = code_svg(address, title=said["code_title"], description=said["take_words"])
        return Response(drawn, media_type="image/svg+xml", headers=PRIVATE)

    return router


def _base(service: TrustService, request: Request) -> str:
    return (service.settings.public_url or origin_of(request)).rstrip("/")


def _check_open(service: TrustService, token: str) -> None:
    """Return if the token's page may still be answered; what it is otherwise is not told.

    Raises:
        LinkUnknown: Nobody's token, or one that was answered or is over.
    """
    try:
        service.answers.question(token)
    except (Conflict, NotFound) as error:
        raise LinkUnknown("this link has no picture: it is nobody's, or it is over") from error
