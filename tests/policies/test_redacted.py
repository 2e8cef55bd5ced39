"""Redacted text is a value of its own type, and says which kinds were removed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from policies.redacted import RedactedText


def test_redacted_text_is_not_plain_text() -> None:
    """What asks for redacted text cannot be handed a string."""
    assert not isinstance(RedactedText(text="my bag is lost"), str)
    with pytest.raises(TypeError):
        RedactedText("my bag is lost")  # type: ignore[call-arg]


def test_redacted_text_cannot_be_changed() -> None:
    """Once removed, personal data cannot be written back."""
    redacted = RedactedText(text="call <PHONE>", kinds=("PHONE",))
    assert redacted.kinds == ("PHONE",)
    with pytest.raises(FrozenInstanceError):
        redacted.text = "something else"  # type: ignore[misc]
