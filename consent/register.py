"""Registers that an authority asks for: breaches, the stop switch's lifting, human oversight.

Three pure state machines over the same kind of step. They say what is missing and refuse what
must not be; who may take a step, storage and time are elsewhere.

**Breaches** (GDPR 33, 34): every one is registered, notified or not. The authority hears within
the hours of the law from the moment it was known; a processor tells its controller at once; the
people hear where the risk is high. Nothing is closed without what it requires: the notification,
or a reason why there is none.

**Lifting the stop switch** takes two people: one proposes, another confirms; a proposal lapses.

**Oversight** (AI Act 14, 26(2)): a named person, for a purpose, from and until, with the
statement of their competence as a digest of the document that says it. The name is of an account
that can act, now and as long as the appointment is to hold (`check_overseer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from audit.staff import StaffRole
from consent.errors import Conflict, EvidenceMissing, RequestInvalid
from policies.law import LAW
from policies.vocabulary import Purpose

HOUR_S = 3600
LIFT_S = HOUR_S
"""How long a proposal to lift the stop switch waits for a second person."""


class Register(StrEnum):
    """Which register an entry is in."""

    BREACH = "breach"
    LIFT = "lift"
    OVERSIGHT = "oversight"
    DOCUMENT = "document"
    RELEASE = "release"
    REMINDER = "reminder"


class Risk(StrEnum):
    """How great the risk to people's rights and freedoms is (GDPR 33(1), 34(1))."""

    UNLIKELY = "unlikely"  # registered, with the reason; nobody need be told
    LIKELY = "likely"  # the authority is told
    HIGH = "high"  # and the people


class Part(StrEnum):
    """As what the organisation holds the data."""

    CONTROLLER = "controller"
    PROCESSOR = "processor"  # tells the controller without undue delay (33(2))


class Told(StrEnum):
    """Who was told of a breach."""

    AUTHORITY = "authority"
    CONTROLLER = "controller"
    PEOPLE = "people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step of one entry, as stored; `details` are words, numbers and digests."""

    register: Register
    entry: str
    step: str
    at: float
    by: str
    details: Mapping[str, Any] = field(default_factory=dict)


# -- breaches -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A breach as its steps have made it; times are Unix seconds."""

    breach: str
    known_at: float
    part: Part
    risk: Risk
    digest: str
    told: Mapping[Told, float] = field(default_factory=dict)
    late_reason: str | None = None
    reason: str | None = None
    closed_at: float | None = None

    def must_tell(self) -> frozenset[Told]:
        """Return who must be told."""
        if self.part is Part.PROCESSOR:
            return frozenset({Told.CONTROLLER})
        wanted = {Risk.UNLIKELY: set[Told](), Risk.LIKELY: {Told.AUTHORITY}}
        return frozenset(wanted.get(self.risk, {Told.AUTHORITY, Told.PEOPLE}))

    def due_at(self) -> float:
        """Return by when the first must be told: at once for a processor, else by the law."""
        if self.part is Part.PROCESSOR:
            return self.known_at
        return self.known_at + LAW.clocks.breach_notice_hours * HOUR_S

    def missing(self) -> tuple[str, ...]:
        """Return in words what must be shown before it can be closed."""
        lacking = [f"not told: {who}" for who in sorted(self.must_tell() - set(self.told))]
        if not self.must_tell() and self.reason is None:
            lacking.append("no reason why nobody need be told (GDPR 33(5))")
        if self.lacks_why_late():
            lacking.append(
                "no reason for telling the authority late (GDPR 33(1)): record it as told, with it"
            )
        return tuple(lacking)

    def lacks_why_late(self) -> bool:
        """Return whether the authority was told late and nobody said why."""
        at = self.told.get(Told.AUTHORITY)
        return at is not None and at > self.due_at() and self.late_reason is None


def breach_of(steps: Iterable[Entry]) -> Breach:
    """Fold the steps of one breach.

    Raises:
        Conflict, EvidenceMissing, RequestInvalid: A step that it does not take.
    """
    found: Breach | None = None
    for step in steps:
        found = after_breach(found, step)
    if found is None:
        raise RequestInvalid("a breach without a first step")
    return found


def after_breach(breach: Breach | None, step: Entry) -> Breach:
    """Return the breach with one more step: registered, told, assessed, closed.

    Raises:
        Conflict: Not now: closed already, or told already.
        EvidenceMissing: It would be closed without what it requires.
        RequestInvalid: A particular is missing or wrong.
    """
    try:
        return _after_breach(breach, step)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestInvalid(f"breach, {step.step}: a particular is missing or wrong") from error


def _after_breach(breach: Breach | None, step: Entry) -> Breach:
    told = step.details
    if breach is None:
        if step.step != "registered" or float(told["known_at"]) > step.at:
            raise RequestInvalid("a breach begins by being registered, known at a time before now")
        return Breach(
            breach=step.entry,
            known_at=float(told["known_at"]),
            part=Part(told["part"]),
            risk=Risk(told["risk"]),
            digest=str(told["digest"]),
            reason=told.get("reason"),
        )
    if breach.closed_at is not None:
        raise Conflict(f"breach {breach.breach} is closed")
    match step.step:
        case "assessed":
            return replace(breach, risk=Risk(told["risk"]), reason=told.get("reason"))
        case "told":
            who = Told(told["who"])
            if who is Told.AUTHORITY and breach.lacks_why_late() and told.get("reason"):
                return replace(breach, late_reason=told["reason"])
            if who in breach.told:
                raise Conflict(f"breach {breach.breach}: the {who} was told already")
            late = told.get("reason") or breach.late_reason
            return replace(breach, told={**breach.told, who: step.at}, late_reason=late)
        case "closed":
            if lacking := breach.missing():
                raise EvidenceMissing(
                    f"breach {breach.breach} cannot be closed: {'; '.join(lacking)}"
                )
            return replace(breach, closed_at=step.at)
        case _:
            raise RequestInvalid(f"a breach has no step {step.step}")


# -- the stop switch ----------------------------------------------------------------------


def check_second(proposal: Entry | None, *, by: str, now: float) -> None:
    """Return if somebody may confirm the lifting that another proposed.

    Raises:
        EvidenceMissing: Nobody proposed it, the proposal lapsed, or it is the same person.
    """
    if proposal is None or proposal.step != "proposed" or now > proposal.at + LIFT_S:
        raise EvidenceMissing("nobody has proposed to lift the stop within the last hour: propose")
    if proposal.by.casefold() == by.casefold():
        raise EvidenceMissing("who proposed to lift the stop cannot confirm it: ask another")


# -- oversight ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """Who oversees what, from and until (Unix seconds); `competence` is a document's digest."""

    appointment: str
    person: str
    purpose: Purpose
    since: float
    until: float
    competence: str
    ended_at: float | None = None

    def holds(self, now: float) -> bool:
        """Return whether it is in force."""
        return self.since <= now < self.until and self.ended_at is None


OVERSEERS = (StaffRole.OFFICER, StaffRole.DPO, StaffRole.OPERATOR)
"""The roles that can stop every use at once, as oversight must be able to (AI Act 14(4)(e))."""
ABLE = "active"
UNABLE: Mapping[str, str] = MappingProxyType(
    {
        "none": "has no account here",
        "invited": "has not begun with the account",
        "disabled": "has an account that is closed",
        "no-role": "has no role that can stop a use",
    }
)
"""Why an account cannot oversee, by how it stands (`audit.portal.accounts`)."""


def check_overseer(account: str) -> None:
    """Return if who has this account can oversee; `account` says how it stands.

    Raises:
        RequestInvalid: They cannot act: no account, or none that can stop a use.
    """
    if account != ABLE:
        raise RequestInvalid(
            f"who oversees must be able to stop a use (AI Act 14(4)), and the person named "
            f"{UNABLE[account]}: `undertone-trust staff list` has who is officer, dpo or operator; "
            "who comes by the identity provider signs in once before",
            field="person",
        )


def appointment_of(steps: Iterable[Entry]) -> Appointment:
    """Fold the steps of one appointment: appointed, ended.

    Raises:
        Conflict, RequestInvalid: A step that it does not take.
    """
    found: Appointment | None = None
    for step in steps:
        found = after_appointment(found, step)
    if found is None:
        raise RequestInvalid("an appointment without a first step")
    return found


def after_appointment(found: Appointment | None, step: Entry) -> Appointment:
    """Return the appointment with one more step.

    Raises:
        Conflict: It has ended.
        RequestInvalid: A particular is missing or wrong, or it ends before it begins.
    """
    if found is not None:
        if found.ended_at is not None or step.step != "ended":
            raise Conflict(f"appointment {found.appointment} has ended, or takes no such step")
        return replace(found, ended_at=step.at)
    told = step.details
    try:
        made = Appointment(
            appointment=step.entry,
            person=str(told["person"]),
            purpose=Purpose(told["purpose"]),
            since=float(told["since"]),
            until=float(told["until"]),
            competence=str(told["competence"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RequestInvalid("an appointment lacks a particular or has a wrong one") from error
    if made.until <= made.since:
        raise RequestInvalid("an appointment ends after it begins: give a later until")
    return made
