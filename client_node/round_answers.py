"""What this node answered to each spending: one update for one spending, and no more.

A second update from one spending would be a second look at the same people for the price of
one. Enrolment is answered once a run, so that asking again does not average the noise away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from client_node.budget_ledger import ENROLMENT
from client_node.errors import UpdateRejected, VaultError
from client_node.tables import RoundAnswer, open_store
from policies.vocabulary import Digest, RunId


class RoundAnswers:
    """Remembers durably; thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._lock = threading.Lock()
        try:
            self._engine = open_store(path, [RoundAnswer])
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"{path.name} cannot be opened: {type(error).__name__}") from error

    def begin(
        self, number: int, *, run: RunId, round_number: int, terms_digest: Digest, log_index: int
    ) -> None:
        """Note that spending `number` pays for this round, whose batch is entry `log_index`."""
        self._add(
            RoundAnswer(
                number=number,
                run=run,
                round_number=round_number,
                terms_digest=terms_digest,
                log_index=log_index,
            )
        )

    def enrolment(self, run: RunId) -> str | None:
        """Return how this run's enrolment was answered, None if it was not."""
        rows = self._rows(run, ENROLMENT)
        return next((row.answer for row in rows if row.answer is not None), None)

    def answer_enrolment(self, number: int, answer: str) -> None:
        """Record the answer that spending `number` paid for."""
        with Session(self._engine) as session:
            row = session.get_one(RoundAnswer, number)
            row.answer = answer
            session.add(row)
            session.commit()

    def claim(
        self, run: RunId, round_number: int, terms_digest: Digest, update_digest: Digest
    ) -> bool:
        """Give a spending to one update; return False if this very update has one already.

        Raises:
            UpdateRejected: No spending of that round and those terms is left.
        """
        with self._lock:
            rows = [
                row for row in self._rows(run, round_number) if row.terms_digest == terms_digest
            ]
            if any(row.answer == update_digest for row in rows):
                return False
            free = next((row for row in rows if row.answer is None), None)
            if free is None:
                raise UpdateRejected(
                    f"round {round_number} of {run}: no spending is left for another update"
                )
            free.answer = update_digest
            self._add(free)
            return True

    def batches(self, run: RunId, round_number: int) -> list[int]:
        """Return the log entries of the batches opened for a round, oldest first."""
        return [row.log_index for row in self._rows(run, round_number)]

    def batch_of(self, number: int) -> int | None:
        """Return the log entry of the batch that a spending paid for, None if it has none."""
        with Session(self._engine) as session:
            row = session.get(RoundAnswer, number)
            return None if row is None else row.log_index

    def spendings(self, log_indices: Iterable[int]) -> frozenset[int]:
        """Return the numbers of the spendings that paid for these batches."""
        query = select(RoundAnswer.number).where(col(RoundAnswer.log_index).in_(list(log_indices)))
        with Session(self._engine) as session:
            return frozenset(session.exec(query))

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _rows(self, run: RunId, round_number: int) -> list[RoundAnswer]:
        query = (
            select(RoundAnswer)
            .where(RoundAnswer.run == run)
            .where(RoundAnswer.round_number == round_number)
            .order_by(col(RoundAnswer.number))
        )
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.exec(query))

    def _add(self, row: RoundAnswer) -> None:
        try:
            with Session(self._engine) as session:
                session.merge(row)
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"an answer cannot be kept: {type(error).__name__}") from error
