"""Handing a conversation to a person: only where nobody else waits longer for it (rule 13).

What is counted are the calls that wait now. Who comes while the conversation lasts is not known:
taken from an idle ordinary agent, it may cost them time (`tests.bench.routing` says how often),
taken from a reserved one it cannot. A branch that promises the second reserves somebody.
"""

from __future__ import annotations

from dataclasses import replace

from client_node.errors import TurnInvalid
from client_node.uses.queue import QueueState, capacity, delayed_calls, staffed
from client_node.uses.routing import choose
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Objective, Purpose, Use


class Handover:
    """Hands over to reserved capacity first, then to an idle agent, by skills and load."""

    described = Described(
        name="handover",
        use=Use.HANDOVER,
        purpose=Purpose.HANDOVER,
        objective="a person takes over where a machine or a queue does not help",
        serves=Objective.ACCESS,
        rules=(13, 16, 17, 22, 24),
        abstains="where any other call would start later than without the hand-over",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading, and how many other calls would start later.

        Raises:
            TurnInvalid: The queue's state is missing.
        """
        queue = _needed(asked.queue)
        nobody = bool(queue.agents) and choose(queue.agents, queue.needs) is None
        delayed = None if nobody else delayed_calls(staffed(queue))
        return replace(cue_facts(asked), delayed_calls=delayed)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return which capacity takes the conversation.

        Raises:
            PermitInvalid: Not a permit for this hand-over now.
            TurnInvalid: The queue's state is missing.
        """
        self.described.show(permit, asked, now=now)
        return {"action": "hand over to a person", **self.taker(asked)}

    def taker(self, asked: AskedUse) -> Outcome:
        """Return which capacity takes the conversation, and who where agents were named.

        Raises:
            TurnInvalid: The queue's state is missing.
        """
        queue = _needed(asked.queue)
        found = choose(queue.agents, queue.needs)
        named = {} if found is None else {"agent": found.agent}
        return {"capacity": capacity(staffed(queue)).value, **named}


def _needed(queue: QueueState | None) -> QueueState:
    if queue is None:
        raise TurnInvalid("hand-over and priority need the queue's state (rule 13): send `queue`")
    return queue
