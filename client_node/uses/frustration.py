"""Frustration early: an alert to the desk while a conversation can still be turned round.

The course of the conversation (`models.conversation`) is warned of at one level and calmed at a
lower one, so an alert never flaps: it opens once, and closes when the cues ease or the person,
the gate or the clock takes it back. It says which turns it rests on, and is a hint for the desk,
never a ground for a decision. The consent that it needs is the one that names help to agents.

Its question is whether any negative family is expressed, not which label: it asks for what
`Reading.surely_negative` says, and abstains where that is unsure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from audit.errors import EvidenceUnavailable
from client_node.alerts import Alert, AlertState
from client_node.conversations import Conversations, place_of
from client_node.errors import TurnInvalid
from client_node.turn import UseAnswer
from client_node.uses.asked import Uses
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.errors import PolicyUnavailable
from policies.permit import Permit
from policies.vocabulary import DecisionId, Objective, Purpose, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyFrustration:
    """Opens and closes alerts about conversations."""

    conversations: Conversations
    new_id: Callable[[], str]

    described = Described(
        name="early_warning",
        use=Use.AGENT_HINT,
        purpose=Purpose.AGENT_HELP,
        objective="the desk may calm a conversation before it escalates",
        serves=Objective.RELIEF,
        rules=(4, 16, 21, 22, 24, 26),
        abstains="from a trend before two turns; from an alert where most turns went unread, and "
        "on a turn where it is not sure that a negative cue is expressed",
    )

    def consider(self, asked: AskedUse, uses: Uses) -> UseAnswer | None:
        """Close the alert where the cues eased; ask the gate for one where they call for it.

        None where nothing was asked. The turn was read and kept already, so a gate that cannot
        answer costs the alert alone: it is asked for again at the next turn.

        Raises:
            PermitInvalid: The person withdrew meanwhile.
        """
        place = place_of(asked.subject, asked.conversation)
        alerts = self.conversations.alerts
        if asked.outlook is None or not asked.outlook.warning:
            alerts.close(AlertState.LOWERED, lambda other: other == place)
            return None
        if asked.emotion is None or alerts.is_open(place):
            return None
        try:
            return uses.through(self, asked)
        except (PolicyUnavailable, EvidenceUnavailable):
            return None

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading that the alert would be raised on."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Open the alert.

        Raises:
            PermitInvalid: Not a permit for this alert now, or the person withdrew meanwhile.
            TurnInvalid: There is no course to warn of.
        """
        self.described.show(permit, asked, now=now)
        if asked.outlook is None:
            raise TurnInvalid("an alert rests on the course of a conversation: there is none")
        alert = Alert(
            alert=self.new_id(),
            state=AlertState.RAISED,
            subject=asked.subject,
            conversation=asked.conversation,
            decision=DecisionId(permit.decision_id),
            raised_at=now,
            outlook=asked.outlook,
            asked=asked,
        )
        self.conversations.alert(alert, permit=permit)
        return {"alert": alert.alert}


def alert_to_dict(alert: Alert) -> dict[str, Any]:
    """Return the alert as JSON values; cues are expressed, never a truth (rule 26)."""
    outlook = alert.outlook
    return {
        "alert": alert.alert,
        "state": alert.state.value,
        "conversation": alert.conversation,
        "subject": alert.subject,
        "decision": alert.decision,
        "raised_at": alert.raised_at,
        "says": "expressed cues point to frustration that may escalate",
        "level": outlook.level,
        "risk": outlook.risk,
        "trend": outlook.trend,
        "turns": outlook.turns,
        "because": [{"turn": m.turn, "cue": m.cue, "strain": m.strain} for m in outlook.because],
    }
