"""One key for each person and label; destroying the key erases what it sealed.

The folder holds `keys.db` (wrapped keys) and `wrapping-N.key`, and no backup includes it.
What was sealed may lie anywhere, be copied, backed up and replicated: without its key it is
noise. Destroying takes four steps, each durable before the next:

1. a new wrapping key is written to its own file;
2. one transaction deletes the doomed keys and re-wraps the survivors under the new one:
   **from here on the keys are destroyed**;
3. the old wrapping key is overwritten and unlinked, so that older copies of the table, its
   write-ahead log or a flash block open nothing;
4. the write-ahead log is emptied.

A crash before 2 destroys nothing and leaves a wrapping key too many, one after 2 leaves the
old one; the next opening removes either. Not here: who may ask for what (`audit.gate`).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.errors import EvidenceUnavailable, KeyDestroyed, KeystoreUnavailable, SealBroken
from audit.keystore_rows import KeyRow, KeyRows
from audit.private_files import Ownership
from audit.wrapping import WrappingKey, destroy_other_wrapping_keys
from policies.clock import Clock
from policies.vocabulary import SubjectId

EVIDENCE = "evidence"
"""Label of the key that seals the facts of decisions; the other labels are purposes."""

_VERSION = b"\x01"
_KEY_ID = 8
_NONCE = 12
_HEADER = len(_VERSION) + _KEY_ID + _NONCE


class SealedItem(NamedTuple):
    """One thing to open in a batch; a plain tuple of the same four does as well."""

    subject: SubjectId
    label: str
    sealed: bytes
    context: bytes


class Keystore:
    """Seals, opens and destroys; thread-safe; one owner at a time.

    Sealed bytes are version (1), key id (8), nonce (12), AES-256-GCM ciphertext and tag (16),
    bound to person, label and `context`. Data keys are unwrapped for one call and dropped.
    """

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        """Open or make the keystore, and finish a destruction that a crash cut short.

        Raises:
            KeystoreUnavailable: Another owner holds it, the disk refuses, or the table and
                the wrapping key do not belong together (a restored copy).
        """
        self._folder = folder
        self._clock = clock
        self._lock = threading.RLock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ownership = Ownership(folder / "keystore.lock")
        except (OSError, EvidenceUnavailable) as error:
            raise KeystoreUnavailable(f"keystore {folder.name}: {error}") from error
        try:
            self._rows = KeyRows(folder / "keys.db")
            self._wrapping = self._open_wrapping()
        except BaseException:
            self._ownership.release()
            raise
        self._open = True

    def seal(self, subject: SubjectId, label: str, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt under the person's key for that label, made now when missing.

        Args:
            subject: Whose data it is.
            label: A purpose, or `EVIDENCE`.
            plaintext: What to seal.
            context: What the bytes are (for example the record's id); `open` must say the same.

        Raises:
            KeystoreUnavailable: The keystore is closed, or the disk refuses.
        """
        with self._working():
            row = self._rows.find(subject, label) or self._create([(subject, label)])[0]
            cipher = AESGCM(self._wrapping.unwrap(row))
        nonce = os.urandom(_NONCE)
        ciphertext = cipher.encrypt(nonce, plaintext, _bound(subject, label, context))
        return _VERSION + row.key_id + nonce + ciphertext

    def prepare(self, names: Collection[tuple[SubjectId, str]]) -> None:
        """Make the keys that are missing for these (person, label), in one durable step.

        `seal` makes them too, one by one; a disk writes many at once in the same time.

        Raises:
            KeystoreUnavailable: The keystore is closed, or the disk refuses: none is made.
        """
        with self._working():
            if missing := [name for name in set(names) if self._rows.find(*name) is None]:
                self._create(missing)

    def open(self, subject: SubjectId, label: str, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            KeyDestroyed: The key is gone: this was erased.
            SealBroken: The bytes, person, label or context are not those that were sealed.
            KeystoreUnavailable: The keystore is closed or cannot be read.
        """
        with self._working():
            opened = self._open_one(SealedItem(subject, label, sealed, context), {})
        if opened is None:
            raise KeyDestroyed(f"the key for {label} that sealed this was destroyed")
        return opened

    def open_many(
        self, items: Iterable[SealedItem | tuple[SubjectId, str, bytes, bytes]]
    ) -> list[bytes | None]:
        """Decrypt a batch, in order; None where the key was destroyed.

        Each person's key is unwrapped once and forgotten when the batch is done.

        Raises:
            SealBroken: Bytes, person, label or context of one are not those that were sealed.
            KeystoreUnavailable: The keystore is closed or cannot be read.
        """
        ciphers: dict[tuple[str, str], tuple[bytes, AESGCM] | None] = {}
        with self._working(), self._rows.reading():
            return [self._open_one(SealedItem(*item), ciphers) for item in items]

    def destroy(self, subject: SubjectId, label: str | None = None) -> int:
        """Destroy a person's key for one label, or all of them; return how many there were.

        Raises:
            KeystoreUnavailable: The disk refuses. After step 2 the keys are gone all the same;
                the old wrapping key is then destroyed at the next opening.
        """
        return self.destroy_many([subject], label)

    def destroy_many(self, subjects: Iterable[SubjectId], label: str | None = None) -> int:
        """Destroy the keys of many people with one re-wrapping; return how many there were.

        Raises:
            KeystoreUnavailable: As for `destroy`.
        """
        gone = set(subjects)
        with self._working():
            rows = self._rows.all()
            doomed = [r for r in rows if r.subject in gone and label in {None, r.label}]
            if doomed:
                ids = {row.key_id for row in doomed}
                self._rewrap(doomed, [row for row in rows if row.key_id not in ids])
            else:  # a retry after step 3 failed still has the old wrapping key to destroy
                destroy_other_wrapping_keys(self._folder, keep=self._wrapping.number)
        return len(doomed)

    def labels(self, subject: SubjectId) -> frozenset[str]:
        """Return the labels under which a person has a key.

        Raises:
            KeystoreUnavailable: The keystore is closed or cannot be read.
        """
        with self._working():
            return self._rows.labels(subject)

    def owner(self, sealed: bytes) -> tuple[SubjectId, str] | None:
        """Return person and label of the key that sealed this, or None if it was destroyed.

        Raises:
            KeystoreUnavailable: The keystore is closed or cannot be read.
        """
        with self._working():
            row = self._rows.find_id(key_id_of(sealed))
        return None if row is None else (SubjectId(row.subject), row.label)

    def key_ids(self) -> dict[bytes, SubjectId]:
        """Return the id of every living key with its person, to sweep what the dead sealed.

        Raises:
            KeystoreUnavailable: The keystore is closed or cannot be read.
        """
        with self._working():
            return {row.key_id: SubjectId(row.subject) for row in self._rows.all()}

    def close(self) -> None:
        """Close the files and give up the ownership; more than once does nothing."""
        with self._lock:
            if self._open:
                self._open = False
                self._rows.close()
                self._ownership.release()

    def _open_wrapping(self) -> WrappingKey:
        """Load the wrapping key that the table names; make the first; drop the others."""
        number = self._rows.generation
        try:
            if number == 0:
                wrapping = WrappingKey.first(self._folder)
                self._rows.replace([], [], generation=wrapping.number)
                return wrapping
            wrapping = WrappingKey.load(self._folder, number)  # first: never drop the living one
            destroy_other_wrapping_keys(self._folder, keep=number)
        except (OSError, sqlite3.Error) as error:
            raise KeystoreUnavailable("the keystore's folder refuses") from error
        return wrapping

    def _create(self, names: Sequence[tuple[SubjectId, str]]) -> list[KeyRow]:
        """Make durable keys; they exist before anything is sealed with them."""
        rows = [self._new_key(*name) for name in names]
        self._rows.add(rows)
        return rows

    def _new_key(self, subject: SubjectId, label: str) -> KeyRow:
        key_id, key = os.urandom(_KEY_ID), AESGCM.generate_key(bit_length=256)
        wrapped = self._wrapping.wrap(key, key_id=key_id, subject=subject, label=label)
        return KeyRow(key_id, subject, label, wrapped)

    def _open_one(
        self, item: SealedItem, ciphers: dict[tuple[str, str], tuple[bytes, AESGCM] | None]
    ) -> bytes | None:
        """Decrypt one item of a batch; None where its key was destroyed."""
        name = (item.subject, item.label)
        if name not in ciphers:
            row = self._rows.find(*name)
            ciphers[name] = row and (row.key_id, AESGCM(self._wrapping.unwrap(row)))
        found, key_id = ciphers[name], key_id_of(item.sealed)
        if found is None or found[0] != key_id:
            return None
        nonce, ciphertext = item.sealed[_HEADER - _NONCE : _HEADER], item.sealed[_HEADER:]
        try:
            return found[1].decrypt(nonce, ciphertext, _bound(*name, item.context))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"sealed bytes for {item.label} were changed or moved") from error

    def _rewrap(self, doomed: list[KeyRow], survivors: list[KeyRow]) -> None:
        """Destroy keys in the four steps of the module's text."""
        old = self._wrapping
        destroy_other_wrapping_keys(self._folder, keep=old.number)
        new = WrappingKey.create(self._folder, old.number + 1)  # 1
        rewrapped = [
            (
                new.wrap(old.unwrap(r), key_id=r.key_id, subject=r.subject, label=r.label),
                r.key_id,
            )
            for r in survivors
        ]
        self._rows.replace(doomed, rewrapped, generation=new.number)  # 2
        self._wrapping = new
        destroy_other_wrapping_keys(self._folder, keep=new.number)  # 3
        self._rows.flush()  # 4

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Hold the lock while open, and translate what the disk says."""
        with self._lock:
            if not self._open:
                raise KeystoreUnavailable("the keystore is closed")
            try:
                yield
            except (OSError, sqlite3.Error) as error:
                raise KeystoreUnavailable(
                    f"the keystore cannot be read or written: {type(error).__name__}"
                ) from error


def key_id_of(sealed: bytes) -> bytes:
    """Return the id of the key that sealed this.

    Raises:
        SealBroken: Not sealed bytes of this version.
    """
    if len(sealed) < _HEADER or sealed[:1] != _VERSION:
        raise SealBroken("not sealed bytes of this version")
    return sealed[1 : 1 + _KEY_ID]


def _bound(subject: str, label: str, context: bytes) -> bytes:
    """Return associated data in which no part can run into the next."""
    parts = (subject.encode(), label.encode(), context)
    return b"undertone/sealed/v1" + b"".join(len(p).to_bytes(4, "big") + p for p in parts)
