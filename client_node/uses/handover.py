"""Handing a conversation to a person: only where nobody else waits longer for it (rule 13)."""

from __future__ import annotations

from dataclasses import replace

from client_node.errors import TurnInvalid
from client_node.uses.queue import QueueState, capacity, delayed_calls
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Purpose, Use


class Handover:
    """Hands over to reserved capacity first, then to an idle agent."""

    described = Described(
        use=Use.HANDOVER,
        purpose=Purpose.HANDOVER,
        objective="a person takes over where a machine or a queue does not help",
        rules=(13, 16, 22),
        abstains="where any other call would start later than without the hand-over",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading, and how many other calls would start later.

        Raises:
            TurnInvalid: The queue's state is missing.
        """
        return replace(cue_facts(asked), delayed_calls=delayed_calls(_needed(asked.queue)))

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return which capacity takes the conversation.

        Raises:
            PermitInvalid: Not a permit for this hand-over now.
            TurnInvalid: The queue's state is missing.
        """
        self.described.show(permit, asked, now=now)
        return {"action": "hand over to a person", "capacity": capacity(_needed(asked.queue)).value}


def _needed(queue: QueueState | None) -> QueueState:
    if queue is None:
        raise TurnInvalid("a hand-over needs the queue's state (rule 13): send `queue`")
    return queue
