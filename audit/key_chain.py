"""The keys of a log, followed from its first by what the log itself says.

A new key comes by an entry, `key-introduced`: the old key signs that from the size after this
entry on both sign, and until when that is planned; the new key signs the same. An old key goes by
an entry, `key-retired`, that its successor signs, and signs nothing beyond that entry's index.
So at each size it is settled which keys must have signed: between the entries both, and one line
is not enough.

What is signed has a prefix of its own (`audit.signing`), names the log and the exact size, and so
holds at one place of one log. Whoever knows the first key and has the entries needs nothing else.
What an entry cannot say is that there is no other history: that is for witnesses (ADR 0015).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from audit.errors import EventInvalid, KeyChangeInvalid, KeyInvalid, SignatureInvalid
from audit.events import Event, EventKind
from audit.keys import SigningKey, VerifyKey
from audit.leaf import decode_leaf
from policies.canonical import canonical

KEY_KINDS = frozenset({EventKind.KEY_INTRODUCED, EventKind.KEY_RETIRED})
_MARK = b'"kind":"key-'
_WORD_CHARACTERS = 256


class Reason(StrEnum):
    """Why a key is retired."""

    ROTATED = "rotated"  # the overlap is over as planned
    COMPROMISED = "compromised"  # at once, whatever was planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One key's sizes: the first at which it signs, and the last; None while it goes on.

    `entry` introduced it (None: the first key), `until` is the Unix second up to which it and its
    predecessor were to sign together, `retired_at` what the entry that retired it says.
    """

    key: VerifyKey
    first: int = 0
    entry: int | None = None
    until: float | None = None
    last: int | None = None
    retired_at: float | None = None
    reason: Reason | None = None

    def covers(self, size: int) -> bool:
        """Return whether the key signs at this size."""
        return self.first <= size and (self.last is None or size <= self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChain:
    """A log's keys in the order in which they came (an `audit.keys.LogKeys`)."""

    terms: tuple[Term, ...]
    origin: str | None = None
    events: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def begin(cls, first: VerifyKey) -> KeyChain:
        """Return the chain of a log that is known by its first key alone."""
        return cls(terms=(Term(key=first),))

    @classmethod
    def of(cls, keys: VerifyKey | KeyChain) -> KeyChain:
        """Return what is known of a log's keys as a chain, were it the first alone."""
        return cls.begin(keys) if isinstance(keys, VerifyKey) else keys

    @classmethod
    def follow(cls, first: VerifyKey, events: Iterable[tuple[int, bytes]]) -> KeyChain:
        """Return the chain over the entries `(index, leaf)` that change keys, in order.

        Raises:
            KeyChangeInvalid: As in `after`.
        """
        chain = cls.begin(first)
        for index, leaf in events:
            chain = chain.after(index, leaf)
        return chain

    def at(self, size: int) -> KeyChain:
        """Return the chain as it was when the log had that size."""
        return self.follow(self.terms[0].key, [e for e in self.events if e[0] < size])

    def __str__(self) -> str:
        return str(self.terms[0].key)

    @property
    def name(self) -> str:
        """The name that all the keys speak under."""
        return self.terms[0].key.name

    @property
    def in_force(self) -> tuple[Term, ...]:
        """The keys that go on signing: one, or two in an overlap, the older first."""
        return tuple(term for term in self.terms if term.last is None)

    def keys_at(self, size: int) -> tuple[VerifyKey, ...]:
        """Return the keys that must each have signed a checkpoint of that size."""
        return tuple(term.key for term in self.terms if term.covers(size))

    def witness_keys(self, at_s: float) -> tuple[VerifyKey, ...]:
        """Return the keys whose cosignature of that Unix second counts, the newest first."""
        held = (t for t in self.terms if t.retired_at is None or at_s <= t.retired_at)
        return tuple(term.key for term in held)[::-1]

    def after(self, index: int, leaf: bytes) -> KeyChain:
        """Return the chain after an entry that changes keys.

        1. the entry is one, for this log and this place; 2. the keys' turn: no key comes while
        two sign, none goes while one does; 3. the key that has to has signed it.

        Raises:
            KeyChangeInvalid: It does not hold; the message says what.
        """
        try:
            return self._step(index, leaf, *decode_leaf(leaf))
        except KeyChangeInvalid:
            raise
        except (EventInvalid, KeyInvalid, SignatureInvalid, ValueError, TypeError) as error:
            text = f"entry {index} changes keys of {self.name} and does not hold: {error}"
            raise KeyChangeInvalid(text) from error

    def _step(self, index: int, leaf: bytes, event: Event, commitment: bytes | None) -> KeyChain:
        if commitment is not None or event.kind not in KEY_KINDS:  # 1
            raise KeyChangeInvalid(f"entry {index} is no change of keys")
        origin = str(event.fields["origin"])
        if (self.origin or origin) != origin or (self.events and index <= self.events[-1][0]):
            raise KeyChangeInvalid(f"entry {index} changes the keys of another log, or out of turn")
        introduces = event.kind is EventKind.KEY_INTRODUCED
        terms = self._introduced(index, event) if introduces else self._retired(index, event)
        return KeyChain(terms=terms, origin=origin, events=(*self.events, (index, leaf)))

    def _introduced(self, index: int, event: Event) -> tuple[Term, ...]:
        fields, old = event.fields, self.in_force[-1].key
        if len(self.in_force) > 1:  # 2
            raise KeyChangeInvalid(f"entry {index} brings a third key while two sign")
        new = VerifyKey.parse(_joined(fields["key"]))
        known = {term.key.public for term in self.terms}
        if new.name != self.name or new.public in known or not new.scheme.signs_logs:
            raise KeyChangeInvalid(f"entry {index} brings a known key, or one that signs no logs")
        if (fields["from_size"], fields["by"]) != (index + 1, old.key_id.hex()):  # 1
            raise KeyChangeInvalid(f"entry {index} was signed for another place or by another key")
        until = float(_number(fields["until"]))
        statement = _statement(event)
        old.verify(statement, _unpacked(fields["signature"]))  # 3
        new.verify(statement, _unpacked(fields["accepted"]))
        return (*self.terms, Term(key=new, first=index + 1, entry=index, until=until))

    def _retired(self, index: int, event: Event) -> tuple[Term, ...]:
        fields = event.fields
        if len(self.in_force) < 2:  # noqa: PLR2004 (2: one has to go on)
            raise KeyChangeInvalid(f"entry {index} retires the only key")
        old, new = self.in_force
        said = (fields["key_id"], fields["by"], fields["last_size"])
        if said != (old.key.key_id.hex(), new.key.key_id.hex(), index):  # 1
            raise KeyChangeInvalid(f"entry {index} retires another key, or at another place")
        reason = Reason(str(fields["reason"]))
        if reason is Reason.ROTATED and event.at < (new.until or 0.0):
            raise KeyChangeInvalid(f"entry {index} ends the overlap before its planned end")
        new.key.verify(_statement(event), _unpacked(fields["signature"]))  # 3
        gone = replace(old, last=index, retired_at=event.at, reason=reason)
        return tuple(gone if term == old else term for term in self.terms)


def is_key_change(leaf: bytes) -> bool:
    """Return whether a leaf changes keys; a look at its bytes, for many."""
    return _MARK in leaf


def key_changes(start: int, leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Return `(index, leaf)` of those that change keys."""
    return [(at, leaf) for at, leaf in enumerate(leaves, start) if _MARK in leaf]


def introduce(
    index: int,
    *,
    origin: str,
    new: SigningKey,
    old: SigningKey,
    until: float,
    at: float,
) -> Event:
    """Return the event that brings a new key, to be the entry of that index.

    Raises:
        EventInvalid: The log's origin cannot stand in an event.
    """
    fields: dict[str, Any] = {
        "origin": origin,
        "key": _chunks(str(new.verify_key)),
        "from_size": index + 1,
        "until": until,
        "by": old.verify_key.key_id.hex(),
    }
    statement = _statement_of(EventKind.KEY_INTRODUCED, at, fields)
    signed = {"signature": _packed(old.sign(statement)), "accepted": _packed(new.sign(statement))}
    return Event(kind=EventKind.KEY_INTRODUCED, at=at, fields=fields | signed)


def retire(
    index: int, *, origin: str, old: VerifyKey, new: SigningKey, reason: Reason, at: float
) -> Event:
    """Return the event that ends a key, signed by its successor, to be the entry of that index."""
    fields: dict[str, Any] = {
        "origin": origin,
        "key_id": old.key_id.hex(),
        "last_size": index,
        "reason": reason.value,
        "by": new.verify_key.key_id.hex(),
    }
    signed = _packed(new.sign(_statement_of(EventKind.KEY_RETIRED, at, fields)))
    return Event(kind=EventKind.KEY_RETIRED, at=at, fields=fields | {"signature": signed})


def _statement(event: Event) -> bytes:
    return _statement_of(event.kind, event.at, event.fields)


def _statement_of(kind: EventKind, at: float, fields: Mapping[str, Any]) -> bytes:
    """Return what a change's signatures cover: all of the event but themselves."""
    said = {name: v for name, v in fields.items() if name not in {"signature", "accepted"}}
    body = canonical({"kind": kind.value, "at": at, "fields": said})
    return b"undertone-log-key/v1\n" + body


def _chunks(text: str) -> list[str]:
    """Return text as words that an event may hold: an ML-DSA key is longer than one."""
    return [text[at : at + _WORD_CHARACTERS] for at in range(0, len(text), _WORD_CHARACTERS)]


def _joined(words: object) -> str:
    if not isinstance(words, list):
        raise TypeError("expected a list of words")
    return "".join(words)


def _packed(signature: bytes) -> list[str]:
    return _chunks(base64.b64encode(signature).decode())


def _unpacked(words: object) -> bytes:
    try:
        return base64.b64decode(_joined(words), validate=True)
    except binascii.Error as error:
        raise ValueError("a signature is malformed") from error


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("expected a number")
    return value
