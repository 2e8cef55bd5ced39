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
from audit.log import Draft, EvidenceLog
from consent.bell import Bell
from consent.errors import Conflict, LinkUnknown, NotFound
from consent.grant_checks import GrantChecks
from consent.ledger import Ledger
from consent.officer import Officer
from consent.recorder import Person, Recorder, row_of
from consent.records import (
    Act,
    Erased,
    Granted,
    Invalidated,
    Objected,
    Record,
    Requested,
    Restricted,
    Unconfirmed,
    Withdrawn,
    standing_of,
)
from consent.states import ConsentState, check_step, states_of, uninformed
from consent.tables import NodeRow
from consent.tokens import token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import Modality, NodeId, Purpose, SubjectId

__all__ = ["Acts", "Person"]
ITSELF = "trust-service"
NOT_INFORMED = "not-informed"
"""By whom, and with what finding, an earlier consent without information is invalidated."""
_AT_ONCE = 1000


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
        checks: GrantChecks,
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._keystore = keystore
        self._officer = officer
        self._bell = bell
        self._clock = clock
        self._recorder = recorder
        self._holds = holds
        self._checks = checks
        self._lock = threading.Lock()
        self._doomed: dict[SubjectId, str] = {}  # with the name of each erasure's record

    # -- who ----------------------------------------------------------------------------

    def holder(self, token: str) -> Person:
        """Return whose manage token this is.

        Raises:
            LinkUnknown: Nobody's, or of someone who was erased.
        """
        held = self._ledger.holder(token_hash(token))
        if held is None:
            raise LinkUnknown("this manage token is not known: it was mistyped, or all is erased")
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
            self._checks.check(node.company, wanted)  # 1
            return self._recorder.write(
                [
                    (Person(company=node.company, subject=who, node=NodeId(node.node)), granted)
                    for who, granted in wanted
                ]
            )

    def await_confirmation(self, node: NodeRow, who: SubjectId, yes: Unconfirmed) -> dict[str, Any]:
        """Record a yes that counts when its token comes back; errors as in `grant`."""
        with self._lock:
            self._checks.check(node.company, [(who, yes.granted)])  # 1
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
            self._checks.check_not_erased([person.subject])  # 1
            records = self._ledger.records_of([person.subject]).get(person.subject, [])
            check(records)
            yes = [a.granted if isinstance(a, Unconfirmed) else a for a in acts]
            granted = [(person.subject, one) for one in yes if isinstance(one, Granted)]
            self._checks.check(person.company, granted)
            for act in acts:
                check_step(records, act, now=self._clock())
            return self._recorder.write([(person, act) for act in acts])

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
            Conflict: A purpose of someone who was erased, or a name that is another record's, or
                whose receipt had another salt.
            EvidenceUnavailable, LedgerUnavailable, KeystoreUnavailable: Try again.
        """
        act: Act = Erased() if purpose is None else Withdrawn(purpose=purpose)
        with self._lock:
            if once is not None and (found := self._ledger.recorded(once[0])) is not None:
                self._check_same(found.record, person, act)
                return self._recorder.again(found, once)
            if isinstance(act, Erased):
                return self._erase(person, once)
            self._checks.check_not_erased([person.subject])  # 1
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
            self._checks.check_not_erased([person.subject])  # 1
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
            self._checks.check_not_erased([person.subject])  # 1
            return self._recorder.write([(person, act)])[0]

    def wake(self, company: str) -> None:
        """Let the company's nodes ask at once: something waits for them."""
        self._bell.ring(company)

    def invalidate_uninformed(self) -> int:
        """Invalidate the consents that earlier versions took of people who were not told.

        A yes is refused now where its person was not told first (GDPR 4(11)); of those that were
        recorded before, each is found invalid here, logged and told to the nodes, which destroy
        what they keep for it. Return of how many people.

        Raises:
            EvidenceUnavailable, LedgerUnavailable: The next start goes on where this one ended.
        """
        with self._lock:
            found: list[tuple[Person, Act]] = []
            for subject, records in self._ledger.records_of(self._ledger.uninformed()).items():
                if purposes := uninformed(records):
                    person = Person(company=records[0].company, subject=subject, node=None)
                    finding = Invalidated(purposes=purposes, by=ITSELF, finding=NOT_INFORMED)
                    found.append((person, finding))
            for first in range(0, len(found), _AT_ONCE):
                self._recorder.write(found[first : first + _AT_ONCE])
        return len(found)

    # -- erasure ------------------------------------------------------------------------

    def _erase(self, person: Person, once: tuple[str, str] | None) -> dict[str, Any]:
        """Erase, under the lock.

        0. nothing is held, 1. logged, 2. one record in place of all, 3. keys destroyed.

        The log entry of an erasure carries no pseudonym. From 2 on the gate is closed; what
        fails at 3 is made good at the next erasure or start.
        """
        self._checks.check_not_erased([person.subject])
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
        kept = None if once is None else receipt
        self._ledger.erase(row_of(record, index, None, kept))  # 2
        self._doomed[person.subject] = record.record_id
        self._bell.ring(person.company)
        self._destroy_doomed_keys()  # 3
        return self._recorder.taken(record, receipt, index, None)

    def _check_not_held(self, person: Person) -> None:
        """Return if no legal hold covers the person; else restrict the person, and say why.

        Raises:
            ErasureHeld: A hold does: the erasure is done when it is lifted.
        """
        try:
            self._holds.refuse_erasure(person.subject, by=ITSELF)
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
            erased = self._ledger.erased().items()
            self._doomed |= {who: of for who, of in erased if self._keystore.labels(who)}
            count = len(self._doomed)
            self._destroy_doomed_keys()
        return count

    def _destroy_doomed_keys(self) -> None:
        if not self._doomed:
            return
        counts = {who: len(self._keystore.labels(who)) for who in self._doomed}
        self._keystore.destroy_many(self._doomed)
        for subject in self._doomed:
            self._log.forget(subject)
        now = self._clock()
        self._log.append_many(
            [_destroyed(record, counts[who], now) for who, record in sorted(self._doomed.items())]
        )
        self._doomed.clear()  # not before: what could not be logged is logged the next time


def _destroyed(record: str, count: int, at: float) -> Draft:
    """Return the entry that the keys of one erasure are destroyed, by the name of its record."""
    fields: dict[str, Value] = {
        "reason": "erasure",
        "purpose": None,
        "count": count,
        "record": record,
    }
    return Draft(event=Event(kind=EventKind.KEYS_DESTROYED, at=at, fields=fields))
