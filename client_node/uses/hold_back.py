"""Holding an offer back: the one thing that a feeling may do to an offer (rules 8, 10, 15).

Whether an offer is due is decided before, from ordinary activity (`client_node.moment`), and comes
here as a yes. What leaves is that yes or a no: `held_back` cannot make a yes of a no.
"""

from __future__ import annotations

from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import NEGATIVE, Emotion, Objective, Purpose, Use

HOLDS = NEGATIVE | {Emotion.DISGUST, Emotion.CONFUSION}
"""Cues in whose presence nobody is sold to."""


class HoldBack:
    """Looks at the newest reading to keep an offer away, never to bring one on."""

    described = Described(
        name="hold_back",
        use=Use.REFERRAL,
        purpose=Purpose.SERVICE,
        objective="nobody is sold to in distress: an offer that was due is held back",
        serves=Objective.PROTECTION,
        rules=(4, 8, 9, 10, 15, 16, 22, 24),
        abstains="where no offer is due, or nothing was read for sure: activity alone decides then",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return whether the offer is held back, and what to do in its place.

        Raises:
            PermitInvalid: Not a permit for this protection now.
        """
        self.described.show(permit, asked, now=now)
        if held_back(due=True, cue=asked.emotion):
            return {"held": True, "do": "no offer now: ask whether help is wanted"}
        return {"held": False}


def held_back(*, due: bool, cue: Emotion | None) -> bool:
    """Return whether a due offer is held back; one that is not due is none to hold."""
    return due and cue in HOLDS


def offered(*, due: bool, cue: Emotion | None) -> bool:
    """Return whether the offer is made: never where it was not due without the cue."""
    return due and not held_back(due=due, cue=cue)
