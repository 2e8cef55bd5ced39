"""A permit covers one use of the people it names, for its seconds, and nothing else."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from policies.errors import PermitInvalid
from policies.permit import Permit
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

PERMIT = Permit(
    decision_id=DecisionId("d-1"),
    node=NodeId("branch-1"),
    action=Action.USE,
    purpose=Purpose.HANDOVER,
    modality=Modality.TEXT,
    subjects=frozenset({SubjectId("p-1")}),
    use=Use.HANDOVER,
    policy_digest=Digest("a" * 64),
    log_index=7,
    issued_at=100.0,
    expires_at=130.0,
)
SHOWN: dict[str, Any] = {
    "action": Action.USE,
    "purpose": Purpose.HANDOVER,
    "subject": SubjectId("p-1"),
    "use": Use.HANDOVER,
    "now": 110.0,
}


@pytest.mark.parametrize("change", [{}, {"now": 100.0}, {"now": 129.9}, {"subject": None}])
def test_permit_covers_its_own_use(change: dict[str, Any]) -> None:
    """Shown for exactly its use, for its person or as a batch, in its seconds, it holds."""
    PERMIT.cover(**SHOWN | change)


@pytest.mark.parametrize(
    "change",
    [
        {"action": Action.INFER},
        {"purpose": Purpose.OFFERS},
        {"use": Use.UPSELL},
        {"use": None},
        {"subject": SubjectId("p-2")},
        {"now": 130.0},
        {"now": 99.9},
    ],
)
def test_permit_covers_nothing_else(change: dict[str, Any]) -> None:
    """Another action, purpose, use, person or time is refused."""
    with pytest.raises(PermitInvalid, match="d-1"):
        PERMIT.cover(**SHOWN | change)


def test_permit_error_names_no_person() -> None:
    """The message of a refusal carries no pseudonym."""
    with pytest.raises(PermitInvalid) as caught:
        PERMIT.cover(**SHOWN | {"subject": SubjectId("p-2")})
    assert "p-1" not in str(caught.value)
    assert "p-2" not in str(caught.value)


def test_permit_cannot_be_widened() -> None:
    """A permit is frozen once it is made."""
    with pytest.raises(FrozenInstanceError):
        PERMIT.expires_at = 1e12  # type: ignore[misc]
