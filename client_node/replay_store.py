"""Answers by idempotency key that outlive a restart: sealed, keyed, and few.

A row has digests under the node's own key, a time, and an answer sealed under one key that goes
with the first withdrawal: what was answered before it, here or in a backup, is noise from then on.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, delete, select

from audit.errors import KeyDestroyed, KeystoreError
from audit.keystore import Keystore
from client_node.errors import VaultError
from client_node.tables import ReplayRow, open_store
from policies.vocabulary import SubjectId

WHOSE = SubjectId("replays")
"""Nobody: the one name under which all answers are sealed, so that one destruction takes them."""
LABEL = "replays"


class ReplayStore:
    """The rows; each change is on disk on return. Thread-safe."""

    def __init__(self, path: Path, keystore: Keystore) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._keystore = keystore
        try:
            self._engine = open_store(path, [ReplayRow])
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"replays {path.name}: {type(error).__name__}") from error

    def put(self, place: bytes, body: bytes, began_at: float, answer: bytes) -> None:
        """Keep an answer.

        Raises:
            VaultError: Disk or keystore refuse.
        """
        try:
            sealed = self._keystore.seal(WHOSE, LABEL, answer, context=place + body)
            with Session(self._engine) as session:
                row = ReplayRow(place=place.hex(), body=body, began_at=began_at, sealed=sealed)
                session.merge(row)
                session.commit()
        except (SQLAlchemyError, KeystoreError) as error:
            raise VaultError(f"an answer cannot be kept: {type(error).__name__}") from error

    def find(self, place: bytes) -> tuple[bytes, float, bytes] | None:
        """Return body's digest, time and answer of a place; None where none can be opened.

        Raises:
            VaultError: The disk refuses.
        """
        try:
            with Session(self._engine) as session:
                row = session.get(ReplayRow, place.hex())
        except SQLAlchemyError as error:
            raise VaultError(f"answers cannot be read: {type(error).__name__}") from error
        if row is None:
            return None
        try:
            answer = self._keystore.open(WHOSE, LABEL, row.sealed, context=place + row.body)
        except (KeyDestroyed, KeystoreError):
            return None
        return row.body, row.began_at, answer

    def trim(self, *, before: float, most: int) -> None:
        """Delete what is older, and the oldest above so many."""
        newest = select(ReplayRow.place).order_by(col(ReplayRow.began_at).desc()).limit(most)
        with Session(self._engine) as session:
            session.exec(delete(ReplayRow).where(col(ReplayRow.began_at) <= before))
            session.exec(delete(ReplayRow).where(col(ReplayRow.place).not_in(newest)))
            session.commit()

    def forget(self) -> None:
        """Destroy every answer, wherever a copy lies.

        Raises:
            VaultError: The keystore or the disk refuses.
        """
        try:
            self._keystore.destroy(WHOSE)
            with Session(self._engine) as session:
                session.exec(delete(ReplayRow))
                session.commit()
        except (SQLAlchemyError, KeystoreError) as error:
            raise VaultError(f"answers cannot be destroyed: {type(error).__name__}") from error

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()
