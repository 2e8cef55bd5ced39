"""What people do, put in force: asked, grant, refuse, withdraw, object, restrict, erase.

Each act is 1. checked, 2. logged, 3. recorded, and only then 4. in force and told to the
nodes. If the log or the ledger cannot write, the act did not happen and the caller hears so.
Many grants at once are logged together, so that they share the log's group commits.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from audit.errors import ErasureHeld
from audit.events import Event, EventKind, Value
from audit.hold_book import HoldBook
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from consent.bell import Bell
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.ledger import Ledger
from consent.officer import Officer
from consent.receipt import receipt_of
from consent.records import (
    Act,
    Deferred,
    Erased,
    Granted,
    Invalidated,
    Objected,
    Record,
    Refused,
    Requested,
    Restricted,
    Revoked,
    Withdrawn,
    act_to_dict,
    standing_of,
)
from consent.settings import TrustSettings
from consent.states import ConsentState, check_step, states_of
from consent.tables import LedgerRow, NodeRow
from consent.tokens import Randomness, new_token, token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import Modality, NodeId, Purpose, SubjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom an act concerns, and the node it came through (None: by manage token)."""

    company: str
    subject: SubjectId
    node: NodeId | None


class Acts:
    """The one writer of people's records."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        keystore: Keystore,
        officer: Officer,
        bell: Bell,
        clock: Clock,
        randomness: Randomness,
        settings: TrustSettings,
        holds: HoldBook,
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._keystore = keystore
        self._officer = officer
        self._bell = bell
        self._clock = clock
        self._randomness = randomness
        self._settings = settings
        self._holds = holds
        self._lock = threading.Lock()
        self._doomed: set[SubjectId] = set()

    # -- who ----------------------------------------------------------------------------

    def holder(self, token: str) -> Person:
        """Return whose manage token this is.

        Raises:
            NotFound: Nobody's, or of someone who was erased.
        """
        held = self._ledger.holder(token_hash(token))
        if held is None:
            raise NotFound("this manage token is not known: it was mistyped, or all is erased")
        return Person(company=held[0], subject=held[1], node=None)

    def person(self, node: NodeRow, subject: SubjectId) -> Person:
        """Return a person recorded through the node's company.

        Raises:
            NotFound: The company has recorded no such person.
        """
        if self._ledger.owners([subject]).get(subject) != node.company:
            raise NotFound("this company has recorded no such person")
        return Person(company=node.company, subject=subject, node=NodeId(node.node))

    def newcomer(self, node: NodeRow, subject: SubjectId) -> Person:
        """Return a person whom the node's company has recorded, or nobody yet.

        Raises:
            Conflict: The pseudonym is another company's.
        """
        if self._ledger.owners([subject]).get(subject, node.company) != node.company:
            raise Conflict("a pseudonym belongs to another company: it cannot be used here")
        return Person(company=node.company, subject=subject, node=NodeId(node.node))

    def anybody(self, subject: SubjectId) -> Person:
        """Return a person of whatever company, for the officer's acts.

        Raises:
            NotFound: No company has recorded such a person.
        """
        company = self._ledger.owners([subject]).get(subject)
        if company is None:
            raise NotFound("no company has recorded such a person")
        return Person(company=company, subject=subject, node=None)

    # -- acts ---------------------------------------------------------------------------

    def grant(
        self, node: NodeRow, wanted: Sequence[tuple[SubjectId, Granted]]
    ) -> list[dict[str, Any]]:
        """Record consents, all or none, and return a receipt with manage token for each.

        Raises:
            NotFound: A notice that is not published.
            Conflict: A person who was erased, or whom another company recorded.
            EvidenceUnavailable, LedgerUnavailable: Nothing was granted.
        """
        with self._lock:
            self._check_grants(node, wanted)  # 1
            return self._record(
                [
                    (Person(company=node.company, subject=who, node=NodeId(node.node)), granted)
                    for who, granted in wanted
                ]
            )

    def _check_grants(self, node: NodeRow, wanted: Sequence[tuple[SubjectId, Granted]]) -> None:
        for version in {granted.notice_version for _, granted in wanted}:
            self._officer.notice(version)
        subjects = [subject for subject, _ in wanted]
        if set(self._ledger.owners(subjects).values()) - {node.company}:
            raise Conflict("a pseudonym belongs to another company: it cannot be used here")
        self._check_not_erased(subjects)
        for _, granted in wanted:
            self._check_shown(granted)

    def _check_shown(self, granted: Granted) -> None:
        if granted.shown is None:
            return
        texts = self._officer.notice(granted.notice_version).text_digests()
        if texts.get(granted.shown.language) != granted.shown.text_digest:
            raise RequestInvalid(
                f"notice {granted.notice_version} has no text in that language with that digest: "
                f"show one of {' '.join(texts)}, and send the digest of what was shown"
            )

    def _check_not_erased(self, subjects: Sequence[SubjectId]) -> None:
        for records in self._ledger.records_of(subjects).values():
            if any(isinstance(record.act, Erased) for record in records):
                raise Conflict("a pseudonym was erased: it stays so, and cannot be used again")

    def withdraw(self, person: Person, purpose: Purpose | None) -> dict[str, Any]:
        """Withdraw one purpose, or (None) erase the person; return the receipt.

        Raises:
            Conflict: A purpose of someone who was erased.
            EvidenceUnavailable, LedgerUnavailable, KeystoreUnavailable: Try again.
        """
        if purpose is None:
            return self._erase(person)
        return self._act(person, Withdrawn(purpose=purpose))

    def object_to(self, person: Person, purposes: frozenset[Purpose]) -> dict[str, Any]:
        """Record an objection; errors as in `withdraw`."""
        return self._act(person, Objected(purposes=purposes))

    def restrict(self, person: Person, *, restricted: bool) -> dict[str, Any]:
        """Set or lift a restriction; errors as in `withdraw`."""
        return self._act(person, Restricted(restricted=restricted))

    def move(self, person: Person, act: Act) -> dict[str, Any]:
        """Record an act that moves a consent: asked, put off, refused, revoked, invalidated.

        Raises:
            NotFound: A notice that is not published.
            Conflict: A person who was erased, or no such step from where the consent is.
            EvidenceUnavailable, LedgerUnavailable: It did not happen.
        """
        if isinstance(act, Requested):
            self._officer.notice(act.notice_version)
        with self._lock:
            self._check_not_erased([person.subject])  # 1
            records = self._ledger.records_of([person.subject]).get(person.subject, [])
            check_step(records, act, now=self._clock())
            return self._record([(person, act)])[0]

    def states(self, person: Person) -> dict[Purpose, dict[Modality, ConsentState]]:
        """Return the state of each of a person's consents, now.

        Raises:
            LedgerUnavailable: The ledger did not answer.
        """
        records = self._ledger.records_of([person.subject]).get(person.subject, [])
        return states_of(records, now=self._clock())

    def _act(self, person: Person, act: Act) -> dict[str, Any]:
        with self._lock:
            self._check_not_erased([person.subject])  # 1
            return self._record([(person, act)])[0]

    def _record(self, acts: Sequence[tuple[Person, Act]]) -> list[dict[str, Any]]:
        at = self._clock()
        records = [self._new_record(person, act, at) for person, act in acts]
        tokens = [
            new_token(self._randomness) if isinstance(record.act, Granted) else None
            for record in records
        ]
        receipts = [
            self._document(record, token) for record, token in zip(records, tokens, strict=True)
        ]
        indices = self._log.append_many(list(map(_draft, records, receipts)))  # 2
        rows = map(_row, records, indices, tokens)
        self._ledger.add(list(rows))  # 3
        self._bell.ring(records[0].company)  # 4
        return list(map(self._taken, records, receipts, indices, tokens))

    def _new_record(self, person: Person, act: Act, at: float) -> Record:
        return Record(
            sequence=0,
            record_id=self._randomness(16).hex(),
            company=person.company,
            subject=person.subject,
            node=person.node,
            at=at,
            act=act,
        )

    def wake(self, company: str) -> None:
        """Let the company's nodes ask at once: something waits for them."""
        self._bell.ring(company)

    # -- erasure ------------------------------------------------------------------------

    def _erase(self, person: Person) -> dict[str, Any]:
        """Erase: 0. nothing is held, 1. logged, 2. one record in place of all, 3. keys destroyed.

        The log entry of an erasure carries no pseudonym. From 2 on the gate is closed; what
        fails at 3 is made good at the next erasure or start.
        """
        with self._lock:
            self._check_not_erased([person.subject])
            self._check_not_held(person)  # 0
            record = self._new_record(person, Erased(), self._clock())
            receipt = self._document(record, None)
            fields: dict[str, Value] = {
                "record": record.record_id,
                "receipt": digest(receipt),
                "erasure": True,
            }
            event = Event(kind=EventKind.WITHDRAWAL_RECORDED, at=record.at, fields=fields)
            index = self._log.append(event)  # 1
            self._ledger.erase(_row(record, index, None))  # 2
            self._doomed.add(person.subject)
            self._bell.ring(person.company)
            self._destroy_doomed_keys()  # 3
        return self._taken(record, receipt, index, None)

    def _check_not_held(self, person: Person) -> None:
        """Return if no legal hold covers the person; else restrict the person, and say why.

        Raises:
            ErasureHeld: A hold does: the erasure is done when it is lifted.
        """
        try:
            self._holds.refuse_erasure(person.subject, by="trust-service")
        except ErasureHeld:
            records = self._ledger.records_of([person.subject]).get(person.subject, [])
            standing = standing_of(records, subject=person.subject, as_of=int(self._clock()))
            if not standing.restricted:
                self._record([(person, Restricted(restricted=True))])
            raise

    def held(self, subject: SubjectId) -> str | None:
        """Return why a person cannot be erased now, as they are told; None where they can."""
        try:
            self._holds.check_erasure(subject)
        except ErasureHeld as error:
            return str(error)
        return None

    def erase_released(self, subject: SubjectId) -> None:
        """Erase whom a lifted hold had kept; another hold that covers them keeps them on.

        Raises:
            EvidenceUnavailable, LedgerUnavailable, KeystoreUnavailable: Try again.
        """
        with suppress(ErasureHeld, Conflict, NotFound):
            self._erase(self.anybody(subject))

    def finish_erasures(self) -> int:
        """Destroy keys that a crash left of the erased; return of how many people."""
        with self._lock:
            self._doomed |= {who for who in self._ledger.erased() if self._keystore.labels(who)}
            count = len(self._doomed)
            self._destroy_doomed_keys()
        return count

    def _destroy_doomed_keys(self) -> None:
        if not self._doomed:
            return
        count = self._keystore.destroy_many(self._doomed)
        for subject in self._doomed:
            self._log.forget(subject)
        self._doomed.clear()
        fields: dict[str, Value] = {"reason": "erasure", "purpose": None, "count": count}
        self._log.append(Event(kind=EventKind.KEYS_DESTROYED, at=self._clock(), fields=fields))

    # -- receipts -----------------------------------------------------------------------

    def _document(self, record: Record, token: str | None) -> dict[str, Any]:
        """Return the receipt as a document; its salt is in nobody's hands but the person's."""
        act = record.act
        notice = self._officer.notice(act.notice_version) if isinstance(act, Granted) else None
        return receipt_of(
            record,
            notice=notice,
            controller=self._settings.controller(record.company),
            storage=self._settings.storage,
            withdraw_at=self._settings.withdraw_at,
            salt=self._randomness(16).hex(),
            token_digest=None if token is None else token_hash(token),
        )

    def _taken(
        self, record: Record, receipt: dict[str, Any], index: int, token: str | None
    ) -> dict[str, Any]:
        """Return what the person takes away; `consent.taken` verifies it offline."""
        given = {} if token is None else {"manage_token": token}
        return given | {
            "record": record.record_id,
            "receipt": receipt,
            "log_index": index,
            "leaf": base64.b64encode(self._log.entry(index).leaf).decode(),
            "proof": self._log.receipt(index),
        }


def _draft(record: Record, receipt: dict[str, Any]) -> Draft:
    kind = EventKind.WITHDRAWAL_RECORDED
    fields: dict[str, Value] = {"record": record.record_id, "receipt": digest(receipt)}
    if isinstance(record.act, Granted):
        kind = EventKind.GRANT_RECORDED
    elif isinstance(record.act, Requested | Deferred | Refused | Revoked | Invalidated):
        kind, fields = EventKind.CONSENT_MOVED, fields | {"step": act_to_dict(record.act)["kind"]}
    facts = {"subject": record.subject, "company": record.company, "node": record.node}
    return Draft(
        event=Event(kind=kind, at=record.at, fields=fields),
        private=facts | act_to_dict(record.act),
        subject=record.subject,
    )


def _row(record: Record, index: int, token: str | None) -> LedgerRow:
    act = act_to_dict(record.act)
    return LedgerRow(
        record_id=record.record_id,
        kind=act["kind"],
        company=record.company,
        subject=record.subject,
        node=record.node,
        at=record.at,
        body=json.dumps(act),
        token_hash=None if token is None else token_hash(token),
        log_index=index,
    )
