"""Rule 23's clock: an approval too quick to have been thought about is flagged, not refused."""

from __future__ import annotations

from dataclasses import dataclass

from policies.errors import PolicyInvalid
from policies.law import LAW, Clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A named person's yes to one offer or text; times are Unix seconds."""

    by: str
    shown_at: float
    approved_at: float


def is_hasty(approval: Approval, clocks: Clocks = LAW.clocks) -> bool:
    """Return whether less time passed than anybody needs to read what they approved.

    Raises:
        PolicyInvalid: It has no name, or was approved before it was shown.
    """
    taken_s = approval.approved_at - approval.shown_at
    if not approval.by.strip() or not taken_s >= 0:
        raise PolicyInvalid("an approval has a name, and comes after what it approves was shown")
    return taken_s < clocks.hasty_approval_s
