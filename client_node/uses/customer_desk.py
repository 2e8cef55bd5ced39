"""What is asked about a customer rather than about one turn: their journey, and their moment.

1. the gate lets the kept readings be opened (infer, for service); 2. the vault opens those of the
session; 3. the gate is asked for the use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client_node.moment import Activity, Moment, moment
from client_node.story import KeptReading, Story
from client_node.turn import UseAnswer
from client_node.uses.asked import Uses, refusal
from client_node.uses.desk import UseDesk
from client_node.uses.hold_back import HoldBack, offered
from client_node.uses.journey import Journey
from client_node.uses.use import AskedUse
from policies.errors import Refused
from policies.vocabulary import Emotion, Purpose, SubjectId, Use

COUNTED = 1000
"""Turns opened at once, the newest of a person's: what estimate and signals rest on."""
SHOWN = 200
"""Turns that an answer shows at once."""
DAYS = 30
DUE_FROM = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDesk:
    """Opens what is kept of a customer's session, and asks for a use of it."""

    desk: UseDesk
    uses: Uses
    journey: Journey
    hold_back: HoldBack

    def story(
        self, subject: SubjectId, conversation: str | None, *, before: str | None = None
    ) -> UseAnswer:
        """Return the journey of a customer, or of one conversation of theirs.

        Raises:
            TurnUnknown: `before` is no kept turn of theirs.
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing is shown.
        """
        described = self.journey.described
        try:
            kept = self._newest(subject, before=before, limit=COUNTED)  # 1, 2
        except Refused as error:
            return UseAnswer(name=described.name, use=described.use, ruling=refusal(error.decision))
        story = _story(kept, conversation, latest=before is None)
        return self.uses.through(self.journey, _asked(described.use, subject, story))  # 3

    def moment(self, subject: SubjectId, activity: Activity) -> dict[str, Any]:
        """Return when to contact a customer, and whether an offer is made.

        It is due, or not, before any reading is opened; a reading can only hold it back.

        Raises:
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing is said.
        """
        now = int(self.desk.clock())
        found = moment(activity, now_s=now, days=DAYS, due_from=DUE_FROM)
        why = self._kept_away(subject)
        if why is not None or not found.due:
            return _said(found, made=False, why=why or "no offer is due by ordinary activity")
        held = self._held(subject)
        if held is None or not held.ruling.allowed or not held.outcome["held"]:
            made = offered(due=found.due, cue=None)
            return _said(found, made=made, why="due by ordinary activity alone")
        why = "held back by an expressed cue"
        more = {"do": held.outcome["do"], "decision": held.ruling.decision}
        return _said(found, made=False, why=why) | more

    def _kept_away(self, subject: SubjectId) -> str | None:
        """Return why nobody may be sold to, before anything is read; None where nothing says so."""
        standing = self.desk.cache.standing(subject)
        if standing is None or standing.erased or standing.restricted:
            return "nothing is known that would allow it"
        if Purpose.OFFERS in standing.objected | standing.withdrawn:
            return "the person objected to offers"
        if standing.vulnerabilities:
            return "not to somebody who is vulnerable: refer to help where it is wanted"
        return None

    def _held(self, subject: SubjectId) -> UseAnswer | None:
        try:
            kept = self._newest(subject, before=None, limit=1)
        except Refused:
            return None
        if not kept or kept[-1].emotion is None:
            return None
        use = self.hold_back.described.use
        return self.uses.through(self.hold_back, _asked(use, subject, Story(read=kept)))

    def _newest(
        self, subject: SubjectId, *, before: str | None, limit: int
    ) -> tuple[KeptReading, ...]:
        """Return the session's newest readings, oldest first."""
        permit = self.desk.reading_permit(subject)
        kept = self.desk.newest(subject, permit, before=before, limit=limit)
        return tuple(_reading(turn, copy) for turn, copy in reversed(kept.items()))


def _story(kept: tuple[KeptReading, ...], conversation: str | None, *, latest: bool) -> Story:
    """Return the stretch of one conversation, or of all, and where to go on from."""
    read = tuple(r for r in kept if conversation is None or r.conversation == conversation)
    rest = kept[0].turn if len(kept) == COUNTED else None
    older = read[-SHOWN].turn if len(read) > SHOWN else rest
    return Story(read=read, shown=read[-SHOWN:], older=older, latest=latest)


def _asked(use: Use, subject: SubjectId, story: Story) -> AskedUse:
    """Return the request, resting on the newest sure reading and as old as the oldest."""
    sure = [reading for reading in story.read if reading.emotion is not None]
    return AskedUse(
        use=use,
        subject=subject,
        emotion=sure[-1].emotion if sure else None,
        read_at=min(reading.at for reading in sure) if sure else None,
        story=story,
    )


def _reading(turn: str, kept: dict[str, Any]) -> KeptReading:
    return KeptReading(
        turn=turn,
        at=kept["read_at"],
        conversation=kept["conversation"],
        label=kept["label"],
        emotion=None if kept["emotion"] is None else Emotion(kept["emotion"]),
        confidence=kept["confidence"],
        valence=kept.get("valence"),
    )


def _said(found: Moment, *, made: bool, why: str) -> dict[str, Any]:
    return {
        "hour": found.hour,
        "likely": round(found.likely, 3),
        "within_days": found.days,
        "due": found.due,
        "offer": made,
        "because": why,
    }
