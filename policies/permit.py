"""The permit: the only way to inference, vault, training, uses, releases and exports.

`audit.gate` alone builds one (a test reads every module to see that), after the rules said
yes and the decision was durably logged. Whoever takes a permit calls `cover` first.
"""

from __future__ import annotations

from dataclasses import dataclass

from policies.errors import PermitInvalid
from policies.vocabulary import (
    Action,
    DecisionId,
    Digest,
    Modality,
    NodeId,
    Purpose,
    SubjectId,
    Use,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave for one action, one purpose and the named people, for some seconds.

    `log_index` is the entry that recorded the decision; `policy_digest` names the rules in
    force. Times are Unix seconds. A batch permit (training) names many people; all others
    name one.
    """

    decision_id: DecisionId
    node: NodeId
    action: Action
    purpose: Purpose
    modality: Modality
    subjects: frozenset[SubjectId]
    use: Use | None
    policy_digest: Digest
    log_index: int
    issued_at: float
    expires_at: float

    def cover(
        self,
        *,
        action: Action,
        purpose: Purpose,
        subject: SubjectId | None,
        now: float,
        use: Use | None = None,
    ) -> None:
        """Return if this permit covers exactly that use now; `subject` None means the batch.

        Raises:
            PermitInvalid: It is for something or someone else, or its seconds are over.
        """
        if (self.action, self.purpose, self.use) != (action, purpose, use):
            raise PermitInvalid(
                f"permit {self.decision_id} is for {self.action}/{self.purpose}/{self.use}, "
                f"shown for {action}/{purpose}/{use}: ask the gate for this use"
            )
        if subject is not None and subject not in self.subjects:
            raise PermitInvalid(
                f"permit {self.decision_id} does not name this person: ask the gate for them"
            )
        if now >= self.expires_at or now < self.issued_at:
            raise PermitInvalid(
                f"permit {self.decision_id} is not valid at this time: ask the gate again"
            )
