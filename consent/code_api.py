"""The picture of a page's address, for a kiosk's screen, a poster or a letter.

    GET /consent/{token}/code.svg?language=   whoever has the invitation's token

It opens the page and answers nothing. A token that was answered, or is over, has no picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

from consent.code_picture import code_svg
from consent.errors import Conflict, NotFound
from consent.privacy_centre.frame import language_of
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
        base = service.settings.public_url or str(request.base_url)
        title, description = WORDS[chosen]
        address = f"{base.rstrip('/')}/consent/{token}"
        drawn = code_svg(address, title=title, description=description)
        headers = {"Cache-Control": "no-store"}
        return Response(drawn, media_type="image/svg+xml", headers=headers)

    return router


def _check_open(service: TrustService, token: str) -> None:
    """Return if the token's page may still be answered; what it is otherwise is not told.

    Raises:
        NotFound: Nobody's token, or one that was answered or is over.
    """
    try:
        service.answers.question(token)
    except (Conflict, NotFound) as error:
        raise NotFound("this link has no picture: it is nobody's, or it is over") from error
