"""Context from things: the agent sees what a kiosk, appliance or wearable told, and no emotion.

Things express nothing, and nothing is read from them (`client_node.things`): this use states no
cue, and says so in each line that it shows. What is kept for it is kept for help to the agent
alone, by a consent that names it and signals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client_node.conversations import place_of
from client_node.thing_store import PURPOSE, ThingStore, Told
from client_node.things import event_to_dict
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Objective, Use

EVERY = ""
"""In a conversation's place: all of the person's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingContext:
    """Shows what things told beside a conversation, or beside every one of the person's."""

    store: ThingStore

    described = Described(
        name="context",
        use=Use.AGENT_HINT,
        purpose=PURPOSE,
        objective="the agent knows what a device already told, and does not ask for it again",
        serves=Objective.HELP,
        rules=(1, 2, 4, 6, 7, 16, 24, 26),
        abstains="always from an emotion: a device expresses none, and none is read from it",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return that nothing was read."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return what was told in the session, in the order of its times.

        Raises:
            PermitInvalid: Not a permit for this help, from signals, now.
            VaultError: It cannot be opened.
        """
        self.described.show(permit, asked, now=now)
        place = place_of(asked.subject, asked.conversation)
        one = None if asked.conversation == EVERY else place[1]
        found = self.store.told(asked.subject, one, permit=permit, now=now)
        return {"context": [_shown(told) for told in found]}


def _shown(told: Told) -> dict[str, Any]:
    return {"conversation": told.conversation} | event_to_dict(told.event)
