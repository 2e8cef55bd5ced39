"""Rule 23's clock: an approval is a person's, and takes the time of reading."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.approvals import Approval, is_hasty
from policies.errors import PolicyInvalid

APPROVAL = Approval(by="jo", shown_at=100.0, approved_at=102.0)


def test_approval_is_hasty_below_the_laws_seconds() -> None:
    """Two seconds are enough, less is flagged."""
    assert not is_hasty(APPROVAL)
    assert is_hasty(replace(APPROVAL, approved_at=101.9))


@pytest.mark.parametrize(
    "wrong",
    [{"by": " "}, {"approved_at": 99.0}, {"approved_at": float("nan")}],
)
def test_approval_that_cannot_be_one_is_rejected(wrong: dict[str, str | float]) -> None:
    """Nobody's approval, or one from before it was shown, is none."""
    with pytest.raises(PolicyInvalid):
        is_hasty(replace(APPROVAL, **wrong))  # type: ignore[arg-type]
