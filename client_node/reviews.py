"""What a named person decided when they looked at a decision of this node's again (GDPR 22(3)).

A verdict comes with the signed standing, from the desk where it was given. While the newest word on
a decision is that it does not stand: 1. a use that it allowed is not done again on that reading;
2. where it allowed the reading itself, that reading tells nobody anything any more. What it had
refused stays refused, whatever a person thinks: no verdict opens the gate. The branch is told, and
does by hand what the rules allow.

Kept are ids and times under the pseudonym; they go with the person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, delete, select

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from client_node.errors import VaultError
from client_node.tables import ReviewRow, open_store
from client_node.turn import Ruling, UseAnswer
from client_node.uses.use import AskedUse
from policies.clock import Clock
from policies.vocabulary import Action, DecisionId, RuleId, SubjectId

REVIEWED = RuleId("reviewed")
_WHY = "a person looked at this decision again and did not let it stand: it is not taken again"
_STATUTE = "GDPR 22(3)"
_READING = ("label", "emotion", "confidence", "valence")
_PAGE = 1000


class Outcome(StrEnum):
    """What a person may decide on review."""

    UPHELD = "upheld"
    CHANGED = "changed"
    OVERTURNED = "overturned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided of one decision of ours, by the request for review it answers."""

    request: str
    subject: SubjectId
    decision: DecisionId
    outcome: Outcome
    decided_at: float


class Reviews:
    """Keeps verdicts on disk and says what they close; thread-safe."""

    def __init__(self, path: Path, *, log: EvidenceLog, clock: Clock) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._log, self._clock = log, clock
        try:
            self._engine = open_store(path, [ReviewRow])
            self._rows = self._load()
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"reviews {path.name}: {type(error).__name__}") from error

    def take(self, verdict: Verdict) -> bool:
        """Put a verdict in force: 1. on disk, 2. in force, 3. in the log. Again changes nothing.

        Returns:
            Whether the decision is one of this node's log.

        Raises:
            VaultError, EvidenceUnavailable: It is asked again.
        """
        row = self._row(verdict)
        if row is None:
            return False
        self._write(row)  # 1
        self._rows = {**self._rows, row.request: row}  # 2
        self._record(row, "applied")  # 3
        return True

    def against(self, asked: AskedUse) -> UseAnswer | None:
        """Return the refusal where a verdict speaks against a use; None where none does.

        Raises:
            EvidenceUnavailable: It is refused, and that could not be recorded.
        """
        for row in self._fallen(asked.subject):
            same = (
                row.action == Action.USE and row.use == asked.use and row.read_at == asked.read_at
            )
            if row.allowed and same:
                self._record(row, "kept-shut")
                ruling = Ruling(
                    decision=DecisionId(row.decision),
                    allowed=False,
                    rules=(REVIEWED,),
                    reasons=(_WHY,),
                    statutes=(_STATUTE,),
                )
                return UseAnswer(name=asked.use.value, use=asked.use, ruling=ruling)
        return None

    def sees(
        self, subjects: Collection[SubjectId], kept: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Return kept turns of theirs by turn, without the readings that did not stand."""
        fallen = [row for subject in subjects for row in self._fallen(subject)]
        unread = dict.fromkeys(_READING)
        return {
            turn: {**copy, **(unread if any(_is_of(r, turn, copy) for r in fallen) else {})}
            for turn, copy in kept.items()
        }

    def every(self) -> list[dict[str, Any]]:
        """Return what was decided, for the branch, the newest first; nobody's pseudonym."""
        rows = sorted(self._rows.values(), key=lambda row: -row.decided_at)
        names = ("request", "decision", "outcome", "action", "use", "allowed", "turn", "decided_at")
        return [{name: getattr(row, name) for name in names} | {"do": _do(row)} for row in rows]

    def drop(self, subjects: Collection[SubjectId]) -> None:
        """Forget these people's.

        Raises:
            VaultError: The disk refuses.
        """
        try:
            with Session(self._engine) as session:
                session.exec(delete(ReviewRow).where(col(ReviewRow.subject).in_(list(subjects))))
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"reviews cannot be deleted: {type(error).__name__}") from error
        self._rows = {n: row for n, row in self._rows.items() if row.subject not in subjects}

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _fallen(self, subject: SubjectId) -> list[ReviewRow]:
        """Return a person's decisions whose newest verdict is that they do not stand."""
        newest: dict[str, ReviewRow] = {}
        for row in sorted(self._rows.values(), key=lambda row: row.decided_at):
            if row.subject == subject:
                newest[row.decision] = row
        return [row for row in newest.values() if row.outcome != Outcome.UPHELD]

    def _row(self, verdict: Verdict) -> ReviewRow | None:
        """Return the row, with what our own log and its facts say of the decision."""
        for start in range(0, self._log.size, _PAGE):
            for entry in self._log.entries(start, start + _PAGE):
                fields = entry.event.fields
                if fields.get("decision_id") != verdict.decision:
                    continue
                if entry.event.kind is EventKind.DECISION:
                    return self._found(verdict, entry.index, entry.event)
        return None

    def _found(self, verdict: Verdict, index: int, event: Event) -> ReviewRow:
        facts = self._log.payload(index) or {"request": {}}
        return ReviewRow(
            request=verdict.request,
            subject=verdict.subject,
            decision=verdict.decision,
            outcome=verdict.outcome.value,
            decided_at=verdict.decided_at,
            action=str(event.fields["action"]),
            use=None if event.fields["use"] is None else str(event.fields["use"]),
            allowed=bool(event.fields["allowed"]),
            read_at=facts["request"].get("facts", {}).get("read_at"),
            made_at=event.at,
            turn=self._turn(index, verdict.decision),
        )

    def _turn(self, index: int, decision: DecisionId) -> str | None:
        """Return the turn that was read, or kept, by a decision; it is sealed soon after."""
        for entry in self._log.entries(index, min(index + _PAGE, self._log.size)):
            fields = entry.event.fields
            by = {fields.get("read_by"), fields.get("decision_id")}
            if entry.event.kind is EventKind.TURN_SEALED and decision in by:
                return str(fields["turn"])
        return None

    def _load(self) -> dict[str, ReviewRow]:
        with Session(self._engine, expire_on_commit=False) as session:
            return {row.request: row for row in session.exec(select(ReviewRow))}

    def _write(self, row: ReviewRow) -> None:
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                session.merge(row)
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"reviews cannot be written: {type(error).__name__}") from None

    def _record(self, row: ReviewRow, step: str) -> None:
        fields: dict[str, Value] = {
            "request": row.request,
            "decision": row.decision,
            "outcome": row.outcome,
            "step": step,
        }
        self._log.append(Event(kind=EventKind.REVIEW_STEP, at=self._clock(), fields=fields))


def _is_of(row: ReviewRow, turn: str, kept: Mapping[str, Any]) -> bool:
    """Tell whether a decision led to this reading.

    Where the log does not say which turn it was about, it is everything read of them by then.
    """
    if row.action not in {Action.INFER, Action.STORE} or not row.allowed:
        return False
    if row.turn is not None:
        return row.turn == turn
    return bool(kept.get("read_at") is not None and kept["read_at"] <= row.made_at)


def _do(row: ReviewRow) -> str:
    if row.outcome == Outcome.UPHELD:
        return "nothing: it stands"
    if not row.allowed:
        return "decide by hand what the rules allow: a refusal was not right"
    return "undo by hand what was done on it; it is not taken again here"
