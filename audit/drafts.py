"""From a draft to bytes: the leaf, and the payload beside the tree, sealed for whose it is.

A person's payload is sealed with their own key, so that destroying the key erases it. Without
a keystore it is not kept at all: the leaf has the commitment, and nothing else stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from audit.errors import EventInvalid, EvidenceUnavailable, KeyDestroyed, KeystoreError
from audit.events import Event, EventKind
from audit.key_chain import KEY_KINDS
from audit.keystore import EVIDENCE, Keystore, key_id_of
from audit.leaf import commit_payload, encode_leaf
from audit.log_store import PayloadRow
from audit.trace_context import TRACE_ID, current_trace
from policies.canonical import Canonical
from policies.vocabulary import SubjectId

MOST_AHEAD_S = 300.0
"""How far an event's time may lie ahead of the log's clock: services' clocks differ a little."""


class Draft(NamedTuple):
    """An event to append, with what to commit to beside it and whose it is.

    What is committed to is a JSON object, or an object's canonical bytes.
    """

    event: Event
    private: Mapping[str, Any] | Canonical | None = None
    subject: SubjectId | None = None


class Pending(NamedTuple):
    """A draft as bytes, made in its caller's thread; `decision` is the id of one, taken once."""

    leaf: bytes
    key_id: bytes | None
    body: bytes | None
    decision: str | None = None


def check_drafts(drafts: Sequence[Draft], *, now: float) -> None:
    """Refuse events that no caller of a log may append.

    Raises:
        EventInvalid: One changes the log's keys, or its time lies ahead of the log's clock.
    """
    for draft in drafts:
        if draft.event.kind in KEY_KINDS:
            raise EventInvalid("a log's keys change by rotation alone", field="kind")
        if draft.event.at > now + MOST_AHEAD_S:
            text = f"{draft.event.kind}: at lies more than {MOST_AHEAD_S:g} s ahead of the clock"
            raise EventInvalid(text, field="at")


def traced(drafts: Sequence[Draft]) -> Sequence[Draft]:
    """Return the drafts tied to the trace that their caller is in, where there is one."""
    trace = current_trace.get()
    if trace is None:
        return drafts
    return [
        draft._replace(event=replace(event, fields={TRACE_ID: trace, **event.fields}))
        for draft in drafts
        for event in (draft.event,)
    ]


class Payloads:
    """Seals and opens what lies beside the tree."""

    def __init__(self, keystore: Keystore | None) -> None:
        self._keystore = keystore

    def prepare(self, drafts: Sequence[Draft]) -> list[Pending]:
        """Encode drafts: commit to their payloads and seal them.

        Raises:
            EventInvalid: A payload is not JSON, or an event too long.
            EvidenceUnavailable: A payload cannot be sealed.
        """
        self._make_keys(drafts)
        return [self._prepare(draft)._replace(decision=_decision(draft.event)) for draft in drafts]

    def open(self, row: PayloadRow, commitment: bytes) -> bytes | None:
        """Return a payload's body; None when its key is destroyed.

        Raises:
            EvidenceUnavailable: The keystore cannot be read.
        """
        if row.key_id is None:
            return row.body
        if self._keystore is None:
            return None
        try:
            owner = self._keystore.owner(row.body)
            if owner is None:
                return None
            return self._keystore.open(*owner, row.body, context=commitment)
        except KeyDestroyed:
            return None
        except KeystoreError as error:
            raise EvidenceUnavailable("the payload's seal cannot be opened") from error

    def keys_of(self, subject: SubjectId) -> frozenset[bytes]:
        """Return the ids of this person's living keys.

        Raises:
            EvidenceUnavailable: The keystore cannot say whose is whose.
        """
        if self._keystore is None:
            return frozenset()
        try:
            alive = self._keystore.key_ids()
        except KeystoreError as error:
            raise EvidenceUnavailable("the keystore cannot say which keys live") from error
        return frozenset(key_id for key_id, owner in alive.items() if owner == subject)

    def doomed(self, subject: SubjectId, used: frozenset[bytes]) -> frozenset[bytes]:
        """Return which of the used keys are this person's, or destroyed already.

        Raises:
            EvidenceUnavailable: The keystore cannot say whose is whose.
        """
        if self._keystore is None:
            return frozenset()
        try:
            alive = self._keystore.key_ids()
        except KeystoreError as error:
            raise EvidenceUnavailable("the keystore cannot say which keys live") from error
        return frozenset(key_id for key_id in used if alive.get(key_id) in {None, subject})

    def _make_keys(self, drafts: Sequence[Draft]) -> None:
        """Make the keys that are missing for the people of several drafts, all at once."""
        people = {d.subject for d in drafts if d.private is not None and d.subject is not None}
        if self._keystore is None or len(people) < 2:  # noqa: PLR2004 (one makes its own)
            return
        try:
            self._keystore.prepare([(subject, EVIDENCE) for subject in people])
        except KeystoreError as error:
            raise EvidenceUnavailable("the payloads cannot be sealed") from error

    def _prepare(self, draft: Draft) -> Pending:
        if draft.private is None:
            return Pending(encode_leaf(draft.event, None), None, None)
        commitment, body = commit_payload(draft.private)
        leaf = encode_leaf(draft.event, commitment)
        if draft.subject is None:
            return Pending(leaf, None, body)
        if self._keystore is None:
            return Pending(leaf, None, None)
        try:
            sealed = self._keystore.seal(draft.subject, EVIDENCE, body, context=commitment)
        except KeystoreError as error:
            raise EvidenceUnavailable("the payload cannot be sealed") from error
        return Pending(leaf, key_id_of(sealed), sealed)


def _decision(event: Event) -> str | None:
    """Return the id of the decision that this event is."""
    if event.kind in {EventKind.DECISION, EventKind.BATCH_DECISION}:
        return str(event.fields["decision_id"])
    return None
