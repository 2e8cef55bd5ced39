"""Sealed records: one copy and one key for each person and purpose, opened under a permit.

What is kept (promise 2): for `service` the redacted text and its reading, at most a day
(rule 16); for `training` the features (float32) and, once the customer gave one, a label.
Erasure is destroying keys (promise 3): the rows that remain in a backup are noise.

A permit from before a destruction no longer stores: else a turn under way while the person
withdraws would make a new key for what they have just withdrawn.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.errors import KeyDestroyed, KeystoreError
from audit.keystore import Keystore
from client_node.errors import TurnUnknown, VaultError
from client_node.sealed_records import Kept, SealedRecords
from client_node.tables import SealedRecord
from policies.errors import PermitInvalid
from policies.law import LAW
from policies.permit import Permit
from policies.vocabulary import Action, Provenance, Purpose, SubjectId

LITTLE_FLOAT = np.dtype("<f4")
SESSION_S = LAW.clocks.emotion_session_hours * 3600
"""How long a reading may be used and kept (rule 16)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """One labelled turn of one person, opened: features `(385,)` float32."""

    subject: SubjectId
    features: NDArray[np.float32]
    label: str


class Vault:
    """Seals, opens and destroys; thread-safe."""

    def __init__(self, path: Path, keystore: Keystore) -> None:
        """Open or make the records.

        Args:
            path: The database file.
            keystore: Seals and opens; its owner closes it.

        Raises:
            VaultError: The file cannot be opened.
        """
        self._keystore = keystore
        self._lock = threading.RLock()
        self._destroyed_at: dict[tuple[SubjectId, str], float] = {}
        self._records = SealedRecords(path)

    def seal(
        self, turn: str, copies: Sequence[tuple[Permit, bytes]], *, subject: SubjectId, now: float
    ) -> None:
        """Seal the copies of a turn, each for its permit's purpose: all of them or none.

        Raises:
            PermitInvalid: Not a permit to store for this person now, or the key for its
                purpose was destroyed after it was issued.
            VaultError: The disk refuses; nothing is kept.
        """
        with self._lock:
            for permit, _ in copies:
                self._check_storing(permit, subject, now=now)
            self._make_keys([(subject, permit.purpose.value) for permit, _ in copies])
            self._records.write(
                [
                    SealedRecord(
                        turn=turn,
                        purpose=permit.purpose,
                        subject=subject,
                        created_at=now,
                        sealed=self._sealing(
                            subject, permit.purpose, plaintext, _context(turn, permit.purpose)
                        ),
                    )
                    for permit, plaintext in copies
                ]
            )

    def open(self, turn: str, *, action: Action, permit: Permit, now: float) -> bytes:
        """Return the turn's copy for the permit's purpose.

        Raises:
            PermitInvalid: Not a permit for that action on this person now.
            TurnUnknown: No such copy, or its key was destroyed.
            VaultError: The record was changed, or the disk refuses.
        """
        record = self._records.find(turn, permit.purpose)
        subject = SubjectId(record.subject)
        if permit.purpose is Purpose.SERVICE and record.created_at < now - SESSION_S:
            raise TurnUnknown("the turn's session is over: nothing of it is used any more")
        permit.cover(action=action, purpose=permit.purpose, subject=subject, now=now)
        try:
            context = _context(turn, permit.purpose)
            return self._keystore.open(subject, permit.purpose, record.sealed, context=context)
        except KeyDestroyed as error:
            raise TurnUnknown("the turn was erased") from error
        except KeystoreError as error:
            raise VaultError(f"a record cannot be opened: {type(error).__name__}") from error

    def open_newest(
        self, subject: SubjectId, *, before: str | None, limit: int, permit: Permit, now: float
    ) -> dict[str, bytes]:
        """Return the session's newest service copies of a person by turn, newest first.

        Args:
            subject: Whose.
            before: A turn of theirs: only older ones. None: to now.
            limit: At most so many, in one reading of the disk.
            permit: To read them for service.
            now: Unix seconds.

        Raises:
            PermitInvalid: Not a permit to read them for service now.
            TurnUnknown: `before` is no turn of theirs that is kept.
            VaultError: A record was changed, or the disk refuses.
        """
        name = Purpose.SERVICE
        permit.cover(action=Action.INFER, purpose=name, subject=subject, now=now)
        rows = self._records.newest(subject, before=before, since=now - SESSION_S, limit=limit)
        items = [(subject, name.value, sealed, _context(turn, name)) for turn, sealed in rows]
        try:
            opened = self._keystore.open_many(items)
        except KeystoreError as error:
            raise VaultError(f"records cannot be opened: {type(error).__name__}") from error
        pairs = zip(rows, opened, strict=True)
        return {turn: copy for (turn, _), copy in pairs if copy is not None}

    def label(
        self, turn: str, label: str, provenance: Provenance, *, permit: Permit, now: float
    ) -> None:
        """Attach the customer's own label to the turn's training copy, in place of an earlier one.

        Raises:
            PermitInvalid, TurnUnknown, VaultError: As in `open` and `seal`.
        """
        purpose = Purpose.TRAINING
        with self._lock:
            record = self._records.find(turn, purpose)
            subject = SubjectId(record.subject)
            permit.cover(action=Action.LABEL, purpose=purpose, subject=subject, now=now)
            if purpose.value not in self.purposes_of(subject):
                raise TurnUnknown("the turn was erased")
            context = _context(turn, purpose) + b"/label"
            record.label = self._sealing(subject, purpose, label.encode(), context)
            record.provenance = provenance.value
            self._records.write([record])

    def own_label(self, turn: str, *, permit: Permit, now: float) -> str | None:
        """Return the label that the customer gave the turn; None where they gave none.

        Raises:
            PermitInvalid, TurnUnknown, VaultError: As in `open`.
        """
        purpose = Purpose.TRAINING
        record = self._records.find(turn, purpose)
        subject = SubjectId(record.subject)
        permit.cover(action=Action.LABEL, purpose=purpose, subject=subject, now=now)
        if record.label is None:
            return None
        context = _context(turn, purpose) + b"/label"
        try:
            return self._keystore.open(subject, purpose, record.label, context=context).decode()
        except KeyDestroyed as error:
            raise TurnUnknown("the turn was erased") from error
        except KeystoreError as error:
            raise VaultError(f"a label cannot be opened: {type(error).__name__}") from error

    def correct(self, turn: str, plaintext: bytes, *, permit: Permit, now: float) -> None:
        """Put another service copy in the place of the turn's, as old as that was.

        Raises:
            PermitInvalid, TurnUnknown, VaultError: As in `open` and `seal`.
        """
        purpose = Purpose.SERVICE
        with self._lock:
            record = self._records.find(turn, purpose)
            subject = SubjectId(record.subject)
            permit.cover(action=Action.LABEL, purpose=purpose, subject=subject, now=now)
            self._check_fresh(permit, subject)
            record.sealed = self._sealing(subject, purpose, plaintext, _context(turn, purpose))
            self._records.write([record])

    def enclose(
        self, name: str, plaintext: bytes, *, permit: Permit, subject: SubjectId, now: float
    ) -> bytes:
        """Seal what another store keeps of a person, under the key of the permit's purpose.

        Raises:
            PermitInvalid: Not a permit to store or use of this person now, or its purpose was
                withdrawn since.
            VaultError: The keystore refuses.
        """
        with self._lock:
            if permit.action is not Action.STORE:
                self._check_use(permit, subject, now=now)
                self._check_fresh(permit, subject)
            else:
                self._check_storing(permit, subject, now=now)
            return self._sealing(subject, permit.purpose, plaintext, _beside(name))

    def disclose(
        self, name: str, sealed: bytes, *, permit: Permit, subject: SubjectId, now: float
    ) -> bytes:
        """Open what `enclose` sealed.

        Raises:
            PermitInvalid: Not a permit about this person now.
            TurnUnknown: Its key was destroyed.
            VaultError: It was changed, or the keystore refuses.
        """
        self._check_use(permit, subject, now=now)
        try:
            return self._keystore.open(subject, permit.purpose, sealed, context=_beside(name))
        except KeyDestroyed as error:
            raise TurnUnknown("what was kept was erased") from error
        except KeystoreError as error:
            raise VaultError(f"what is kept cannot be opened: {type(error).__name__}") from error

    def owner(self, turn: str) -> SubjectId:
        """Return whose turn this is.

        Raises:
            TurnUnknown: No copy of it is kept.
            VaultError: The disk refuses.
        """
        for purpose in (Purpose.SERVICE, Purpose.TRAINING):
            try:
                return SubjectId(self._records.find(turn, purpose).subject)
            except TurnUnknown:
                continue
        raise TurnUnknown("no such turn is kept here: it may have expired or been erased")

    def trainable(self) -> frozenset[SubjectId]:
        """Return the people with at least one labelled training copy.

        Raises:
            VaultError: The disk refuses.
        """
        return self._records.trainable()

    def open_batch(self, *, permit: Permit, max_turns: int, now: float) -> list[TrainingRecord]:
        """Return each permitted person's newest labelled turns, at most `max_turns` of one.

        Only the records of people in the permit are opened.

        Raises:
            PermitInvalid: Not a permit to train now.
            VaultError: A record was changed, or the disk refuses.
        """
        permit.cover(action=Action.TRAIN, purpose=Purpose.TRAINING, subject=None, now=now)
        rows = self._records.newest_labelled(permit.subjects, max_turns)
        name = Purpose.TRAINING.value
        items = [(SubjectId(r.subject), name, r.sealed, _context(r.turn, name)) for r in rows]
        labels = [
            (SubjectId(r.subject), name, r.label or b"", _context(r.turn, name) + b"/label")
            for r in rows
        ]
        try:
            opened = self._keystore.open_many([*items, *labels])
        except KeystoreError as error:
            raise VaultError(f"a record cannot be opened: {type(error).__name__}") from error
        pairs = zip(rows, opened[: len(rows)], opened[len(rows) :], strict=True)
        return [
            TrainingRecord(
                subject=SubjectId(row.subject),
                features=np.frombuffer(features, LITTLE_FLOAT).astype(np.float32),
                label=label.decode(),
            )
            for row, features, label in pairs
            if features is not None and label is not None
        ]

    def open_readings(
        self, *, reading: Permit, counting: Permit, now: float
    ) -> dict[SubjectId, list[bytes]]:
        """Return the session's service copies of everybody whom both permits name, for a count.

        Raises:
            PermitInvalid: Not a permit to read for service, or not one to count, now.
            VaultError: A record was changed, or the disk refuses.
        """
        reading.cover(action=Action.INFER, purpose=Purpose.SERVICE, subject=None, now=now)
        aggregate = Purpose.AGGREGATE_REPORTING
        counting.cover(action=Action.COUNT, purpose=aggregate, subject=None, now=now)
        name, people = Purpose.SERVICE.value, reading.subjects & counting.subjects
        rows = self._records.of_session(people, since=now - SESSION_S)
        items = [(SubjectId(r.subject), name, r.sealed, _context(r.turn, name)) for r in rows]
        try:
            opened = self._keystore.open_many(items)
        except KeystoreError as error:
            raise VaultError(f"records cannot be opened: {type(error).__name__}") from error
        found: dict[SubjectId, list[bytes]] = {}
        for row, copy in zip(rows, opened, strict=True):
            if copy is not None:
                found.setdefault(SubjectId(row.subject), []).append(copy)
        return found

    def kept(self, subject: SubjectId) -> list[Kept]:
        """Return which copies are kept of a person's turns, oldest first; nothing is opened.

        Raises:
            VaultError: The disk refuses.
        """
        return self._records.kept(subject)

    def purposes_of(self, subject: SubjectId) -> frozenset[str]:
        """Return the labels under which the person still has a key."""
        try:
            return self._keystore.labels(subject)
        except KeystoreError as error:
            raise VaultError(f"the keystore does not answer: {type(error).__name__}") from error

    def destroy(
        self, subjects: Collection[SubjectId], purpose: Purpose | None, *, now: float
    ) -> int:
        """Destroy people's keys for one purpose, or every key of theirs; return how many.

        1. from here on older permits store nothing; 2. keys; 3. rows.

        Raises:
            VaultError: The keystore or the disk refuses.
        """
        names = [p.value for p in Purpose] if purpose is None else [purpose.value]
        with self._lock:
            pairs = ((subject, name) for subject in subjects for name in names)
            self._destroyed_at.update(dict.fromkeys(pairs, now))  # 1
            try:
                label = None if purpose is None else purpose.value
                count = self._keystore.destroy_many(subjects, label)  # 2
            except KeystoreError as error:
                raise VaultError(f"keys cannot be destroyed: {type(error).__name__}") from error
            self._records.delete(subjects, names)  # 3
        return count

    def expire(self, purpose: Purpose, *, before: float) -> int:
        """Delete the copies for a purpose that are older than `before`; return how many.

        Raises:
            VaultError: The disk refuses.
        """
        return self._records.expire(purpose, before=before)

    def close(self) -> None:
        """Close the records; the keystore is its owner's to close."""
        self._records.close()

    def _check_storing(self, permit: Permit, subject: SubjectId, *, now: float) -> None:
        """Refuse a permit that does not cover storing, or is older than a withdrawal."""
        permit.cover(action=Action.STORE, purpose=permit.purpose, subject=subject, now=now)
        self._check_fresh(permit, subject)

    def _check_use(self, permit: Permit, subject: SubjectId, *, now: float) -> None:
        permit.cover(
            action=Action.USE, purpose=permit.purpose, subject=subject, now=now, use=permit.use
        )

    def _check_fresh(self, permit: Permit, subject: SubjectId) -> None:
        if permit.issued_at <= self._destroyed_at.get((subject, permit.purpose), -np.inf):
            raise PermitInvalid(
                f"permit {permit.decision_id} is older than a withdrawal: ask the gate again"
            )

    def _make_keys(self, names: Sequence[tuple[SubjectId, str]]) -> None:
        try:
            self._keystore.prepare(names)
        except KeystoreError as error:
            raise VaultError(f"nothing can be sealed: {type(error).__name__}") from error

    def _sealing(self, subject: SubjectId, purpose: str, plaintext: bytes, context: bytes) -> bytes:
        try:
            return self._keystore.seal(subject, str(purpose), plaintext, context=context)
        except KeystoreError as error:
            raise VaultError(f"nothing can be sealed: {type(error).__name__}") from error


def _context(turn: str, purpose: str) -> bytes:
    return f"undertone/record/{purpose}/{turn}".encode()


def _beside(name: str) -> bytes:
    return f"undertone/beside/{name}".encode()
