"""The journey of a conversation, or of a customer's day: expressed cues with their times.

Only turns that are kept for service, and only for the life of a session (rule 16): what is older
was deleted, and is refused by the vault besides. It is shown to the agent who helps now, and to
no other system.
"""

from __future__ import annotations

from client_node.story import story_to_dict
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Objective, Purpose, Use


class Journey:
    """Shows the timeline."""

    described = Described(
        name="journey",
        use=Use.AGENT_HINT,
        purpose=Purpose.AGENT_HELP,
        objective="the agent sees what went before, and solves it once",
        serves=Objective.HELP,
        rules=(4, 16, 22, 24, 26),
        abstains="from an estimate below three read turns, or where most were not read; from a "
        "signal where a conversation's last turns were not read",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the newest sure reading."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return timeline, estimate and signals.

        Raises:
            PermitInvalid: Not a permit for this help now.
        """
        self.described.show(permit, asked, now=now)
        return story_to_dict(asked.story)
