"""What a person did, as records that are only ever added; Standing is computed from them.

A record is one act of one person: a grant, a withdrawal of one purpose, an objection, a
restriction, an erasure. `standing_of` folds them, in the order of their sequence numbers, into
the Standing that the rules read. Nothing here stores, signs or decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

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
NOT_AN_ACT = frozenset(
    {"none", "silence", "inactivity", "implied", "scrolling", "pre-ticked", "pre_ticked", "default"}
)
"""What recital 32 of the GDPR names as no consent at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """Consent for purposes x modalities, by an affirmative act, under one notice.

    `act` says how the person did it (`ticked_box`, `spoken_yes`); `informed` that the notice
    was shown first; `valid_days` how long it lasts from the record's time.
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


Act = Granted | Withdrawn | Objected | Restricted | Erased


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
    if standing.erased:
        return standing
    match record.act:
        case Granted() as granted:
            return _after_grant(standing, granted, int(record.at))
        case Withdrawn(purpose=purpose):
            return replace(
                standing,
                grants=tuple(g for g in standing.grants if g.purpose is not purpose),
                withdrawn=standing.withdrawn | {purpose},
                refused=_said_no(standing, frozenset({purpose}), int(record.at)),
            )
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


def _after_grant(standing: Standing, granted: Granted, at: int) -> Standing:
    new = tuple(
        Grant(
            purpose=purpose,
            modalities=granted.modalities,
            notice_version=granted.notice_version,
            explicit=granted.act not in NOT_AN_ACT,
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


def act_to_dict(act: Act) -> dict[str, Any]:
    """Return the act as JSON values, sets sorted, with its kind."""
    match act:
        case Granted():
            return {
                "kind": "grant",
                "purposes": sorted(act.purposes),
                "modalities": sorted(act.modalities),
                "notice_version": act.notice_version,
                "act": act.act,
                "role": act.role.value,
                "age": act.age.value,
                "vulnerabilities": sorted(act.vulnerabilities),
                "informed": act.informed,
                "valid_days": act.valid_days,
                "jurisdiction": act.jurisdiction,
            }
        case Withdrawn():
            return {"kind": "withdrawal", "purpose": act.purpose.value}
        case Objected():
            return {"kind": "objection", "purposes": sorted(act.purposes)}
        case Restricted():
            return {"kind": "restriction", "restricted": act.restricted}
        case Erased():
            return {"kind": "erasure"}


def act_from_dict(value: dict[str, Any]) -> Act:
    """Rebuild an act from `act_to_dict`.

    Raises:
        RequestInvalid: A field is missing or names something unknown.
    """
    try:
        return _act_from_dict(value)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestInvalid(f"not a consent record: {type(error).__name__}") from error


def _act_from_dict(value: dict[str, Any]) -> Act:
    match value["kind"]:
        case "grant":
            return Granted(
                purposes=frozenset(Purpose(p) for p in value["purposes"]),
                modalities=frozenset(Modality(m) for m in value["modalities"]),
                notice_version=int(value["notice_version"]),
                act=str(value["act"]),
                role=Role(value["role"]),
                age=AgeBand(value["age"]),
                vulnerabilities=frozenset(Vulnerability(v) for v in value["vulnerabilities"]),
                informed=bool(value["informed"]),
                valid_days=int(value["valid_days"]),
                jurisdiction=str(value["jurisdiction"]),
            )
        case "withdrawal":
            return Withdrawn(purpose=Purpose(value["purpose"]))
        case "objection":
            return Objected(purposes=frozenset(Purpose(p) for p in value["purposes"]))
        case "restriction":
            return Restricted(restricted=bool(value["restricted"]))
        case "erasure":
            return Erased()
        case other:
            raise RequestInvalid(f"{other!r} is not a kind of consent record")
