"""The node among the three logs (promise 8): who cosigns its log, and whose logs it cosigns.

    trust service  cosigns the node's log        the node submits
    node           cosigns the trust service's   and the coordinator's, which it fetches
    gossip         what the trust service saw of the coordinator's log is held against what the
                   node saw

A node that is offline misses nothing: one proof from the last cosigned size covers the rest.
What was cosigned is then handed over, decision by decision (`client_node.handing_over`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from audit.errors import AuditError
from audit.exchange import Exchange, Peer, each
from audit.keys import VerifyKey
from audit.witnessing import Witnessing
from client_node.handing_over import HandingOver
from policies.clock import Clock


class Witnesses:
    """Meets the others, at most every `period_s`."""

    def __init__(
        self,
        witnessing: Witnessing,
        *,
        trust: Peer,
        trust_key: VerifyKey,
        coordinator: Peer | None,
        coordinator_log_key: VerifyKey,
        clock: Clock,
        period_s: float,
        handing_over: HandingOver,
    ) -> None:
        """Join the parts; without a way to the coordinator only the trust service is met."""
        self.handing_over = handing_over
        self.witnessing = witnessing
        self._exchange = Exchange(witnessing, clock=clock)
        self._trust, self._trust_key = trust, trust_key
        self._coordinator, self._coordinator_log_key = coordinator, coordinator_log_key
        self._clock, self._period_s = clock, period_s
        self._lock = threading.Lock()
        self._met_at: float | None = None
        self.fault: AuditError | None = None

    def meet_when_due(self) -> None:
        """Meet the others if it is time, and hand over one page of what they cosigned.

        A fault that was found stays in `fault`.
        """
        self._meet_when_due()
        self.handing_over.step()

    def _meet_when_due(self) -> None:
        now = self._clock()
        with self._lock:
            if self._met_at is not None and now < self._met_at + self._period_s:
                return
            self._met_at = now
        self.meet()

    def meet(self) -> None:
        """Submit, witness and gossip; who is not there is met the next time."""
        trust, coordinator = self._trust, self._coordinator
        steps: list[Callable[[], object]] = [
            lambda: self._exchange.submit(trust, self._trust_key),
            lambda: self._exchange.witness(trust, self._trust_key.name),
        ]
        origin = self._coordinator_log_key.name
        if coordinator is not None:
            steps.append(lambda: self._exchange.witness(coordinator, origin))
            steps.append(lambda: self._exchange.gossip(trust, origin, coordinator))
        self.fault = each(*steps) or self.fault

    def status(self) -> dict[str, Any]:
        """Return up to where our log is cosigned, which logs we cosign, and what is wrong."""
        store, witness = self.witnessing.store, self.witnessing.witness
        return {
            "cosigned_size": store.cosigned_by(self._trust_key.name),
            "witnessed": {origin: witness.last_size(origin) for origin in store.origins()},
            "alarms": [f"{alarm.origin} {alarm.what}" for alarm in self.witnessing.alarms()],
            "fault": None if self.fault is None else str(self.fault),
        }
