"""The coordinator among the three logs (promise 8): it is witnessed, and witnesses nobody.

The trust service cosigns its log when the coordinator submits it; nodes fetch what they need
through the gateway and bring their cosignatures.
"""

from __future__ import annotations

import threading
from pathlib import Path

from audit.errors import AuditError
from audit.exchange import Exchange, Peer, each
from audit.keys import VerifyKey
from audit.log import EvidenceLog
from audit.witnessing import Witnessing
from coordinator.registry import Registry
from policies.clock import Clock

PERIOD_S = 60.0


class Witnesses:
    """Who cosigns the coordinator's log. `close` it with the log."""

    def __init__(
        self,
        path: Path,
        log: EvidenceLog,
        *,
        registry: Registry,
        trust: Peer | None,
        trust_key: VerifyKey | None,
        clock: Clock,
    ) -> None:
        """Open the memory; without a trust service only nodes cosign.

        Raises:
            EvidenceUnavailable: The file cannot be opened.
        """
        self._registry, self._trust, self._trust_key, self._clock = (
            registry,
            trust,
            trust_key,
            clock,
        )
        self.witnessing = Witnessing(
            path, log, clock=clock, find_log=lambda _: None, find_witness=self._find_witness
        )
        self._exchange = Exchange(self.witnessing, clock=clock)
        self._lock = threading.Lock()
        self._met_at: float | None = None
        self.fault: AuditError | None = None

    def meet_when_due(self) -> None:
        """Submit our log if it is time; a fault that was found stays in `fault`."""
        now = self._clock()
        with self._lock:
            if self._met_at is not None and now < self._met_at + PERIOD_S:
                return
            self._met_at = now
        self.meet()

    def meet(self) -> None:
        """Submit our log; a trust service that is away is asked the next time."""
        trust, key = self._trust, self._trust_key
        if trust is not None and key is not None:
            self.fault = each(lambda: self._exchange.submit(trust, key)) or self.fault

    def close(self) -> None:
        """Close the memory."""
        self.witnessing.close()

    def _find_witness(self, name: str) -> VerifyKey | None:
        if self._trust_key is not None and self._trust_key.name == name:
            return self._trust_key
        keys = (node.key for node in self._registry.nodes().values())
        return next((key for key in keys if key.name == name), None)
