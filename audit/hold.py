"""Legal holds: what must be kept for a while whatever its period says, and why.

A hold is nothing but its steps, each an entry of the log:

    proposed       by one; it holds from here, so that nothing is lost while a second is asked
    confirmed      by another, within a day; unconfirmed it lapses
    reviewed       looked at again, with a new day of review; a review that is late frees nothing
    lift-proposed  by one
    lifted         by another, within an hour
    erasure-refused  somebody asked for erasure meanwhile; done when the hold is lifted

While it holds, neither expiry nor erasure removes what it covers. The person is told why, and
when it is looked at again (GDPR 12(4), 17(3)). Pure: steps come as arguments.
Not here: where steps are kept, and whose pseudonym a hold is about (`audit.hold_book`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from audit.errors import HoldRefused
from audit.events import Event, EventKind, Value
from policies.vocabulary import SubjectId

CONFIRM_S = 86_400.0
"""How long a proposal holds without a second person."""

REVIEW_S = 366 * 86_400.0
"""How long a hold may stand before somebody looks at it again."""

LIFT_S = 3600.0
"""How long a proposal to lift waits for a second person."""


class HoldReason(StrEnum):
    """Why something must be kept; a closed set, for the reason is told to people."""

    LEGAL_CLAIM = "legal-claim"
    AUTHORITY = "authority-request"
    INCIDENT = "serious-incident"


GROUNDS = MappingProxyType(
    {
        HoldReason.LEGAL_CLAIM: "it is needed for a legal claim (GDPR 17(3)(e))",
        HoldReason.AUTHORITY: "an authority asked for it (GDPR 17(3)(b))",
        HoldReason.INCIDENT: "a serious incident is examined (GDPR 17(3)(b), AI Act 73)",
    }
)


class HoldStep(StrEnum):
    """What was done about a hold."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    REVIEWED = "reviewed"
    LIFT_PROPOSED = "lift-proposed"
    LIFTED = "lifted"
    ERASURE_REFUSED = "erasure-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a hold covers: all of what is given; nothing given is everything.

    `since` and `until` are Unix seconds of entries. A hold on a person whose name cannot be
    read any more covers everybody's (`anybody`), rather than nobody's.
    """

    since: float | None = None
    until: float | None = None
    kinds: frozenset[EventKind] = frozenset()
    person: SubjectId | None = None
    anybody: bool = False

    def covers(self, kind: EventKind, times: tuple[float, ...], whose: SubjectId | None) -> bool:
        """Return whether an entry is covered at any of the times that it may be of."""
        if self.kinds and kind not in self.kinds:
            return False
        if self.person is not None and whose != self.person:
            return False
        low = float("-inf") if self.since is None else self.since
        high = float("inf") if self.until is None else self.until
        return any(low <= at < high for at in times)

    def covers_all_of(self, person: SubjectId) -> bool:
        """Return whether everything of a person is covered, whatever there is."""
        narrow = self.kinds or self.since is not None or self.until is not None
        return not narrow and (self.person is None or self.person == person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold as its steps have made it; times are Unix seconds."""

    hold: str
    reason: HoldReason
    scope: Scope
    review_at: float
    proposed_by: str
    proposed_at: float
    confirmed_by: str | None = None
    lift_proposed_by: str | None = None
    lift_proposed_at: float | None = None
    lifted_at: float | None = None

    def holds(self, now: float) -> bool:
        """Return whether it is in force."""
        if self.lifted_at is not None:
            return False
        return self.confirmed_by is not None or now <= self.proposed_at + CONFIRM_S

    def words(self) -> str:
        """Return why, and when it is looked at again, as a person is told."""
        day = datetime.fromtimestamp(self.review_at, UTC).date().isoformat()
        return f"{GROUNDS[self.reason]}; whether that is still so is looked at by {day}"


class Holds(Protocol):
    """What says which holds are in force: the book of a service, or what a node was told."""

    def standing(self) -> AbstractContextManager[list[Hold]]:
        """Hold still: no hold is placed or lifted until the block ends; yields those in force."""
        ...

    def in_force(self) -> list[Hold]:
        """Return the holds in force, oldest first."""
        ...


def hold_to_dict(hold: Hold) -> dict[str, Any]:
    """Return a hold as JSON values for a node, with whom it is about."""
    scope = hold.scope
    return {
        "hold": hold.hold,
        "reason": hold.reason.value,
        "since": scope.since,
        "until": scope.until,
        "kinds": sorted(scope.kinds),
        "subject": scope.person,
        "review_at": hold.review_at,
        "proposed_by": hold.proposed_by,
        "proposed_at": hold.proposed_at,
        "confirmed_by": hold.confirmed_by,
    }


def hold_from_dict(value: Mapping[str, Any]) -> Hold:
    """Rebuild a hold.

    Raises:
        KeyError, TypeError, ValueError: Not a hold.
    """
    subject = value["subject"]
    return Hold(
        hold=str(value["hold"]),
        reason=HoldReason(value["reason"]),
        scope=Scope(
            since=_second(value["since"]),
            until=_second(value["until"]),
            kinds=frozenset(EventKind(kind) for kind in value["kinds"]),
            person=None if subject is None else SubjectId(str(subject)),
        ),
        review_at=float(value["review_at"]),
        proposed_by=str(value["proposed_by"]),
        proposed_at=float(value["proposed_at"]),
        confirmed_by=value["confirmed_by"],
    )


def propose(event: Event, person: SubjectId | None) -> Hold:
    """Return the hold that a first step makes.

    Raises:
        HoldRefused: A particular is missing or wrong.
    """
    told = event.fields
    try:
        since, until = _second(told.get("since")), _second(told.get("until"))
        said = told.get("kinds") or []
        kinds = frozenset(
            EventKind(str(kind)) for kind in (said if isinstance(said, list) else [said])
        )
        about = bool(told.get("person"))
        made = Hold(
            hold=str(told["hold"]),
            reason=HoldReason(str(told["reason"])),
            scope=Scope(
                since=since,
                until=until,
                kinds=kinds,
                person=person,
                anybody=about and person is None,
            ),
            review_at=float(str(told["review"])),
            proposed_by=str(told["by"]),
            proposed_at=event.at,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise HoldRefused("a hold needs a reason, a review day, and known kinds") from error
    if since is not None and until is not None and until <= since:
        raise HoldRefused("a hold's range ends after it begins: give a later end")
    _check_review(made.review_at, event.at)
    return made


def after(hold: Hold, event: Event) -> Hold:
    """Return the hold with one more step.

    Raises:
        HoldRefused: Not now, or not by this person.
    """
    step, by, at = HoldStep(str(event.fields["step"])), str(event.fields["by"]), event.at
    if not hold.holds(at):
        raise HoldRefused(f"hold {hold.hold} is lifted, or lapsed unconfirmed: place another")
    match step:
        case HoldStep.CONFIRMED:
            _check_other(hold.proposed_by, by, "place it")
            if hold.confirmed_by is not None:
                raise HoldRefused(f"hold {hold.hold} is confirmed already")
            return replace(hold, confirmed_by=by)
        case HoldStep.REVIEWED:
            review_at = float(str(event.fields["review"]))
            _check_review(review_at, at)
            return replace(hold, review_at=review_at)
        case HoldStep.LIFT_PROPOSED:
            return replace(hold, lift_proposed_by=by, lift_proposed_at=at)
        case HoldStep.LIFTED:
            _check_lifter(hold, by, at)
            return replace(hold, lifted_at=at)
        case HoldStep.ERASURE_REFUSED:
            return hold
        case HoldStep.PROPOSED:
            raise HoldRefused(f"hold {hold.hold} is proposed already")


def fields_of(hold: str, step: HoldStep, by: str, **details: Value) -> dict[str, Value]:
    """Return the fields of a step's entry, without what is not given."""
    given = {name: value for name, value in details.items() if value is not None}
    return {"hold": hold, "step": step.value, "by": by, **given}


def _check_review(review_at: float, at: float) -> None:
    if not at < review_at <= at + REVIEW_S:
        raise HoldRefused("a hold is looked at again on a later day, within a year: give one")


def _check_lifter(hold: Hold, by: str, at: float) -> None:
    if hold.lift_proposed_at is None or at > hold.lift_proposed_at + LIFT_S:
        raise HoldRefused("nobody has proposed to lift it within the last hour: propose")
    _check_other(str(hold.lift_proposed_by), by, "lift it")


def _check_other(first: str, second: str, what: str) -> None:
    if first.casefold() == second.casefold():
        raise HoldRefused(f"who proposed to {what} cannot confirm it: ask another")


def _second(value: Value) -> float | None:
    return None if value is None else float(str(value))
