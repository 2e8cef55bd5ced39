"""What people do, put in force: asked, grant, refuse, withdraw, object, restrict, erase.

Each act is 1. checked, 2. logged, 3. recorded, and only then 4. in force and told to the
nodes. If the log or the ledger cannot write, the act did not happen and the caller hears so.
Many grants at once are logged together, so that they share the log's group commits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from audit.errors import ErasureHeld
from audit.events import Event, EventKind, Value
from audit.hold_book import HoldBook
from audit.keystore import Keystore
from audit.log import EvidenceLog
from consent.bell import Bell
from consent.capture import check_captured
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.ledger import Ledger
from consent.officer import Officer
from consent.recorder import Person, Recorder, row_of
from consent.records import (
    Act,
    Erased,
    Granted,
    Objected,
    Record,
    Requested,
    Restricted,
    Unconfirmed,
    Withdrawn,
    standing_of,
)
from consent.states import ConsentState, check_step, states_of
from consent.tables import NodeRow
from consent.tokens import token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import AgeBand, Modality, NodeId, Purpose, SubjectId

__all__ = ["Acts", "Person"]
MOST_GUARDIAN_DAYS = 365
"""How long a guardian's yes lasts at most: a child grows up."""


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
        recorder: Recorder,
        holds: HoldBook,
        takes_uncaptured: Callable[[float], bool],
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._keystore = keystore
        self._officer = officer
        self._bell = bell
        self._clock = clock
        self._recorder = recorder
        self._holds = holds
        self._takes_uncaptured = takes_uncaptured
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
            self._check_grants(node.company, wanted)  # 1
            return self._recorder.write(
                [
                    (Person(company=node.company, subject=who, node=NodeId(node.node)), granted)
                    for who, granted in wanted
                ]
            )

    def await_confirmation(self, node: NodeRow, who: SubjectId, yes: Unconfirmed) -> dict[str, Any]:
        """Record a yes that counts when its token comes back; errors as in `grant`."""
        with self._lock:
            self._check_grants(node.company, [(who, yes.granted)])  # 1
            person = Person(company=node.company, subject=who, node=NodeId(node.node))
            return self._recorder.write([(person, yes)])[0]

    def complete(
        self, person: Person, acts: Sequence[Act], check: Callable[[Sequence[Record]], None]
    ) -> list[dict[str, Any]]:
        """Record the acts that answer an earlier one, if `check` raises nothing on all records.

        Raises:
            Conflict, NotFound, RequestInvalid: As `check` says, or as in `grant`.
            EvidenceUnavailable, LedgerUnavailable: Nothing happened.
        """
        with self._lock:
            self._check_not_erased([person.subject])  # 1
            records = self._ledger.records_of([person.subject]).get(person.subject, [])
            check(records)
            yes = [a.granted if isinstance(a, Unconfirmed) else a for a in acts]
            granted = [(person.subject, one) for one in yes if isinstance(one, Granted)]
            self._check_grants(person.company, granted)
            for act in acts:
                check_step(records, act, now=self._clock())
            return self._recorder.write([(person, act) for act in acts])

    def _check_grants(self, company: str, wanted: Sequence[tuple[SubjectId, Granted]]) -> None:
        for version in {granted.notice_version for _, granted in wanted}:
            self._officer.notice(version)
        subjects = [subject for subject, _ in wanted]
        if set(self._ledger.owners(subjects).values()) - {company}:
            raise Conflict("a pseudonym belongs to another company: it cannot be used here")
        self._check_not_erased(subjects)
        self._check_not_objected(wanted)
        for subject, granted in wanted:
            check_captured(granted.act, granted.shown, granted.capture)
            self._check_proven(granted)
            self._check_shown(granted)
            _check_apart(granted)
            _check_guardian(subject, granted)
        self._check_proof_is_new(company, wanted)

    def _check_proven(self, granted: Granted) -> None:
        """Return if there is proof (GDPR 7(1)), or the time to do without it is not over."""
        proven = granted.capture is not None or granted.confirms is not None
        if not proven and not self._takes_uncaptured(self._clock()):
            raise RequestInvalid(
                "a consent comes with its channel and the proof of its capture (GDPR 7(1)): send "
                "`shown` and `capture`; the setting uncaptured_until gives time to change over",
                field="capture",
            )

    def _check_shown(self, granted: Granted) -> None:
        if granted.shown is None:
            return
        layer = granted.shown.layer
        texts = self._officer.notice(granted.notice_version).text_digests(layer)
        if texts.get(granted.shown.language) != granted.shown.text_digest:
            raise RequestInvalid(
                f"notice {granted.notice_version} has no {layer} text in that language with that "
                f"digest: show one of {' '.join(texts) or 'none'}, and send the digest of what was "
                "shown"
            )

    def _check_proof_is_new(
        self, company: str, wanted: Sequence[tuple[SubjectId, Granted]]
    ) -> None:
        """Return if no proof was used before: a yes of yesterday, brought again, is no yes."""
        proofs = [
            (granted.capture.evidence, purpose.value)
            for _, granted in wanted
            if granted.capture is not None and granted.confirms is None
            for purpose in granted.purposes
        ]
        used = self._ledger.captured(company, sorted({evidence for evidence, _ in proofs}))
        if used & set(proofs) or len(set(proofs)) < len(proofs):
            raise Conflict("this proof of capture was used before: a new consent is a new act")

    def _check_not_objected(self, wanted: Sequence[tuple[SubjectId, Granted]]) -> None:
        """Return if nobody objected to what they would agree to: that closes it for good."""
        records = self._ledger.records_of([subject for subject, _ in wanted])
        for subject, granted in wanted:
            acts = [record.act for record in records.get(subject, [])]
            if any(granted.purposes & act.purposes for act in acts if isinstance(act, Objected)):
                raise Conflict("a person objected to one of these purposes: that stays so")

    def _check_not_erased(self, subjects: Sequence[SubjectId]) -> None:
        for records in self._ledger.records_of(subjects).values():
            if any(isinstance(record.act, Erased) for record in records):
                raise Conflict("a pseudonym was erased: it stays so, and cannot be used again")

    def withdraw(
        self, person: Person, purpose: Purpose | None, *, once: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """Withdraw one purpose, or (None) erase the person; return the receipt.

        Args:
            person: Whose consent.
            purpose: Which; None erases.
            once: The record's name and the receipt's salt, where a node gave them: the same
                name again is answered as it was, and recorded once.

        Raises:
            Conflict: A purpose of someone who was erased, or a name that is another record's.
            EvidenceUnavailable, LedgerUnavailable, KeystoreUnavailable: Try again.
        """
        act: Act = Erased() if purpose is None else Withdrawn(purpose=purpose)
        with self._lock:
            if once is not None and (found := self._ledger.recorded(once[0])) is not None:
                self._check_same(found[0], person, act)
                return self._recorder.again(found, once)
            if isinstance(act, Erased):
                return self._erase(person, once)
            self._check_not_erased([person.subject])  # 1
            return self._recorder.write([(person, act)], once=once)[0]

    def _check_same(self, found: Record, person: Person, act: Act) -> None:
        if (found.company, found.subject, found.act) != (person.company, person.subject, act):
            raise Conflict("a record of that name is about something else: take a new name")

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
            return self._recorder.write([(person, act)])[0]

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
            return self._recorder.write([(person, act)])[0]

    def wake(self, company: str) -> None:
        """Let the company's nodes ask at once: something waits for them."""
        self._bell.ring(company)

    # -- erasure ------------------------------------------------------------------------

    def _erase(self, person: Person, once: tuple[str, str] | None) -> dict[str, Any]:
        """Erase, under the lock.

        0. nothing is held, 1. logged, 2. one record in place of all, 3. keys destroyed.

        The log entry of an erasure carries no pseudonym. From 2 on the gate is closed; what
        fails at 3 is made good at the next erasure or start.
        """
        self._check_not_erased([person.subject])
        self._check_not_held(person)  # 0
        record = self._recorder.new_record(person, Erased(), self._clock(), once=once)
        receipt = self._recorder.document(record, None, once=once)
        fields: dict[str, Value] = {
            "record": record.record_id,
            "receipt": digest(receipt),
            "erasure": True,
        }
        event = Event(kind=EventKind.WITHDRAWAL_RECORDED, at=record.at, fields=fields)
        index = self._log.append(event)  # 1
        self._ledger.erase(row_of(record, index, None))  # 2
        self._doomed.add(person.subject)
        self._bell.ring(person.company)
        self._destroy_doomed_keys()  # 3
        return self._recorder.taken(record, receipt, index, None)

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
                self._recorder.write([(person, Restricted(restricted=True))])
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
            person = self.anybody(subject)
            with self._lock:
                self._erase(person, None)

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


def _check_apart(granted: Granted) -> None:
    """Return if recording is not asked in one breath with analysing (ePrivacy 5(1)).

    Raises:
        RequestInvalid: It is: each needs an act of its own.
    """
    if Purpose.RECORDING in granted.purposes and len(granted.purposes) > 1:
        raise RequestInvalid("recording is a consent of its own: send it apart, with its own act")


def _check_guardian(subject: SubjectId, granted: Granted) -> None:
    """Return if a minor's yes is said by a verified guardian, and nobody else's by one.

    Raises:
        RequestInvalid: It is not.
    """
    guardian, minor = granted.guardian, granted.age is AgeBand.MINOR
    if guardian is None:
        if minor:
            raise RequestInvalid("a minor's consent is given by a verified guardian (GDPR 8)")
        return
    if not minor:
        raise RequestInvalid("a guardian says yes for a minor alone")
    if guardian.subject == subject:
        raise RequestInvalid("nobody is their own guardian")
    if granted.valid_days > MOST_GUARDIAN_DAYS:
        raise RequestInvalid(f"a guardian's consent lasts {MOST_GUARDIAN_DAYS} days at most")
