"""Keeps requests beside the consent ledger, in its database; what they mean is `rights`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlmodel import col, delete, select

from consent.errors import LinkUnknown, NotFound
from consent.ledger import Ledger
from consent.rights import Case, Step, StepKind, case_of
from consent.rights_tables import RequestAnswerRow, RequestRow, RequestStepRow
from policies.vocabulary import SubjectId


class RightsStore:
    """Finds and adds; one transaction for each call. Errors are the ledger's."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, row: RequestRow, step: Step, log_index: int) -> None:
        """Add a request with its first step."""
        with self._ledger.writing() as session:
            session.add(row)
            session.flush()
            session.add(_row(row.request, step, log_index))

    def add_step(self, request: str, step: Step, log_index: int) -> None:
        """Add a step; the last one closes the request."""
        with self._ledger.writing() as session:
            session.add(_row(request, step, log_index))
            found = session.get(RequestRow, request)
            if found is not None and step.kind is StepKind.CLOSED:
                found.is_open = False
                session.add(found)

    def case(self, request: str) -> Case:
        """Return a request.

        Raises:
            NotFound: No such request.
        """
        return case_of(self.steps(request))

    def steps(self, request: str) -> list[Step]:
        """Return the steps of a request, oldest first.

        Raises:
            NotFound: No such request.
        """
        query = (
            select(RequestStepRow)
            .where(RequestStepRow.request == request)
            .order_by(col(RequestStepRow.number))
        )
        with self._ledger.reading() as session:
            rows = session.exec(query).all()
        if not rows:
            raise NotFound(f"no request {request}" if request.isalnum() else "no such request")
        return [
            Step(kind=StepKind(r.kind), at=r.at, by=r.by, details=json.loads(r.details))
            for r in rows
        ]

    def requests(self, *, only_open: bool = True) -> list[Case]:
        """Return requests, oldest first."""
        query = select(RequestRow.request, RequestRow.is_open)
        with self._ledger.reading() as session:
            names = [name for name, is_open in session.exec(query) if is_open or not only_open]
        return sorted((self.case(name) for name in names), key=lambda case: case.received_at)

    def closed(self, most: int) -> list[Case]:
        """Return the requests that were closed last, the newest first."""
        query = select(RequestStepRow.request).where(RequestStepRow.kind == StepKind.CLOSED.value)
        with self._ledger.reading() as session:
            last = query.order_by(col(RequestStepRow.number).desc()).limit(most)
            names = list(session.exec(last))
        return [self.case(name) for name in names]

    def by_token(self, token_hash: str) -> Case:
        """Return the request that a token follows.

        Raises:
            LinkUnknown: Nobody's token.
        """
        with self._ledger.reading() as session:
            query = select(RequestRow.request).where(RequestRow.token_hash == token_hash)
            name = session.exec(query).first()
        if name is None:
            raise LinkUnknown("this request token is not known: it was mistyped")
        return self.case(name)

    def open_of(self, subject: SubjectId) -> list[Case]:
        """Return a person's open requests."""
        with self._ledger.reading() as session:
            query = select(RequestRow.request).where(
                RequestRow.subject == subject, col(RequestRow.is_open).is_(True)
            )
            names = list(session.exec(query))
        return [self.case(name) for name in names]

    def keep_answer(self, request: str, source: str, sealed: bytes) -> None:
        """Keep what one source answered, in place of an earlier answer of it."""
        with self._ledger.writing() as session:
            session.merge(RequestAnswerRow(request=request, source=source, sealed=sealed))

    def answers(self, request: str) -> Sequence[tuple[str, bytes]]:
        """Return what the sources answered, by name."""
        query = select(RequestAnswerRow).where(RequestAnswerRow.request == request)
        with self._ledger.reading() as session:
            rows = session.exec(query.order_by(col(RequestAnswerRow.source))).all()
        return [(row.source, row.sealed) for row in rows]

    def drop_answers(self, request: str) -> None:
        """Delete all answers to a request."""
        with self._ledger.writing() as session:
            session.exec(delete(RequestAnswerRow).where(col(RequestAnswerRow.request) == request))


def _row(request: str, step: Step, log_index: int) -> RequestStepRow:
    return RequestStepRow(
        request=request,
        kind=step.kind.value,
        at=step.at,
        by=step.by,
        details=json.dumps(dict(step.details)),
        log_index=log_index,
    )
