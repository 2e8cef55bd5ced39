"""What one act leaves behind: a receipt, a log entry, a row of the ledger, and word to the nodes.

Writing takes these steps, numbered as in `consent.acts`: 2. logged, 3. recorded, 4. told. Many
acts at once share the log's group commits. Not here: whether an act may happen at all, and
erasure, which puts one row in the place of all.

Three acts come with a token, of which the ledger keeps the SHA-256: a grant with the one that
manages it, a request by invitation with the one that answers it, and an unconfirmed consent with
the one that confirms it. A token is good for its own kind alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from audit.events import Event, EventKind, Value
from audit.log import Draft, EvidenceLog
from consent.bell import Bell
from consent.errors import Conflict
from consent.ledger import Ledger, Recorded
from consent.officer import Officer
from consent.receipt import SALT, receipt_of
from consent.records import (
    Act,
    Deferred,
    Granted,
    Invalidated,
    Record,
    Refused,
    Requested,
    Revoked,
    Unconfirmed,
    act_to_dict,
)
from consent.settings import TrustSettings
from consent.tables import CapturedRow, LedgerRow
from consent.tokens import Randomness, new_token, token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import NodeId, SubjectId

TOKENS: Mapping[str, str] = MappingProxyType(
    {
        "grant": "manage_token",
        "request": "invitation_token",
        "unconfirmed": "confirmation_token",
    }
)
"""What the token of an act is called, by the act's kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom an act concerns, and the node it came through (None: by token)."""

    company: str
    subject: SubjectId
    node: NodeId | None


class Recorder:
    """Writes acts that were checked; its caller holds the one lock."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        officer: Officer,
        bell: Bell,
        clock: Clock,
        randomness: Randomness,
        settings: TrustSettings,
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._officer = officer
        self._bell = bell
        self._clock = clock
        self._randomness = randomness
        self._settings = settings

    def write(
        self, acts: Sequence[tuple[Person, Act]], *, once: tuple[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Log and record acts, all or none; return what each person takes away.

        Args:
            acts: Who does what.
            once: Name and salt of the one record, where its sender gave them.

        Raises:
            EvidenceUnavailable, LedgerUnavailable: None of them happened.
        """
        at = self._clock()
        records = [self.new_record(person, act, at, once=once) for person, act in acts]
        tokens = [self._token(record.act) for record in records]
        receipts = [
            self.document(record, token, once=once)
            for record, token in zip(records, tokens, strict=True)
        ]
        indices = self._log.append_many(list(map(_draft, records, receipts)))  # 2
        kept = receipts if once is not None else [None] * len(receipts)
        rows = list(map(row_of, records, indices, tokens, kept))
        self._ledger.add(rows, [row for record in records for row in _captured(record)])  # 3
        for company in {record.company for record in records}:
            self._bell.ring(company)  # 4
        return list(map(self.taken, records, receipts, indices, tokens))

    def again(self, found: Recorded, once: tuple[str, str]) -> dict[str, Any]:
        """Return what was taken away when this was recorded: the very same receipt.

        Raises:
            Conflict: The salt is another; or an earlier version recorded it, and its receipt
                would not be the one that was logged.
        """
        record = found.record
        if found.receipt is None:
            receipt = self.document(record, None, once=once)
        else:
            receipt = found.receipt | {SALT: once[1]}
        if self._log.entry(found.log_index).event.fields["receipt"] != digest(receipt):
            raise Conflict(
                f"record {record.record_id} stands in entry {found.log_index} and is in force; its "
                "receipt is given again for the salt that it was recorded with alone"
            )
        return self.taken(record, receipt, found.log_index, None)

    def new_record(
        self, person: Person, act: Act, at: float, *, once: tuple[str, str] | None = None
    ) -> Record:
        """Return an act as a record; the ledger gives it its place."""
        return Record(
            sequence=0,
            record_id=self._randomness(16).hex() if once is None else once[0],
            company=person.company,
            subject=person.subject,
            node=person.node,
            at=at,
            act=act,
        )

    def document(
        self, record: Record, token: str | None, *, once: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the receipt as a document; its salt is in nobody's hands but the person's."""
        act = record.act
        notice = self._officer.notice(act.notice_version) if isinstance(act, Granted) else None
        return receipt_of(
            record,
            notice=notice,
            controller=self._settings.controller(record.company),
            storage=self._settings.storage,
            withdraw_at=self._settings.withdraw_at,
            salt=self._randomness(16).hex() if once is None else once[1],
            token_digest=token_hash(token) if token and isinstance(act, Granted) else None,
        )

    def taken(
        self, record: Record, receipt: dict[str, Any], index: int, token: str | None
    ) -> dict[str, Any]:
        """Return what the person takes away; `consent.taken` verifies it offline."""
        kind = act_to_dict(record.act)["kind"]
        given = {} if token is None else {TOKENS[kind]: token}
        return given | {
            "record": record.record_id,
            "receipt": receipt,
            "log_index": index,
            "leaf": base64.b64encode(self._log.entry(index).leaf).decode(),
            "proof": self._log.receipt(index),
        }

    def _token(self, act: Act) -> str | None:
        match act:
            case Granted():
                wanted = True
            case Requested(invitation=invitation):
                wanted = invitation is not None
            case Unconfirmed(confirm_digest=given):
                wanted = given is None
            case _:
                wanted = False
        return new_token(self._randomness) if wanted else None


def _draft(record: Record, receipt: dict[str, Any]) -> Draft:
    act = record.act
    kind = EventKind.WITHDRAWAL_RECORDED
    fields: dict[str, Value] = {"record": record.record_id, "receipt": digest(receipt)}
    if isinstance(act, Granted):
        kind = EventKind.GRANT_RECORDED
        fields |= _caught(act)
    elif isinstance(act, Requested | Unconfirmed | Deferred | Refused | Revoked | Invalidated):
        kind, fields = EventKind.CONSENT_MOVED, fields | {"step": act_to_dict(act)["kind"]}
    facts = {"subject": record.subject, "company": record.company, "node": record.node}
    return Draft(
        event=Event(kind=kind, at=record.at, fields=fields),
        private=facts | act_to_dict(act),
        subject=record.subject,
    )


def _caught(granted: Granted) -> dict[str, Value]:
    """Return by which channel and proof a grant came, and which acts it answers or confirms."""
    found: dict[str, Value] = {}
    if granted.shown is not None and granted.capture is not None:
        found |= {"channel": granted.shown.channel.value, "evidence": granted.capture.evidence}
    completed = {"answers": granted.answers, "confirms": granted.confirms}
    return found | {name: of for name, of in completed.items() if of is not None}


def _captured(record: Record) -> list[CapturedRow]:
    """Return the rows by which a proof counts once: a grant's, or an unconfirmed one's."""
    act = record.act
    granted = act.granted if isinstance(act, Unconfirmed) else act
    if not isinstance(granted, Granted) or granted.capture is None:
        return []
    if granted.confirms is not None:  # its proof was counted with the yes that it confirms
        return []
    return [
        CapturedRow(company=record.company, evidence=granted.capture.evidence, purpose=purpose)
        for purpose in sorted(granted.purposes)
    ]


def row_of(
    record: Record, index: int, token: str | None, receipt: dict[str, Any] | None
) -> LedgerRow:
    """Return the ledger's row of a record, with the receipt, but for its salt, to give again."""
    act = act_to_dict(record.act)
    known = record.act.confirm_digest if isinstance(record.act, Unconfirmed) else None
    return LedgerRow(
        record_id=record.record_id,
        kind=act["kind"],
        company=record.company,
        subject=record.subject,
        node=record.node,
        at=record.at,
        body=json.dumps(act),
        token_hash=known if token is None else token_hash(token),
        log_index=index,
        receipt=None if receipt is None else json.dumps(receipt | {SALT: ""}),
    )
