"""Selling, pricing and selecting by an emotion: asked of the gate, which refuses it.

They are here so that whoever asks gets the rule, the statute and plain words, and so that the
attempt is on record. The emotion is the node's own reading, never the caller's word. Nothing
is built behind them: should an organisation's own rules ever allow one, it is `NotBuilt`.
"""

from __future__ import annotations

from policies.decision import Facts
from policies.vocabulary import Emotion, Use

REFUSED = frozenset(
    {
        Use.UPSELL,
        Use.OFFER,
        Use.COMPENSATION,
        Use.PRICE,
        Use.CREDIT,
        Use.INSURANCE,
        Use.ELIGIBILITY,
        Use.TIMING,
        Use.SEGMENT,
    }
)


def facts(emotion: Emotion | None, read_at: int | None) -> Facts:
    """Return what such a use states of itself to the gate."""
    return Facts(emotion=emotion, read_at=read_at, certain=emotion is not None)
