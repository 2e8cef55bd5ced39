"""Who sits at a panel: named by the integration that opened it, known by a token for one shift.

The token goes to the page in the address's fragment, which no browser sends to any server, and
from there into the storage of that tab. No cookie is set: a page in a frame of the CRM's would
not get one, and nobody can be made to act by a form of theirs. Here its digest is kept, in
memory.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict

from client_node.errors import AccessDenied
from policies.clock import Clock

LASTS_S = 8 * 3600.0
MOST = 1_000


class PanelSessions:
    """Opens sessions and knows whose they are; thread-safe."""

    def __init__(self, *, clock: Clock) -> None:
        """Begin with none."""
        self._clock, self._lock = clock, threading.Lock()
        self._open: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def open(self, by: str) -> str:
        """Return the token of a new session of somebody named."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._open[_digest(token)] = (by, self._clock())
            if len(self._open) > MOST:
                self._open.popitem(last=False)
        return token

    def find(self, authorization: str | None) -> str:
        """Return whose session an `Authorization: Bearer` header names.

        Raises:
            AccessDenied: None, or its shift is over.
        """
        scheme, _, token = (authorization or "").partition(" ")
        with self._lock:
            found = self._open.get(_digest(token)) if scheme.lower() == "bearer" else None
        if found is None or self._clock() - found[1] >= LASTS_S:
            raise AccessDenied("this panel's session is over: open it again from your own system")
        return found[0]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
