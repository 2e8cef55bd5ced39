"""The courses of conversations now going on: in memory only, of people who allow it.

A course is a few numbers and the ids of a few turns (`models.conversation`), no text. It is kept
under the permit to keep a reading for service, and is gone as soon as the person may no longer
be read or kept, when they withdraw, after a pause, at the end of the session (rule 16), and with
the process. A permit from before a withdrawal moves no course, as it seals nothing in the vault.
An alert about a conversation goes with its course.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from client_node.alerts import Alert, Alerts, AlertState, Place
from client_node.vault import SESSION_S
from models.conversation import Course, Moment, Outlook, Rule, follow, outlook
from models.inference import Reading
from policies.canonical import digest_bytes
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.vocabulary import Action, Purpose, SubjectId

MOST_COURSES = 5_000
"""Bound of the memory; beyond it the conversation that was quiet for longest is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A course, when it began and when it moved last, in Unix seconds."""

    course: Course
    began_at: float
    moved_at: float


class Conversations:
    """Follows conversations; thread-safe."""

    def __init__(self, *, rule: Rule, pause_s: float, most: int = MOST_COURSES) -> None:
        """Begin with none.

        Args:
            rule: When to warn.
            pause_s: Seconds without a turn after which a conversation is over.
            most: How many are followed at once.
        """
        self._rule, self._pause_s, self._most = rule, min(pause_s, SESSION_S), most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Place, Kept] = OrderedDict()
        self.alerts = Alerts()
        self._withdrawn_at: dict[SubjectId, float] = {}

    def follow(
        self,
        conversation: str,
        turn: str,
        reading: Reading,
        *,
        permit: Permit,
        subject: SubjectId,
        now: float,
    ) -> Outlook:
        """Take one more turn of the person into account; return what may be said.

        Raises:
            PermitInvalid: Not a permit to keep this person's reading for service now, or the
                person withdrew after it was issued.
        """
        permit.cover(action=Action.STORE, purpose=Purpose.SERVICE, subject=subject, now=now)
        place = place_of(subject, conversation)
        with self._lock:
            self._check_fresh(permit, subject)
            before = self._kept.pop(place, None)
            if before is None or self._over(before, now):
                before = Kept(course=Course(), began_at=now, moved_at=now)
            course = follow(before.course, _moment(turn, reading), self._rule)
            self._kept[place] = Kept(course=course, began_at=before.began_at, moved_at=now)
            if len(self._kept) > self._most:
                self._end(frozenset({self._kept.popitem(last=False)[0]}))
        return outlook(course, self._rule)

    def alert(self, alert: Alert, *, permit: Permit) -> None:
        """Open an alert about a conversation that is still followed.

        Raises:
            PermitInvalid: The person withdrew after the permit was issued.
        """
        place = place_of(alert.subject, alert.conversation)
        with self._lock:
            self._check_fresh(permit, alert.subject)
            if place in self._kept:
                self.alerts.open(place, alert)

    def drop(self, subjects: Collection[SubjectId]) -> None:
        """Drop all that is known of these people's conversations."""
        gone = frozenset(subjects)
        with self._lock:
            for place in [place for place in self._kept if place[0] in gone]:
                del self._kept[place]
            self.alerts.close(AlertState.ENDED, lambda place: place[0] in gone)

    def withdraw(self, subjects: Collection[SubjectId], *, now: float) -> None:
        """Drop as `drop` does; from here on, no permit from before moves a course of theirs."""
        with self._lock:
            self._withdrawn_at.update(dict.fromkeys(subjects, now))
        self.drop(subjects)

    def expire(self, *, now: float) -> None:
        """Drop what is over."""
        with self._lock:
            over = [place for place, kept in self._kept.items() if self._over(kept, now)]
            for place in over:
                del self._kept[place]
            self._end(frozenset(over))
            for subject in [s for s, at in self._withdrawn_at.items() if at <= now - SESSION_S]:
                del self._withdrawn_at[subject]  # no permit is that old

    def __len__(self) -> int:
        """How many conversations are followed."""
        return len(self._kept)

    def _end(self, places: frozenset[Place]) -> None:
        self.alerts.close(AlertState.ENDED, lambda place: place in places)

    def _check_fresh(self, permit: Permit, subject: SubjectId) -> None:
        if permit.issued_at <= self._withdrawn_at.get(subject, float("-inf")):
            raise PermitInvalid(
                f"permit {permit.decision_id} is older than a withdrawal: ask the gate again"
            )

    def _over(self, kept: Kept, now: float) -> bool:
        return now - kept.moved_at >= self._pause_s or now - kept.began_at >= SESSION_S


def place_of(subject: SubjectId, conversation: str) -> Place:
    """Return where a conversation's course and alert are kept."""
    return subject, digest_bytes(conversation.encode())


def _moment(turn: str, reading: Reading) -> Moment | None:
    if reading.valence is None:
        return None
    return Moment(turn=turn, strain=-reading.valence, cue=reading.cue)
