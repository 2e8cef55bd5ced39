"""How often a credential may be wrong: from an address, and for what the credential claims to be.

Beyond the free ones each wrong one doubles a wait, up to a quarter of an hour; while it lasts the
answer is the same whatever is sent, so nothing can be found out by asking. A credential that was
right from an address before is not kept waiting there, whatever strangers send: nobody can shut
staff, integrations or scheduled jobs out by guessing beside them.

Kept in memory alone, and of the newest only: a wrong one costs no write. What a person types is
counted in the store (`audit.portal.throttle`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from audit.errors import TooManyAttempts
from policies.clock import Clock

FREE_OF_ADDRESS, FREE_OF_CREDENTIAL = 30, 10
MOST_KEPT = 10_000
_MOST_WAIT_S = 900.0
_FORGOTTEN_AFTER_S = 86_400.0


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_at: float = 0.0
    until: float = 0.0


class WrongAttempts:
    """Counts; thread-safe.

    A `credential` is what the caller claims to be, in a word that is no secret: a token's id, a
    key's name, or the digest of one that has neither.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, address: str, credential: str) -> None:
        """Return if a credential may be tried now.

        Raises:
            TooManyAttempts: Too many were wrong before.
        """
        now = self._clock()
        with self._lock:
            if (address, credential) in self._known:
                return
            found = [self._failures.get(key) for key in _keys(address, credential)]
            waits = [one.until - now for one in found if one is not None]
        if max(waits, default=0.0) > 0:
            raise TooManyAttempts(max(waits))

    def wrong(self, address: str, credential: str) -> None:
        """Count a wrong one."""
        now = self._clock()
        with self._lock:
            for key, free in _keys(address, credential).items():
                found = self._failures.setdefault(key, _Failures())
                if now - found.last_at > _FORGOTTEN_AFTER_S:
                    found.count = 0
                found.count, found.last_at = found.count + 1, now
                found.until = now + wait_s(found.count, free)
                self._failures.move_to_end(key)
            while len(self._failures) > MOST_KEPT:
                self._failures.popitem(last=False)

    def right(self, address: str, credential: str) -> None:
        """Remember that a credential was right from an address."""
        with self._lock:
            pair = (address, credential)
            self._known[pair] = None
            self._known.move_to_end(pair)
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)


def wait_s(failures: int, free: int) -> float:
    """Return how long to wait after so many failures, of which some are free."""
    over = failures - free
    return 0.0 if over < 0 else min(_MOST_WAIT_S, 30.0 * 2.0 ** min(over, 10))


def _keys(address: str, credential: str) -> dict[str, int]:
    return {
        f"address {address}": FREE_OF_ADDRESS,
        f"credential {credential}": FREE_OF_CREDENTIAL,
    }
