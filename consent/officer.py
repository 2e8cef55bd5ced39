"""The compliance officer's acts: published notices, approved DPIAs, the stop switch.

Each comes as an envelope sealed with the officer's key, and is 1. verified, 2. checked,
3. logged, 4. recorded, and only then 5. in force. A stop alone may come from the portal, too,
sealed by the service: it only closes.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from audit.errors import EnvelopeInvalid, SignatureInvalid
from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from audit.signing import VerifyKey, seal, unseal
from consent.bell import Bell
from consent.errors import Conflict, EvidenceMissing, NotAuthenticated, NotFound, RequestInvalid
from consent.ledger import Ledger
from consent.notice import (
    Decree,
    Dpia,
    Notice,
    Stop,
    StopReason,
    approvals_of,
    as_word,
    check_decree,
    decree_from_body,
    decree_to_body,
    governance_of,
)
from consent.register_desk import RegisterDesk
from consent.tables import LedgerRow
from policies.canonical import digest_bytes
from policies.clock import Clock
from policies.standing import Governance
from policies.vocabulary import Digest, Purpose

MAX_SKEW_S = 300.0
"""How far the time of sealing may lie from ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """Who approved the generated impact assessment as the system is now, and what it covers."""

    by: frozenset[str]
    purposes: frozenset[Purpose]


def check_assessed(dpia: Dpia, found: Assessed | None) -> None:
    """Return if a sealed DPIA rests on an assessment that named people approved (rule 27).

    The officer's key alone is enough only where nobody is appointed yet (`found` is None), and
    to take a purpose back.

    Raises:
        EvidenceMissing: It does not; the message says in what.
    """
    if found is None or not dpia.purposes:
        return
    if not found.by:
        raise EvidenceMissing(
            "no impact assessment is approved as the system is now: `documents show dpia`"
        )
    if dpia.approved_by.casefold() not in {name.casefold() for name in found.by}:
        raise EvidenceMissing("approved_by names nobody who approved the impact assessment")
    if beyond := dpia.purposes - found.purposes:
        raise EvidenceMissing(f"the impact assessment does not cover {', '.join(sorted(beyond))}")


class Officer:
    """What the officer decreed, in order; kept in memory beside the ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        clock: Clock,
        bell: Bell,
        key: VerifyKey,
        standing_max_age_s: int,
        registers: RegisterDesk,
        assessed: Callable[[], Assessed | None],
    ) -> None:
        """Read back what was decreed; `assessed` says who stands behind a DPIA (rule 27)."""
        self._assessed = assessed
        self._ledger = ledger
        self._log = log
        self._clock = clock
        self._bell = bell
        self._key = key
        self._standing_max_age_s = standing_max_age_s
        self._registers = registers
        self._lock = threading.Lock()
        self._decrees = ledger.decrees()
        self._logged = [
            (decree, digest_bytes(text.encode()), index)
            for (_, decree), (text, index) in zip(self._decrees, ledger.logged(), strict=True)
        ]

    def decree(self, kind: str, envelope: bytes) -> tuple[Decree, int]:
        """Put an envelope of that kind in force; return what it says and its log entry.

        Raises:
            NotAuthenticated: Not sealed by the officer's key.
            RequestInvalid: Not an envelope, or it does not say what it must.
            Conflict: It is not newer than what it would replace (so none counts twice), or
                was not sealed just now.
            EvidenceUnavailable, LedgerUnavailable: It is not in force.
        """
        try:
            body = unseal(kind, envelope, self._key)  # 1
        except SignatureInvalid as error:
            raise NotAuthenticated(f"the {kind} is not sealed by the officer's key") from error
        except EnvelopeInvalid as error:
            raise RequestInvalid(str(error)) from error
        decree = decree_from_body(kind, body)
        with self._lock:
            self._check_new(decree)  # 2
            return decree, self._put_in_force(kind, decree, envelope)

    def stop(self, *, by: str, reason: StopReason) -> int:
        """Stop everything in the name of one who works here; return the log entry.

        It needs no key of the officer's: a stop only closes. Set again, it voids what two had
        agreed on to lift it. Only the officer's own envelope clears it.

        Raises:
            RequestInvalid: The name is none.
            EvidenceUnavailable, LedgerUnavailable: It is not in force.
        """
        decree = Stop(stopped=True, by=by, issued_at=self._clock(), reason=reason)
        check_decree(decree)
        kind, body = decree_to_body(decree)
        with self._lock:
            return self._put_in_force(kind, decree, seal(kind, body, self._log.key))

    def _put_in_force(self, kind: str, decree: Decree, envelope: bytes) -> int:
        at, digest = self._clock(), digest_bytes(envelope)
        index = self._log.append(_event(decree, digest, at))  # 3
        row = LedgerRow(
            record_id=secrets.token_hex(16),
            kind=kind,
            at=at,
            body=envelope.decode(),
            log_index=index,
        )
        self._ledger.add([row])  # 4
        self._decrees.append((at, decree))  # 5
        self._logged.append((decree, digest, index))
        self._bell.ring(None)
        if isinstance(decree, Stop):
            step = "void" if decree.stopped else "lifted"
            self._registers.end_lift(step, by=as_word(decree.by))
        return index

    def _check_new(self, decree: Decree) -> None:
        if abs(self._clock() - decree.issued_at) > MAX_SKEW_S:
            raise Conflict(f"the envelope was not sealed within {MAX_SKEW_S:.0f} s: seal it again")
        if isinstance(decree, Stop) and not decree.stopped and self._lifts_alone():
            raise EvidenceMissing(
                "the stop is lifted by two: one proposes, another confirms, within the hour"
            )
        if isinstance(decree, Dpia):
            check_assessed(decree, self._assessed())
        if isinstance(decree, Notice):
            newest = max((n.version for n in self._notices()), default=0)
            if decree.version <= newest:
                raise Conflict(f"notice {newest} is published: the next needs a higher version")
        elif decree.issued_at <= max(
            (old.issued_at for _, old in self._decrees if _replaces(decree, old)), default=0.0
        ):
            raise Conflict("a newer envelope of this kind is in force: seal it again")

    def assessments(self) -> list[Dpia]:
        """Return the impact assessments in force, with their mitigations, by id."""
        found = {d.dpia: d for _, d in list(self._decrees) if isinstance(d, Dpia)}
        return [found[name] for name in sorted(found)]

    def notices(self) -> list[Notice]:
        """Return the published notices, oldest first."""
        return self._notices()

    def _lifts_alone(self) -> bool:
        return self.governance().stopped and not self._registers.confirmed()

    def _notices(self) -> list[Notice]:
        return [decree for _, decree in self._decrees if isinstance(decree, Notice)]

    def notice(self, version: int) -> Notice:
        """Return a published notice.

        Raises:
            NotFound: No such version.
        """
        for notice in self._notices():
            if notice.version == version:
                return notice
        raise NotFound(f"notice {version} is not published")

    def governance(self) -> Governance:
        """Return what is in force now."""
        decrees = [decree for _, decree in list(self._decrees)]
        return self._governance(decrees, self._clock())

    def approvals(self) -> tuple[str, ...]:
        """Return what is in force and who approved it, by digest (`approvals_of`)."""
        return approvals_of(list(self._logged))

    def governances_during(self, start: int, end: int, *, as_of: int) -> list[Governance]:
        """Return each governance in force from one Unix second to another, dated `as_of`."""
        before = [decree for at, decree in self._decrees if at < start]
        during = [decree for at, decree in self._decrees if start <= at < end]
        return [
            self._governance(before + during[:count], as_of) for count in range(len(during) + 1)
        ]

    def _governance(self, decrees: list[Decree], as_of: float) -> Governance:
        return governance_of(decrees, as_of=int(as_of), standing_max_age_s=self._standing_max_age_s)

    def envelope_of_notice(self, version: int) -> dict[str, object]:
        """Return the sealed envelope of a notice, for whoever wants to verify it.

        Raises:
            NotFound: No such version.
        """
        for _, text in self._ledger.envelopes():
            value: dict[str, object] = json.loads(text)
            body = value["body"]
            if value["kind"] == "notice" and isinstance(body, dict) and body["version"] == version:
                return value
        raise NotFound(f"notice {version} is not published")


def _replaces(new: Decree, old: Decree) -> bool:
    if isinstance(new, Dpia) and isinstance(old, Dpia):
        return new.dpia == old.dpia
    return isinstance(new, Stop) and isinstance(old, Stop)


def _event(decree: Decree, digest: Digest, at: float) -> Event:
    match decree:
        case Notice(version=version):
            fields: dict[str, Value] = {"version": version, "digest": digest}
            return Event(kind=EventKind.NOTICE_PUBLISHED, at=at, fields=fields)
        case Dpia():
            return Event(
                kind=EventKind.DPIA_APPROVED,
                at=at,
                fields={
                    "dpia": as_word(decree.dpia),
                    "purposes": sorted(decree.purposes),
                    "digest": digest,
                    "approved_by": as_word(decree.approved_by),
                },
            )
        case Stop():
            said: dict[str, Value] = {"stopped": decree.stopped, "by": as_word(decree.by)}
            if decree.reason is not None:
                said["reason"] = decree.reason.value
            return Event(kind=EventKind.STOP_SET, at=at, fields=said)
