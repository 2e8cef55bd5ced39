"""The headers that every answer of a service has, whoever gave it.

Which they are say the site's frame (`audit.portal.frame`) and the node (`client_node.api`).
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class GuardAnswers:
    """ASGI middleware, outside all others: headers that an answer has where it says nothing else.

    What does not say otherwise is not stored, and a page never is.
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; complete the answer's headers."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if headers.get("content-type", "").startswith("text/html"):
                    headers["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, guarded)
