"""A trust service in memory: it seals what a coordinator is told, or is down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from audit.signing import SigningKey, seal
from coordinator.errors import TrustUnavailable
from policies.standing import Governance, governance_to_dict
from policies.vocabulary import Purpose

APPROVED = Governance(
    as_of=0,
    stopped=False,
    dpia_purposes=frozenset({Purpose.SERVICE, Purpose.TRAINING}),
    minimum_notice=1,
    standing_max_age_s=60,
)


@dataclass(slots=True)
class MemoryTrust:
    """Vouches at `clock`'s time for `governance`; a change wakes who waits."""

    clock: Callable[[], float]
    key: SigningKey = field(default_factory=lambda: SigningKey.generate("trust"))
    governance: Governance = APPROVED
    down: bool = False
    closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def standing(self, *, after: int, wait_s: float) -> bytes:
        """Answer at once when something changes, else after a while."""
        with self._changed:
            self._changed.wait(wait_s)
        if self.down:
            raise TrustUnavailable("the trust service did not answer")
        return self.envelope(after=after)

    def envelope(self, *, key: SigningKey | None = None, **changes: Any) -> bytes:
        """Return a sealed envelope, in order but for what is named."""
        body = {
            "node": "coordinator",
            "after": 0,
            "sequence": 0,
            "issued_at": int(self.clock()),
            "governance": governance_to_dict(self.governance),
            "standings": [],
            "withdrawn": [],
            "challenge": [],
            "more": False,
        }
        return seal("standing", body | changes, key or self.key)

    def decree(self, **changes: Any) -> None:
        """Change what the organisation approved."""
        with self._changed:
            self.governance = replace(self.governance, **changes)
            self._changed.notify_all()

    def close(self) -> None:
        """Remember that the coordinator let go."""
        self.closed = True
