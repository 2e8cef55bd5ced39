"""How often a bearer token may be wrong: from an address, and for the id that a token claims.

Beyond the free ones each wrong token doubles a wait, up to a quarter of an hour; while it lasts the
answer is the same whatever is sent, so nothing can be found out by asking. A token that was right
from an address before is not kept waiting there, whatever strangers send: nobody can shut staff or
their scheduled jobs out by guessing beside them.

Kept in memory alone, and of the newest only: a wrong token costs no write. What a person types is
counted in the store (`throttle`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from audit.errors import TooManyAttempts
from audit.portal.secrets import hash_of
from audit.portal.session import TOKEN_MARK
from audit.portal.throttle import wait_s
from policies.clock import Clock

FREE_OF_ADDRESS, FREE_OF_TOKEN = 30, 10
MOST_KEPT = 10_000
FORGOTTEN_AFTER_S = 86_400.0


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_at: float = 0.0
    until: float = 0.0


class WrongTokens:
    """Counts; thread-safe."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, address: str, given: str) -> None:
        """Return if a token may be tried now.

        Raises:
            TooManyAttempts: Too many were wrong before.
        """
        now = self._clock()
        with self._lock:
            if (address, _credential(given)) in self._known:
                return
            found = [self._failures.get(key) for key in _keys(address, given)]
            waits = [one.until - now for one in found if one is not None]
        if max(waits, default=0.0) > 0:
            raise TooManyAttempts(max(waits))

    def wrong(self, address: str, given: str) -> None:
        """Count a wrong token."""
        now = self._clock()
        with self._lock:
            for key, free in _keys(address, given).items():
                found = self._failures.setdefault(key, _Failures())
                if now - found.last_at > FORGOTTEN_AFTER_S:
                    found.count = 0
                found.count, found.last_at = found.count + 1, now
                found.until = now + wait_s(found.count, free)
                self._failures.move_to_end(key)
            while len(self._failures) > MOST_KEPT:
                self._failures.popitem(last=False)

    def right(self, address: str, given: str) -> None:
        """Remember that a token was right from an address."""
        with self._lock:
            pair = (address, _credential(given))
            self._known[pair] = None
            self._known.move_to_end(pair)
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)


def _keys(address: str, given: str) -> dict[str, int]:
    return {
        f"address {address}": FREE_OF_ADDRESS,
        f"token {_credential(given)}": FREE_OF_TOKEN,
    }


def _credential(given: str) -> str:
    """Return what a token claims to be: its id; of one without, a digest of it all."""
    if given.startswith(TOKEN_MARK):
        return given.removeprefix(TOKEN_MARK).partition("_")[0][:64]
    return hash_of(given)
