"""Brings each release's card to the trust service, whose documents rest on it.

A card goes with the entry and the proof that are in the release's own bundle, so the trust service
takes nothing on our word. One that is not taken (we are not the coordinator that it names) is
brought again later; training and releases do not wait for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus

from audit.exchange import Peer
from coordinator.registry import Published
from policies.clock import Clock
from policies.vocabulary import ReleaseId

PATH = "/v1/release-cards"
AGAIN_S = 60.0

_log = logging.getLogger("undertone")


class CardCourier:
    """Remembers what was taken; one thread at a time calls it."""

    def __init__(
        self, trust: Peer | None, releases: Callable[[], Sequence[Published]], *, clock: Clock
    ) -> None:
        """Prepare; without a trust service nothing is brought anywhere."""
        self._trust, self._releases, self._clock = trust, releases, clock
        self._taken: set[ReleaseId] = set()
        self._again_at = 0.0

    def bring(self) -> None:
        """Bring the cards that were not taken yet.

        Raises:
            PeerUnavailable: No answer: the rest is brought the next time.
        """
        now = self._clock()
        if self._trust is None or now < self._again_at:
            return
        for published in self._releases():
            if published.release in self._taken:
                continue
            status, _ = self._trust.witness("POST", PATH, card_body(published))
            if status != HTTPStatus.CREATED:
                self._again_at = now + AGAIN_S
                _log.warning("the trust service takes no cards of ours (%d)", status)
                return
            self._taken.add(published.release)


def card_body(published: Published) -> bytes:
    """Return a release's card with the log entry that commits to it, and its proof."""
    bundle = json.loads(published.bundle)["body"]
    said = {"card": published.body["card"], "leaf": bundle["leaf"], "receipt": bundle["proof"]}
    return json.dumps(said).encode()
