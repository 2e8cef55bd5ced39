"""What the organisation approved, as the trust service last vouched for it to this coordinator.

The coordinator is enrolled at the trust service like a node, with a company of its own that
has no people, and gets the same sealed envelope. It is believed in this order:
1. its signature holds; 2. it is for this coordinator, and well formed; 3. it is not from the
future, and not older than what is here; 4. it counts, from its `issued_at` on.

Of an envelope only the governance is kept, and in memory alone: after a restart nothing is
approved until the trust service vouches again. Where nothing fresh comes, the governance
ages and the rules refuse it (rule 27); this module never decides.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import Any

from audit.errors import AuditError
from audit.signing import VerifyKey, unseal
from coordinator.errors import GovernanceRejected
from policies.clock import Clock
from policies.standing import Governance, governance_from_dict
from policies.vocabulary import NodeId

KIND = "standing"
MAX_AHEAD_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """One verified envelope: the governance as of `issued_at` (Unix seconds)."""

    sequence: int
    issued_at: int
    more: bool
    governance: Governance
    approvals: tuple[str, ...] = ()


class GovernanceCopy:
    """Hold the newest verified governance; thread-safe."""

    def __init__(self, *, name: NodeId, key: VerifyKey, clock: Clock) -> None:
        """Begin with nothing, which approves nothing.

        Args:
            name: The coordinator's name at the trust service.
            key: The trust service's.
            clock: Unix seconds.
        """
        self._name, self._key, self._clock = name, key, clock
        self._lock = threading.Lock()
        self._newest: Vouched | None = None

    @property
    def sequence(self) -> int:
        """The last sequence heard, 0 before the first: ask for what came after it."""
        newest = self._newest
        return 0 if newest is None else newest.sequence

    @property
    def governance(self) -> Governance | None:
        """What the organisation approved, as of the newest envelope; None before the first."""
        newest = self._newest
        return None if newest is None else newest.governance

    @property
    def approvals(self) -> tuple[str, ...]:
        """What is in force and who approved it, as the trust service said; for the log."""
        newest = self._newest
        return () if newest is None else newest.approvals

    def hear(self, data: bytes) -> Vouched:
        """Verify an envelope and let it count; what is rejected changes nothing.

        Raises:
            GovernanceRejected: Not signed by the trust service, for somebody else, malformed,
                from the future, or older than what is here.
        """
        vouched = self._verify(data)  # 1, 2
        with self._lock:
            self._check_order(vouched)  # 3
            self._newest = vouched  # 4
        return vouched

    def _verify(self, data: bytes) -> Vouched:
        try:
            body = unseal(KIND, data, self._key)
        except AuditError as error:
            raise GovernanceRejected(
                f"governance was not vouched for by the trust service: {error}"
            ) from error
        try:
            vouched = _vouched(body)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise GovernanceRejected(
                f"governance is not of the agreed form ({type(error).__name__}): versions differ?"
            ) from error
        if body.get("node") != self._name:
            raise GovernanceRejected(f"governance is for somebody else than {self._name}")
        return vouched

    def _check_order(self, vouched: Vouched) -> None:
        if vouched.issued_at > self._clock() + MAX_AHEAD_S:
            raise GovernanceRejected("governance comes from the future: compare the two clocks")
        newest = self._newest
        if newest is not None and (
            vouched.sequence < newest.sequence or vouched.issued_at < newest.issued_at
        ):
            raise GovernanceRejected(
                f"governance of {vouched.issued_at} is older than that of {newest.issued_at}"
            )


def _vouched(body: dict[str, Any]) -> Vouched:
    issued_at = int(body["issued_at"])
    governance = governance_from_dict(body["governance"])
    return Vouched(
        sequence=int(body["sequence"]),
        issued_at=issued_at,
        more=bool(body["more"]),
        governance=dataclasses.replace(governance, as_of=issued_at),
        approvals=tuple(str(word) for word in body.get("approvals", ())),
    )
