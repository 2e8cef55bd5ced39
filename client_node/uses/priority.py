"""Priority: a waiting call is moved to reserved or idle capacity, where nobody waits longer.

The law is that of the hand-over (rule 13); only the objective differs, so it is another use,
with its own decisions on record.
"""

from __future__ import annotations

from client_node.uses.handover import Handover
from client_node.uses.use import AskedUse, Described, Outcome
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Objective, Purpose, Use


class Priority:
    """Moves a waiting call, or leaves it in its place."""

    described = Described(
        name="priority",
        use=Use.PRIORITY,
        purpose=Purpose.HANDOVER,
        objective="a call is taken sooner by somebody whom no other call would get",
        serves=Objective.ACCESS,
        rules=(13, 16, 22, 24),
        abstains="where any other call would start later, or nobody who is free has the skills",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading, and how many other calls would start later.

        Raises:
            TurnInvalid: The queue's state is missing.
        """
        return Handover().facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return which capacity, and who, takes the call.

        Raises:
            PermitInvalid: Not a permit for this move now.
            TurnInvalid: The queue's state is missing.
        """
        self.described.show(permit, asked, now=now)
        return {"action": "take this call now", **Handover().taker(asked)}
