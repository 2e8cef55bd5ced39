"""What a person did, as records that are only ever added; Standing is computed from them.

A record is one act that concerns one person: their being asked, an answer put off or refused, a
grant, a withdrawal of one purpose, an objection, a restriction, an erasure; or the company's
revocation, or an invalidation, of a consent. `standing_of` folds them, in the order of their
sequence numbers, into the Standing that the rules read; `consent.states` into the states that
DPV names. How an answer was caught is `consent.capture`. Nothing here stores, signs or decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

from consent.capture import (
    Capture,
    Channel,
    Guardian,
    Layer,
    Relation,
    Shown,
    Verified,
    is_sign,
)
from consent.errors import RequestInvalid
from policies.standing import Grant, Standing
from policies.vocabulary import (
    AgeBand,
    Modality,
    NodeId,
    Purpose,
    Role,
    SubjectId,
    Vulnerability,
)

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """Consent for purposes x modalities, by an affirmative act, under one notice.

    `act` says how the person did it (`consent.capture.Sign`); `informed` that the notice was
    shown first, `shown` what of it and by which channel, `capture` the proof (both None where
    the node did not say); `guardian` who said it for a minor; `answers` and `confirms` the
    records of the request and of the unconfirmed yes that it completes; `valid_days` how long it
    lasts from the record's time.
    """

    purposes: frozenset[Purpose]
    modalities: frozenset[Modality]
    notice_version: int
    act: str
    role: Role
    age: AgeBand
    vulnerabilities: frozenset[Vulnerability]
    informed: bool
    valid_days: int
    jurisdiction: str
    shown: Shown | None = None
    capture: Capture | None = None
    guardian: Guardian | None = None
    answers: str | None = None
    confirms: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What is already known of the answer to a request that its person gives on a page.

    Open until the Unix second `until`. With `confirm_hours` a yes counts only when it is
    confirmed in that time, by a token that was sent elsewhere (`confirm_digest` is its SHA-256).
    """

    channel: Channel
    until: int
    valid_days: int
    role: Role
    age: AgeBand
    vulnerabilities: frozenset[Vulnerability]
    jurisdiction: str
    confirm_hours: int | None = None
    confirm_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A request for consent that the person saw, and has not answered yet."""

    purposes: frozenset[Purpose]
    modalities: frozenset[Modality]
    notice_version: int
    invitation: Invitation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """A yes that counts for nothing until its token comes back, by the Unix second `until`.

    `confirm_digest` is the SHA-256 of a token that was given out before; None makes a new one.
    """

    granted: Granted
    until: int
    confirm_digest: str | None = None

    @property
    def purposes(self) -> frozenset[Purpose]:
        """What it would be for."""
        return self.granted.purposes


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """A request that the person put off without an answer: neither a yes nor a no."""

    purposes: frozenset[Purpose]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The person's no (rule 18); where a consent was in force it ends."""

    purposes: frozenset[Purpose]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The end of a consent by the company, which no longer relies on it."""

    purposes: frozenset[Purpose]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidated:
    """The finding that a consent was never good; `finding` is the reference of it."""

    purposes: frozenset[Purpose]
    by: str
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """Withdrawal of one purpose (GDPR 7(3)); a later grant restores it."""

    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Objected:
    """Objection to purposes (GDPR 21); no later grant undoes it."""

    purposes: frozenset[Purpose]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """Restriction of processing, set or lifted (GDPR 18)."""

    restricted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """Erasure of everything (GDPR 17); final for this pseudonym."""


Act = (
    Granted
    | Requested
    | Unconfirmed
    | Deferred
    | Refused
    | Withdrawn
    | Revoked
    | Invalidated
    | Objected
    | Restricted
    | Erased
)
Ending = Withdrawn | Refused | Revoked | Invalidated
"""The acts after which the consent they name is no longer in force."""


def is_explicit(granted: Granted) -> bool:
    """Return whether the person did something to say yes (GDPR 4(11), recital 32)."""
    return is_sign(granted.act, None if granted.shown is None else granted.shown.channel)


def purposes_ended(act: Act) -> frozenset[Purpose]:
    """Return the purposes whose consent an act ends; none for an act that ends none."""
    match act:
        case Withdrawn(purpose=purpose):
            return frozenset({purpose})
        case Refused() | Revoked() | Invalidated():
            return act.purposes
        case _:
            return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One act of one person, as the ledger keeps it.

    `sequence` orders all records of the service; `at` is the Unix second; `node` is the branch
    through which it came, None when the person used the manage token.
    """

    sequence: int
    record_id: str
    company: str
    subject: SubjectId
    node: NodeId | None
    at: float
    act: Act


def standing_of(records: Iterable[Record], *, subject: SubjectId, as_of: int) -> Standing:
    """Return what these records mean for one person, vouched for at the Unix second `as_of`.

    The order in which the records are handed over does not matter, and records of other
    people are passed over. A withdrawal ends the grants before it; a grant after it restores
    the purpose; an objection stays; an erasure is final. Without records nothing is granted.
    """
    standing = Standing(subject=subject, as_of=as_of)
    mine = (record for record in records if record.subject == subject)
    for record in sorted(mine, key=lambda record: record.sequence):
        standing = _after(standing, record)
    return standing


def _after(standing: Standing, record: Record) -> Standing:
    if standing.erased or isinstance(record.act, Requested | Unconfirmed | Deferred):
        return standing
    match record.act:
        case Granted() as granted:
            return _after_grant(standing, granted, int(record.at))
        case Withdrawn() | Refused() | Revoked() | Invalidated() as ending:
            return _after_end(standing, ending, int(record.at))
        case Objected(purposes=purposes):
            return replace(
                standing,
                objected=standing.objected | purposes,
                refused=_said_no(standing, purposes, int(record.at)),
            )
        case Restricted(restricted=restricted):
            return replace(standing, restricted=restricted)
        case Erased():
            return Standing(
                subject=standing.subject,
                as_of=standing.as_of,
                withdrawn=frozenset(Purpose),
                erased=True,
            )


def _after_end(standing: Standing, ending: Ending, at: int) -> Standing:
    """Return the standing without the consents that ended; rule 18 counts the person's own no."""
    purposes = purposes_ended(ending)
    by_the_person = isinstance(ending, Withdrawn | Refused)
    in_force = frozenset(g.purpose for g in standing.grants) & purposes
    return replace(
        standing,
        grants=tuple(g for g in standing.grants if g.purpose not in purposes),
        withdrawn=standing.withdrawn | (purposes if isinstance(ending, Withdrawn) else in_force),
        refused=_said_no(standing, purposes, at) if by_the_person else standing.refused,
    )


def _after_grant(standing: Standing, granted: Granted, at: int) -> Standing:
    new = tuple(
        Grant(
            purpose=purpose,
            modalities=granted.modalities,
            notice_version=granted.notice_version,
            explicit=is_explicit(granted),
            granted_at=at,
            expires_at=at + granted.valid_days * DAY_S,
        )
        for purpose in sorted(granted.purposes)
    )
    kept = tuple(
        g
        for g in standing.grants
        if not (g.purpose in granted.purposes and g.modalities <= granted.modalities)
    )
    first_informed = standing.informed_at
    if first_informed is None and granted.informed:
        first_informed = at
    return replace(
        standing,
        role=granted.role,
        age=granted.age,
        vulnerabilities=granted.vulnerabilities,
        grants=(*kept, *new),
        informed_at=first_informed,
        withdrawn=standing.withdrawn - granted.purposes,
        refused=tuple(r for r in standing.refused if r[0] not in granted.purposes),
    )


def _said_no(
    standing: Standing, purposes: frozenset[Purpose], at: int
) -> tuple[tuple[Purpose, int], ...]:
    """Return when each purpose was last refused, in order of purpose (rule 18)."""
    return tuple(sorted((dict(standing.refused) | dict.fromkeys(purposes, at)).items()))


_KINDS: dict[str, type[Act]] = {
    "grant": Granted,
    "request": Requested,
    "unconfirmed": Unconfirmed,
    "deferral": Deferred,
    "refusal": Refused,
    "withdrawal": Withdrawn,
    "revocation": Revoked,
    "invalidation": Invalidated,
    "objection": Objected,
    "restriction": Restricted,
    "erasure": Erased,
}
_NAMES = {act: kind for kind, act in _KINDS.items()}
_READERS: dict[str, Callable[[Any], Any]] = {
    "purpose": Purpose,
    "purposes": lambda value: frozenset(Purpose(v) for v in value),
    "modalities": lambda value: frozenset(Modality(v) for v in value),
    "vulnerabilities": lambda value: frozenset(Vulnerability(v) for v in value),
    "role": Role,
    "age": AgeBand,
    "notice_version": int,
    "valid_days": int,
    "informed": bool,
    "restricted": bool,
    "channel": Channel,
    "layer": Layer,
    "relation": Relation,
    "verified": Verified,
    "until": int,
    "confirm_hours": int,
    "shown": lambda value: Shown(**_read(value)),
    "capture": lambda value: Capture(**_read(value)),
    "guardian": lambda value: Guardian(**_read(value)),
    "invitation": lambda value: Invitation(**_read(value)),
    "granted": lambda value: Granted(**_read(value)),
}


def _read(value: dict[str, Any]) -> dict[str, Any]:
    return {name: _READERS.get(name, str)(of) for name, of in value.items()}


def act_to_dict(act: Act) -> dict[str, Any]:
    """Return the act as JSON values, sets sorted, with its kind; what is None is left out."""
    return {"kind": _NAMES[type(act)]} | _values(act)


def _values(value: Any) -> dict[str, Any]:
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _as_json(of) for name, of in given.items() if of is not None}


def _as_json(value: object) -> object:
    match value:
        case frozenset():
            return sorted(value)
        case StrEnum():
            return value.value
        case _ if is_dataclass(value):
            return _values(value)
        case _:
            return value


def act_from_dict(value: dict[str, Any]) -> Act:
    """Rebuild an act from `act_to_dict`.

    Raises:
        RequestInvalid: A field is missing or names something unknown.
    """
    try:
        kind = _KINDS.get(value["kind"])
        if kind is None:
            raise RequestInvalid(f"{value['kind']!r} is not a kind of consent record")
        return kind(**_read({name: of for name, of in value.items() if name != "kind"}))
    except (KeyError, TypeError, ValueError) as error:
        raise RequestInvalid(f"not a consent record: {type(error).__name__}") from error
