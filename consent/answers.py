"""Answers that complete an earlier act: a page that was answered, a yes that is confirmed.

Whoever holds the token answers, once, in time, and only while it is the last word: any act of
the person's on one of these purposes that came after makes it void. So neither a link that is
opened again nor an old message turns a later no into a yes.

An answer takes these steps: 1. whose token, and of which kind; 2. in time; 3. the last word;
4. as any other consent (`consent.acts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from consent.acts import Acts
from consent.capture import Capture, Layer, Shown, Sign
from consent.errors import Conflict, LinkUnknown, RequestInvalid
from consent.ledger import Ledger
from consent.officer import Officer
from consent.recorder import Person
from consent.records import (
    Act,
    Granted,
    Invitation,
    Objected,
    Record,
    Refused,
    Requested,
    Unconfirmed,
)
from consent.states import purposes_of
from consent.tokens import token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import AgeBand, Digest, Purpose

HOUR_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What a person did on a page: which boxes they ticked, and what stood before them."""

    purposes: frozenset[Purpose]
    language: str
    layer: Layer
    adult: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that can be answered now."""

    record: Record
    asked: Requested
    invitation: Invitation


class Answers:
    """Takes answers by token; thread-safe."""

    def __init__(self, *, acts: Acts, ledger: Ledger, officer: Officer, clock: Clock) -> None:
        self._acts = acts
        self._ledger = ledger
        self._officer = officer
        self._clock = clock

    def question(self, token: str) -> Question:
        """Return what the holder of an invitation's token is asked.

        Raises:
            LinkUnknown: Nobody's token, or all is erased.
            Conflict: It was answered, or its time is over.
        """
        record = self._record(token, kind="request")  # 1
        asked = record.act
        if not isinstance(asked, Requested) or asked.invitation is None:
            raise LinkUnknown("this token answers nothing")
        self._check_open(record, asked.invitation.until)
        return Question(record=record, asked=asked, invitation=asked.invitation)

    def answer(self, token: str, ticks: Ticks) -> list[dict[str, Any]]:
        """Record a page's answer: yes to what was ticked, no to the rest; return the receipts.

        Raises:
            RequestInvalid: A box that was not on the page, or the age is not said.
            LinkUnknown, Conflict: As in `question`.
            EvidenceUnavailable, LedgerUnavailable: Nothing was answered.
        """
        question = self.question(token)
        if not ticks.purposes <= question.asked.purposes:
            raise RequestInvalid("a purpose was ticked that was not asked for")
        acts: list[Act] = [
            self._yes(question, ticks, purposes) for purposes in _apart(ticks.purposes)
        ]
        declined = question.asked.purposes - ticks.purposes
        if declined:
            acts.append(Refused(purposes=declined))
        return self._complete(question.record, acts, question.invitation.until)

    def unconfirmed(self, token: str) -> Record:
        """Return the yes that waits for this token; errors as in `question`."""
        record = self._record(token, kind="unconfirmed")  # 1
        if not isinstance(record.act, Unconfirmed):
            raise LinkUnknown("this token confirms nothing")
        self._check_open(record, record.act.until)
        return record

    def confirm(self, token: str) -> dict[str, Any]:
        """Put an unconfirmed yes in force from now on; return the receipt.

        Raises:
            LinkUnknown, Conflict: As in `question`.
            EvidenceUnavailable, LedgerUnavailable: It was not confirmed.
        """
        record = self.unconfirmed(token)
        if not isinstance(record.act, Unconfirmed):  # for the type: `unconfirmed` has seen it
            raise LinkUnknown("this token confirms nothing")
        granted = replace(record.act.granted, confirms=record.record_id)
        return self._complete(record, [granted], record.act.until)[0]

    def _complete(self, record: Record, acts: Sequence[Act], until: int) -> list[dict[str, Any]]:
        person = Person(company=record.company, subject=record.subject, node=None)
        return self._acts.complete(person, acts, self._open_check(record, until))  # 4

    def _record(self, token: str, *, kind: str) -> Record:
        record = self._ledger.by_token(token_hash(token), kind=kind)
        if record is None:
            raise LinkUnknown("this link is not known: it was mistyped, or all is erased")
        return record

    def _check_open(self, record: Record, until: int) -> None:
        records = self._ledger.records_of([record.subject]).get(record.subject, [])
        self._open_check(record, until)(records)

    def _open_check(self, record: Record, until: int) -> Callable[[Sequence[Record]], None]:
        def check(records: Sequence[Record]) -> None:
            if self._clock() >= until:  # 2
                raise Conflict("the time to answer is over: ask for a new link")
            if any(_speaks_after(later, record) for later in records):  # 3
                raise Conflict("this was answered already, or you chose otherwise since")

        return check

    def _yes(self, question: Question, ticks: Ticks, purposes: frozenset[Purpose]) -> Act:
        invitation = question.invitation
        if invitation.age is not AgeBand.ADULT and not ticks.adult:
            raise RequestInvalid("say that you are 18 or older: otherwise your guardian is asked")
        shown = self._shown(question, ticks)
        granted = Granted(
            purposes=purposes,
            modalities=question.asked.modalities,
            notice_version=question.asked.notice_version,
            act=Sign.TICKED_BOX.value,
            role=invitation.role,
            age=AgeBand.ADULT,
            vulnerabilities=invitation.vulnerabilities,
            informed=True,
            valid_days=invitation.valid_days,
            jurisdiction=invitation.jurisdiction,
            shown=shown,
            capture=Capture(evidence=_evidence(question, shown, purposes)),
            answers=question.record.record_id,
        )
        if invitation.confirm_hours is None:
            return granted
        until = int(self._clock()) + invitation.confirm_hours * HOUR_S
        return Unconfirmed(granted=granted, until=until, confirm_digest=invitation.confirm_digest)

    def _shown(self, question: Question, ticks: Ticks) -> Shown:
        notice = self._officer.notice(question.asked.notice_version)
        text_digest = notice.text_digests(ticks.layer).get(ticks.language)
        if text_digest is None:
            raise RequestInvalid("the notice has no such text: open the page again")
        return Shown(
            language=ticks.language,
            text_digest=text_digest,
            channel=question.invitation.channel,
            layer=ticks.layer,
        )


def _speaks_after(later: Record, record: Record) -> bool:
    act = later.act
    spoken = act.purposes if isinstance(act, Objected) else purposes_of(act)
    return later.sequence > record.sequence and bool(spoken & purposes_of(record.act))


def _apart(purposes: frozenset[Purpose]) -> list[frozenset[Purpose]]:
    """Return what is consented to by itself: recording, and everything that analyses."""
    recording = purposes & {Purpose.RECORDING}
    return [part for part in (purposes - recording, recording) if part]


def _evidence(question: Question, shown: Shown, purposes: frozenset[Purpose]) -> Digest:
    """Return the digest of what the page said and what was done on it."""
    return digest(
        {
            "request": question.record.record_id,
            "notice": question.asked.notice_version,
            "text": shown.text_digest,
            "ticked": sorted(purposes),
        }
    )
