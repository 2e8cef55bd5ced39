"""Hands the decisions of this node's log to the trust service that witnesses it, page by page.

Only what `audit.branch_leaves` names leaves, each leaf as it stands in the log: ids, use, rules,
outcome, time and digests. From where to go on the trust service says, so an outage of either side
loses and doubles nothing. One page a call, after the log was cosigned; whatever fails waits, twice
as long each time, and keeps nothing else from being done.
"""

from __future__ import annotations

from typing import Any

from audit.branch_leaves import make_page
from audit.errors import AuditError
from audit.log import EvidenceLog
from client_node.errors import TrustRefused, TrustUnavailable
from client_node.trust_client import TrustClient
from policies.clock import Clock

LONGEST_PAUSE_S = 600.0


class HandingOver:
    """Brings one page at a time, at most every `period_s` where there is nothing left to bring."""

    def __init__(
        self, *, log: EvidenceLog, client: TrustClient, clock: Clock, period_s: float
    ) -> None:
        """Prepare; nothing is sent yet."""
        self._log, self._client, self._clock = log, client, clock
        self._period_s = period_s
        self._next_at = float("-inf")
        self._failures = 0
        self._state: dict[str, int] | None = None
        self.fault: str | None = None

    def step(self) -> bool:
        """Bring the next page if it is time; return whether another waits. Raises nothing."""
        now = self._clock()
        if now < self._next_at:
            return False
        try:
            more = self._step()
        except (TrustUnavailable, TrustRefused, AuditError) as error:
            self._state, self.fault, more = None, str(error), False
            self._failures += 1
            pause_s = self._period_s * 2.0 ** min(self._failures - 1, 8)
            self._next_at = now + min(LONGEST_PAUSE_S, pause_s)
            return False
        self._failures, self.fault = 0, None
        self._next_at = now if more else now + self._period_s
        return more

    def status(self) -> dict[str, Any]:
        """Return how far the trust service has read, as far as it is known, and what is wrong."""
        reached = None if self._state is None else self._state["start"]
        return {"handed_over": reached, "fault": self.fault}

    def _step(self) -> bool:
        asked = self._state is None or not self._is_left(self._state)
        state = self._client.decisions_reached() if asked or self._state is None else self._state
        if self._is_left(state):
            page = make_page(self._log, state["start"], state["size"])
            if page["end"] > state["start"]:
                state = self._client.hand_over_decisions(page)
        self._state = state
        return self._is_left(state)

    def _is_left(self, state: dict[str, int]) -> bool:
        """Say whether there is something to bring that was cosigned, and that this log has."""
        return state["start"] < min(state["size"], self._log.size)
