"""What a person has chosen, and what the organisation has approved, as plain values.

A Standing is all that the rules may know about one person; Governance is all they may know
about the organisation. The consent service signs both; a node only ever holds copies that
age. This module neither fetches nor verifies them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from policies.canonical import Encoded, encode
from policies.vocabulary import AgeBand, Modality, Purpose, Role, SubjectId, Vulnerability


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One consent: a purpose, its modalities and the notice it was given under (GDPR 7).

    Times are Unix seconds. `explicit` is an affirmative act for emotional data (GDPR 9(2)(a)).
    """

    purpose: Purpose
    modalities: frozenset[Modality]
    notice_version: int
    explicit: bool
    granted_at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One person's choices and protections, as the consent service vouched for them.

    `as_of` is the Unix second at which the service last vouched for it; the rules refuse one
    that is too old. `informed_at` is the first exposure to the notice (AI Act 50(3)). `refused`
    says when the person last said no to a purpose or withdrew it (rule 18).
    """

    subject: SubjectId
    as_of: int
    role: Role = Role.CUSTOMER
    age: AgeBand = AgeBand.UNKNOWN
    vulnerabilities: frozenset[Vulnerability] = frozenset()
    grants: tuple[Grant, ...] = ()
    informed_at: int | None = None
    withdrawn: frozenset[Purpose] = frozenset()
    objected: frozenset[Purpose] = frozenset()
    restricted: bool = False
    erased: bool = False
    refused: tuple[tuple[Purpose, int], ...] = ()
    _encoded: Encoded | None = field(default=None, init=False, repr=False, compare=False)
    _timeless: Standing | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def encoded(self) -> Encoded:
        """Canonical bytes and digest of `standing_to_dict`, made when first asked for."""
        found = self._encoded
        if found is None:
            found = encode(standing_to_dict(self))
            object.__setattr__(self, "_encoded", found)
        return found

    @property
    def timeless(self) -> Standing:
        """The same without when it was vouched for: equal as long as nothing else changes.

        Its `as_of` is 0, so that taken for a standing it is long stale.
        """
        if self.as_of == 0:
            return self
        found = self._timeless
        if found is None:
            found = replace(self, as_of=0)
            object.__setattr__(self, "_timeless", found)
        return found

    def vouched(self, as_of: int) -> Standing:
        """Return the standing as vouched for at a Unix second; all else is remembered with it."""
        found = replace(self, as_of=as_of)
        object.__setattr__(found, "_timeless", self.timeless)
        return found

    def grant_for(self, purpose: Purpose, modality: Modality) -> Grant | None:
        """Return the newest grant that names this purpose and modality, or None."""
        named = [g for g in self.grants if g.purpose is purpose and modality in g.modalities]
        return max(named, key=lambda g: g.granted_at, default=None)

    def refused_at(self, purpose: Purpose) -> int:
        """Return the Unix second of the last no to this purpose, 0 where there was none."""
        return max((at for refused, at in self.refused if refused is purpose), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """What the organisation has approved, and whether it has stopped (rules 5, 27)."""

    as_of: int
    stopped: bool
    dpia_purposes: frozenset[Purpose]
    minimum_notice: int
    standing_max_age_s: int
    _encoded: Encoded | None = field(default=None, init=False, repr=False, compare=False)
    _timeless: Governance | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def encoded(self) -> Encoded:
        """Canonical bytes and digest of `governance_to_dict`, made when first asked for."""
        found = self._encoded
        if found is None:
            found = encode(governance_to_dict(self))
            object.__setattr__(self, "_encoded", found)
        return found

    @property
    def timeless(self) -> Governance:
        """The same without when it was vouched for, as of a standing."""
        if self.as_of == 0:
            return self
        found = self._timeless
        if found is None:
            found = replace(self, as_of=0)
            object.__setattr__(self, "_timeless", found)
        return found


def without(standing: Standing, purposes: frozenset[Purpose]) -> Standing:
    """Return the standing once these purposes are withdrawn, where the ledger has yet to hear it.

    When a purpose was refused last (rule 18) is the ledger's to say, and stays as it was.
    """
    return replace(
        standing,
        grants=tuple(g for g in standing.grants if g.purpose not in purposes),
        withdrawn=standing.withdrawn | purposes,
    )


def erased(subject: SubjectId, as_of: int) -> Standing:
    """Return the standing of somebody who was erased."""
    return Standing(subject=subject, as_of=as_of, withdrawn=frozenset(Purpose), erased=True)


def standing_to_dict(standing: Standing) -> dict[str, Any]:
    """Return the standing as JSON values, sets sorted, ready for canonical bytes."""
    return {
        "subject": standing.subject,
        "as_of": standing.as_of,
        "role": standing.role.value,
        "age": standing.age.value,
        "vulnerabilities": sorted(standing.vulnerabilities),
        "grants": [
            {
                "purpose": g.purpose.value,
                "modalities": sorted(g.modalities),
                "notice_version": g.notice_version,
                "explicit": g.explicit,
                "granted_at": g.granted_at,
                "expires_at": g.expires_at,
            }
            for g in standing.grants
        ],
        "informed_at": standing.informed_at,
        "withdrawn": sorted(standing.withdrawn),
        "objected": sorted(standing.objected),
        "restricted": standing.restricted,
        "erased": standing.erased,
        "refused": [[purpose.value, at] for purpose, at in standing.refused],
    }


def standing_from_dict(value: dict[str, Any]) -> Standing:
    """Rebuild a standing from `standing_to_dict`.

    Raises:
        KeyError, ValueError, TypeError: The value lacks a field or names something unknown;
            the caller has verified a signature over it, so this means a version mismatch.
    """
    return Standing(
        subject=SubjectId(value["subject"]),
        as_of=int(value["as_of"]),
        role=Role(value["role"]),
        age=AgeBand(value["age"]),
        vulnerabilities=frozenset(Vulnerability(v) for v in value["vulnerabilities"]),
        grants=tuple(
            Grant(
                purpose=Purpose(g["purpose"]),
                modalities=frozenset(Modality(m) for m in g["modalities"]),
                notice_version=int(g["notice_version"]),
                explicit=bool(g["explicit"]),
                granted_at=int(g["granted_at"]),
                expires_at=int(g["expires_at"]),
            )
            for g in value["grants"]
        ),
        informed_at=None if value["informed_at"] is None else int(value["informed_at"]),
        withdrawn=frozenset(Purpose(p) for p in value["withdrawn"]),
        objected=frozenset(Purpose(p) for p in value["objected"]),
        restricted=bool(value["restricted"]),
        erased=bool(value["erased"]),
        refused=tuple((Purpose(purpose), int(at)) for purpose, at in value["refused"]),
    )


def governance_to_dict(governance: Governance) -> dict[str, Any]:
    """Return the governance as JSON values, sets sorted."""
    return {
        "as_of": governance.as_of,
        "stopped": governance.stopped,
        "dpia_purposes": sorted(governance.dpia_purposes),
        "minimum_notice": governance.minimum_notice,
        "standing_max_age_s": governance.standing_max_age_s,
    }


def governance_from_dict(value: dict[str, Any]) -> Governance:
    """Rebuild a governance from `governance_to_dict`.

    Raises:
        KeyError, ValueError, TypeError: As in `standing_from_dict`.
    """
    return Governance(
        as_of=int(value["as_of"]),
        stopped=bool(value["stopped"]),
        dpia_purposes=frozenset(Purpose(p) for p in value["dpia_purposes"]),
        minimum_notice=int(value["minimum_notice"]),
        standing_max_age_s=int(value["standing_max_age_s"]),
    )
