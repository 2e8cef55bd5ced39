"""The book of legal holds: kept in the log alone, in force from the entry that says so.

A hold about a person names nobody in its leaf: whose it is lies in the entry's payload, sealed
with a key of the hold's own, and that key is destroyed when the hold is lifted. Each step is
1. checked, 2. logged, 3. in force.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from audit.errors import ErasureHeld, EvidenceUnavailable, HoldRefused, HoldUnknown, KeystoreError
from audit.events import Event, EventKind, Value
from audit.hold import (
    CONFIRM_S,
    Hold,
    HoldReason,
    HoldStep,
    Scope,
    after,
    fields_of,
    hold_to_dict,
    propose,
)
from audit.keystore import Keystore
from audit.log import EvidenceLog
from policies.clock import Clock
from policies.vocabulary import SubjectId

_ID_BYTES = 8
_MOST_STEPS = 100_000


class HoldBook:
    """The one writer of holds; thread-safe."""

    def __init__(
        self,
        log: EvidenceLog,
        *,
        clock: Clock,
        keystore: Keystore | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Read the holds from the log.

        Raises:
            EvidenceUnavailable: The log or the keystore cannot be read.
            LogTampered: A payload is not the one that was committed to.
        """
        self._log, self._clock, self._keystore = log, clock, keystore
        self._randomness = randomness
        self._lock = threading.RLock()
        self._holds = dict[str, Hold]()
        self._waiting = dict[str, set[SubjectId]]()
        for entry in reversed(log.find(EventKind.HOLD_STEP, _MOST_STEPS)):
            self._replay(entry.index, entry.event)

    @contextmanager
    def standing(self) -> Iterator[list[Hold]]:
        """Hold still: no hold is placed or lifted until the block ends; yields those in force."""
        with self._lock:
            yield self.in_force()

    def in_force(self) -> list[Hold]:
        """Return the holds in force, oldest first."""
        now = self._clock()
        return [hold for hold in self.all() if hold.holds(now)]

    def all(self) -> list[Hold]:
        """Return every hold that was ever placed, oldest first."""
        with self._lock:
            return list(self._holds.values())

    def told(self, concerns: Callable[[SubjectId], bool]) -> list[dict[str, Any]]:
        """Return the holds in force as a node is told them, of people only whom it may know."""
        return [
            hold_to_dict(hold)
            for hold in self.in_force()
            if hold.scope.person is None or concerns(hold.scope.person)
        ]

    def place(self, reason: HoldReason, scope: Scope, *, review_at: float, by: str) -> Hold:
        """Propose a hold; it holds at once, and lapses in a day unless another confirms it.

        Raises:
            HoldRefused: A particular is wrong, or a person is meant and there is no keystore.
            EvidenceUnavailable: It could not be logged: it does not hold.
        """
        if scope.person is not None and self._keystore is None:
            raise HoldRefused("this service keeps nothing of people: place the hold where it is")
        with self._lock:
            hold = self._randomness(_ID_BYTES).hex()
            event = self._event(
                hold,
                HoldStep.PROPOSED,
                by,
                reason=reason.value,
                since=scope.since,
                until=scope.until,
                kinds=sorted(scope.kinds) or None,
                person=True if scope.person is not None else None,
                review=review_at,
            )
            made = propose(event, scope.person)  # 1
            if scope.person is None:
                self._log.append(event)  # 2
            else:
                whose = {"subject": scope.person}
                self._log.append(event, private=whose, subject=_holder(hold))  # 2
            self._holds[hold] = made  # 3
            return made

    def confirm(self, hold: str, *, by: str) -> Hold:
        """Confirm what another proposed; from here it holds until it is lifted by two."""
        return self._step(hold, HoldStep.CONFIRMED, by)

    def review(self, hold: str, review_at: float, *, by: str) -> Hold:
        """Record that it was looked at and is still needed, and when it is looked at again."""
        return self._step(hold, HoldStep.REVIEWED, by, review=review_at)

    def propose_lift(self, hold: str, *, by: str) -> Hold:
        """Propose to lift a hold; it changes nothing by itself."""
        return self._step(hold, HoldStep.LIFT_PROPOSED, by)

    def lift(self, hold: str, *, by: str) -> Hold:
        """Lift what another proposed to lift; then `released` and `settle` are due.

        Raises:
            HoldRefused: Nobody else proposed it within the hour.
        """
        return self._step(hold, HoldStep.LIFTED, by)

    def released(self) -> frozenset[SubjectId]:
        """Return who asked for erasure under a hold that no longer holds."""
        now = self._clock()
        with self._lock:
            over = [name for name, hold in self._holds.items() if not hold.holds(now)]
            return frozenset(who for name in over for who in self._waiting.get(name, ()))

    def settle(self) -> None:
        """Forget whom the holds that no longer hold were about, once erasures are done.

        Raises:
            EvidenceUnavailable: The keystore cannot destroy their keys: do it again.
        """
        now = self._clock()
        with self._lock:
            over = {name for name, hold in self._holds.items() if not hold.holds(now)}
            for name in over:
                self._waiting.pop(name, None)
            if self._keystore is None or not over:
                return
            try:
                self._keystore.destroy_many(map(_holder, over))
            except KeystoreError as error:
                raise EvidenceUnavailable("a lifted hold's key cannot be destroyed") from error

    def refuse_erasure(self, person: SubjectId, *, by: str) -> None:
        """As `check_erasure`; a refusal is logged once for each hold, to be made good later."""
        with self._lock:
            stopping = self._stopping(person)
            if stopping is not None and person not in self._waiting.get(stopping.hold, ()):
                event = self._event(stopping.hold, HoldStep.ERASURE_REFUSED, by, person=True)
                whose = {"subject": person}
                self._log.append(event, private=whose, subject=_holder(stopping.hold))
                self._waiting.setdefault(stopping.hold, set()).add(person)
        self.check_erasure(person)

    def check_erasure(self, person: SubjectId) -> None:
        """Return if nothing that is kept of a person is held.

        Raises:
            ErasureHeld: A hold covers it; says why and when that is looked at again.
            EvidenceUnavailable: The log or the keystore cannot be read.
        """
        with self._lock:
            stopping = self._stopping(person)
        if stopping is not None:
            raise ErasureHeld(
                f"what is kept as evidence cannot be erased now: {stopping.words()} (hold "
                f"{stopping.hold}). It is restricted and used for nothing else (GDPR 18(1)(c), "
                "18(2)). You may complain to the supervisory authority, or go to court "
                "(GDPR 12(4))"
            )

    def state(self, hold: Hold) -> dict[str, Any]:
        """Return a hold as JSON values; whether it is about a person, never about whom."""
        now = self._clock()
        in_force = hold.holds(now)
        return {
            "hold": hold.hold,
            "reason": hold.reason.value,
            "since": hold.scope.since,
            "until": hold.scope.until,
            "kinds": sorted(hold.scope.kinds),
            "about_a_person": hold.scope.person is not None or hold.scope.anybody,
            "review_at": hold.review_at,
            "review_overdue": in_force and now > hold.review_at,
            "in_force": in_force,
            "confirmed": hold.confirmed_by is not None,
            "lapses_at": None if hold.confirmed_by else hold.proposed_at + CONFIRM_S,
            "proposed_by": hold.proposed_by,
            "confirmed_by": hold.confirmed_by,
            "lift_proposed_by": hold.lift_proposed_by,
            "lifted_at": hold.lifted_at,
        }

    def _stopping(self, person: SubjectId) -> Hold | None:
        """Return a hold that covers something of a person, None where none does."""
        held = self.in_force()
        if not held:
            return None
        if whole := [hold for hold in held if hold.scope.covers_all_of(person)]:
            return whole[0]
        entries = [self._log.entry(index).event for index in self._log.sealed_for(person)]
        for hold in held:
            if any(hold.scope.covers(event.kind, (event.at,), person) for event in entries):
                return hold
        return None

    def _step(self, hold: str, step: HoldStep, by: str, **details: Value) -> Hold:
        with self._lock:
            found = self._holds.get(hold)
            if found is None:
                raise HoldUnknown("no such hold: see `hold list`")
            event = self._event(hold, step, by, **details)
            moved = after(found, event)  # 1
            self._log.append(event)  # 2
            self._holds[hold] = moved  # 3
            return moved

    def _event(self, hold: str, step: HoldStep, by: str, **details: Value) -> Event:
        fields = fields_of(hold, step, by, **details)
        return Event(kind=EventKind.HOLD_STEP, at=self._clock(), fields=fields)

    def _replay(self, index: int, event: Event) -> None:
        """Take a step that was logged; it was checked before."""
        hold, found = str(event.fields["hold"]), self._holds.get(str(event.fields["hold"]))
        whose = self._log.payload(index) if event.fields.get("person") else None
        person = None if whose is None else SubjectId(str(whose["subject"]))
        if found is None:
            self._holds[hold] = propose(event, person)
            return
        self._holds[hold] = after(found, event)
        if person is not None:
            self._waiting.setdefault(hold, set()).add(person)


def people_of(keystore: Keystore | None) -> dict[bytes, SubjectId]:
    """Return the person of each living key; nobody without a keystore.

    Raises:
        EvidenceUnavailable: The keystore cannot be read.
    """
    if keystore is None:
        return {}
    try:
        return keystore.key_ids()
    except KeystoreError as error:
        raise EvidenceUnavailable("the keystore cannot say whose keys these are") from error


def _holder(hold: str) -> SubjectId:
    """Name whose key seals whom a hold is about: the hold's own, no person's."""
    return SubjectId(f"hold.{hold}")
