"""Legal holds: placed and lifted by two, told to the person, kept in the log alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from audit.errors import ErasureHeld, HoldRefused, HoldUnknown
from audit.events import Event, EventKind
from audit.hold import CONFIRM_S, LIFT_S, HoldReason, Scope
from audit.hold_book import HoldBook
from audit.keystore import Keystore
from audit.log import EvidenceLog
from policies.vocabulary import SubjectId
from tests.audit.conftest import NOW, SetClock

ANN, BOB = SubjectId("1f" * 32), SubjectId("2e" * 32)
REVIEW = NOW + 90 * 86_400
CLAIM = HoldReason.LEGAL_CLAIM


@pytest.fixture
def book(log: EvidenceLog, clock: SetClock, keystore: Keystore) -> HoldBook:
    """Return an empty book over the log."""
    return HoldBook(log, clock=clock, keystore=keystore)


def grant(log: EvidenceLog, whose: SubjectId, at: float = NOW) -> int:
    """Record something about a person."""
    event = Event(kind=EventKind.GRANT_RECORDED, at=at, fields={"record": "r1"})
    return log.append(event, private={"who": whose}, subject=whose)


def test_hold_is_placed_by_two_and_lifted_by_two(book: HoldBook, clock: SetClock) -> None:
    """Nobody alone: a proposal lapses in a day, and whoever proposes cannot confirm."""
    made = book.place(CLAIM, Scope(), review_at=REVIEW, by="ada")
    assert book.in_force() == [made], "nothing may be lost while a second is asked"
    for same in ("ada", "Ada"):
        with pytest.raises(HoldRefused, match="ask another"):
            book.confirm(made.hold, by=same)
    book.confirm(made.hold, by="ben")
    clock.now += 2 * CONFIRM_S
    assert [hold.confirmed_by for hold in book.in_force()] == ["ben"]
    with pytest.raises(HoldRefused, match="propose"):
        book.lift(made.hold, by="cem")
    book.propose_lift(made.hold, by="cem")
    with pytest.raises(HoldRefused, match="ask another"):
        book.lift(made.hold, by="cem")
    clock.now += LIFT_S + 1
    with pytest.raises(HoldRefused, match="propose"):
        book.lift(made.hold, by="ada")
    book.propose_lift(made.hold, by="cem")
    book.lift(made.hold, by="ada")
    assert book.in_force() == []
    with pytest.raises(HoldRefused, match="lifted"):
        book.confirm(made.hold, by="dan")


def test_hold_that_nobody_confirms_lapses(book: HoldBook, clock: SetClock) -> None:
    """One person can keep things for a day, and no longer."""
    made = book.place(CLAIM, Scope(), review_at=REVIEW, by="ada")
    clock.now += CONFIRM_S + 1
    assert book.in_force() == []
    with pytest.raises(HoldRefused, match="lapsed"):
        book.confirm(made.hold, by="ben")
    with pytest.raises(HoldUnknown):
        book.confirm("00", by="ben")


def test_hold_late_for_review_frees_nothing(book: HoldBook, clock: SetClock) -> None:
    """Its day passes: it holds on and is overdue, until somebody looks at it."""
    made = book.place(CLAIM, Scope(), review_at=NOW + 5, by="ada")
    book.confirm(made.hold, by="ben")
    clock.now += 10
    (held,) = book.in_force()
    assert book.state(held)["review_overdue"]
    with pytest.raises(HoldRefused, match="later day"):
        book.review(made.hold, NOW, by="ada")
    assert not book.state(book.review(made.hold, clock.now + 5, by="ada"))["review_overdue"]


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        (Scope(), True),
        (Scope(person=ANN), True),
        (Scope(person=BOB), False),
        (Scope(kinds=frozenset({EventKind.GRANT_RECORDED})), True),
        (Scope(kinds=frozenset({EventKind.DECISION})), False),
        (Scope(since=NOW - 1, until=NOW + 1), True),
        (Scope(since=NOW + 1), False),
        (Scope(until=NOW), False),
        (Scope(person=ANN, kinds=frozenset({EventKind.DECISION})), False),
    ],
)
def test_hold_stops_the_erasure_of_what_it_covers_and_of_nothing_else(
    book: HoldBook,
    log: EvidenceLog,
    scope: Scope,
    held: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """The person is told why, by which article, and by when it is looked at again."""
    grant(log, ANN)
    book.place(CLAIM, scope, review_at=REVIEW, by="ada")
    if not held:
        book.check_erasure(ANN)
        return
    with pytest.raises(ErasureHeld) as caught:
        book.check_erasure(ANN)
    told = str(caught.value)
    assert all(words in told for words in ("17(3)(e)", "2027-04-15", "18(1)(c)", "12(4)"))
    assert ANN not in told


def test_hold_on_a_person_names_nobody_in_the_log(book: HoldBook, tmp_path: Path) -> None:
    """Leaf and payload hold no pseudonym; the book opened again still knows whose it is."""
    made = book.place(CLAIM, Scope(person=ANN), review_at=REVIEW, by="ada")
    with closing(sqlite3.connect(tmp_path / "log.db")) as database:
        rows: list[tuple[Any, ...]] = database.execute("SELECT leaf FROM entry").fetchall()
        rows += database.execute("SELECT body FROM payload").fetchall()
    assert rows
    assert not any(ANN.encode() in row[0] for row in rows)
    assert book.state(made)["about_a_person"]


def test_hold_is_in_force_again_after_a_restart(
    book: HoldBook, log: EvidenceLog, clock: SetClock, keystore: Keystore
) -> None:
    """The log alone says what holds; a lifted one has forgotten whose it was."""
    made = book.place(CLAIM, Scope(person=ANN), review_at=REVIEW, by="ada")
    book.confirm(made.hold, by="ben")
    again = HoldBook(log, clock=clock, keystore=keystore)
    assert again.all() == book.all()
    again.propose_lift(made.hold, by="ben")
    again.lift(made.hold, by="ada")
    again.settle()
    (lifted,) = HoldBook(log, clock=clock, keystore=keystore).all()
    assert lifted.lifted_at is not None
    assert lifted.scope.person is None
    assert log.payload(0) is None


def test_hold_remembers_whose_erasure_it_refused_until_it_is_lifted(
    book: HoldBook, log: EvidenceLog, clock: SetClock, keystore: Keystore
) -> None:
    """Asked twice it is one entry that names nobody; after the lifting it is known who waits."""
    made = book.place(CLAIM, Scope(), review_at=REVIEW, by="ada")
    book.confirm(made.hold, by="ben")
    for _ in range(2):
        with pytest.raises(ErasureHeld):
            book.refuse_erasure(ANN, by="trust")
    assert log.size == 3
    assert not any(ANN.encode() in entry.leaf for entry in log.entries(0, 3))
    assert book.released() == frozenset()
    book.propose_lift(made.hold, by="ada")
    book.lift(made.hold, by="ben")
    again = HoldBook(log, clock=clock, keystore=keystore)
    assert again.released() == book.released() == {ANN}
    again.settle()
    assert again.released() == HoldBook(log, clock=clock, keystore=keystore).released() == set()
    assert log.payload(2) is None


def test_hold_whose_person_cannot_be_read_covers_everybody(
    book: HoldBook, log: EvidenceLog, clock: SetClock, keystore: Keystore
) -> None:
    """A key lost while the hold stands must not free what it was to keep."""
    grant(log, BOB)
    made = book.place(CLAIM, Scope(person=ANN), review_at=REVIEW, by="ada")
    keystore.destroy(SubjectId(f"hold.{made.hold}"))
    with pytest.raises(ErasureHeld):
        HoldBook(log, clock=clock, keystore=keystore).check_erasure(BOB)


def test_hold_on_a_person_needs_a_keystore(log: EvidenceLog, clock: SetClock) -> None:
    """Where nothing of people is kept there is nothing of a person to hold."""
    with pytest.raises(HoldRefused, match="where it is"):
        HoldBook(log, clock=clock).place(CLAIM, Scope(person=ANN), review_at=REVIEW, by="ada")
    assert log.size == 0


@pytest.mark.parametrize(
    ("scope", "review_at"),
    [(Scope(since=NOW, until=NOW), REVIEW), (Scope(), NOW), (Scope(), NOW + 400 * 86_400)],
)
def test_hold_without_sense_is_refused_and_not_logged(
    book: HoldBook, log: EvidenceLog, scope: Scope, review_at: float
) -> None:
    """An empty range, no later day of review, or one that is too far: one line, and no entry."""
    with pytest.raises(HoldRefused):
        book.place(CLAIM, scope, review_at=review_at, by="ada")
    assert log.size == 0
