"""One suite for both stores: the log keeps its word in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pytest
from pg8000.native import Connection

from audit.archive import Archive, verify_archive
from audit.errors import (
    EntryMissing,
    EvidenceUnavailable,
    LogTampered,
    Tampering,
)
from audit.events import Event, EventKind
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from audit.log_store import APPEND_ONLY, SealedRow
from audit.refusals import MOST_KINDS, WINDOW_S, Kind, Refusals
from audit.retention_policy import DAY_S, load_retention
from audit.sealed_leaves import SealedLeaves
from audit.sealing import Sealing
from audit.signing import SigningKey
from audit.tile_folder import TileFolder
from audit.tree import leaf_hash, root_from_leaves, verify_consistency, verify_inclusion
from policies.vocabulary import SubjectId
from tests.audit import postgres
from tests.audit.conftest import SetClock

ANN, BOB = SubjectId("1f" * 32), SubjectId("2e" * 32)
MakeEvent = Callable[[int], Event]
ORIGIN = "node-1.example/log"
NUMBERS = itertools.count()


class Place(Protocol):
    """Where a log lies, and how somebody with every right changes it."""

    where: Path | str

    def change(self, *statements: str) -> None:
        """Run statements with every right, triggers off."""
        ...

    def try_to(self, statement: str) -> None:
        """Run a statement with the triggers on; raise what the database raises."""
        ...


@dataclass
class InSqlite:
    """A file."""

    where: Path | str

    def change(self, *statements: str) -> None:
        """Do as `Place.change`."""
        with closing(sqlite3.connect(self.where)) as database, database:
            for table in APPEND_ONLY:
                for verb in ("UPDATE", "DELETE"):
                    database.execute(f"DROP TRIGGER IF EXISTS {table}_{verb}")
            for statement in statements:
                database.execute(statement)

    def try_to(self, statement: str) -> None:
        """Do as `Place.try_to`."""
        with closing(sqlite3.connect(self.where)) as database, database:
            database.execute(statement)


@dataclass
class InPostgres:
    """A database on a server of the tests' own."""

    where: Path | str
    socket: Path
    name: str

    def change(self, *statements: str) -> None:
        """Do as `Place.change`."""
        with closing(postgres.connect(self.socket, self.name)) as session:
            for table in APPEND_ONLY:
                session.run(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            for statement in statements:
                session.run(statement)

    def try_to(self, statement: str) -> None:
        """Do as `Place.try_to`."""
        with closing(postgres.connect(self.socket, self.name)) as session:
            session.run(statement)


@pytest.fixture(scope="module")
def socket() -> Iterator[Path]:
    """Return the socket of a running PostgreSQL."""
    with postgres.server() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty place of each kind in turn."""
    if request.param == "sqlite":
        return InSqlite(tmp_path / "log.db")
    socket: Path = request.getfixturevalue("socket")
    name = f"log_{next(NUMBERS)}"
    return InPostgres(postgres.make_database(socket, name), socket, name)


@dataclass
class Opener:
    """Opens logs at one place, and closes them all."""

    place: Place
    key: SigningKey
    clock: SetClock
    keystore: Keystore
    opened: ExitStack = field(default_factory=ExitStack)

    def __call__(self) -> EvidenceLog:
        """Open the log."""
        log = EvidenceLog(
            self.place.where, self.key, origin=ORIGIN, clock=self.clock, keystore=self.keystore
        )
        self.opened.callback(log.close)
        return log


@pytest.fixture
def opener(place: Place, key: SigningKey, clock: SetClock, keystore: Keystore) -> Iterator[Opener]:
    """Return what opens the log at the place."""
    made = Opener(place, key, clock, keystore)
    with made.opened:
        yield made


@pytest.fixture
def stored(opener: Opener) -> EvidenceLog:
    """Return the open, empty log."""
    return opener()


def test_store_keeps_order_and_proves_every_entry(stored: EvidenceLog, event: MakeEvent) -> None:
    """Entries come back in order and to the byte, and every proof at every size holds."""
    for number in range(7):
        assert stored.append(event(number)) == number
    assert stored.append_many([Draft(event(n)) for n in range(7, 20)]) == range(7, 20)
    leaves = [leaf_hash(entry.leaf) for entry in stored.entries(0, 20)]
    assert stored.root() == root_from_leaves(leaves)
    for size in (1, 7, 20):
        root = stored.root(size)
        for index in range(size):
            path = stored.inclusion(index, size)
            verify_inclusion(leaves[index], index, size, path, root)
        proof = stored.consistency(size, 20)
        verify_consistency(size, 20, root, stored.root(), proof)
    assert stored.entry(9).event == event(9)
    with pytest.raises(EntryMissing):
        stored.entry(20)
    with pytest.raises(EntryMissing):
        stored.node(0, 20)


def test_store_opened_again_goes_on(opener: Opener, stored: EvidenceLog, event: MakeEvent) -> None:
    """Closed and opened it has the same size, root and checkpoints, and grows."""
    for number in range(5):
        stored.append(event(number))
    before = (stored.size, stored.root(), stored.checkpoint(), stored.checkpoint_at(3))
    stored.close()
    again = opener()
    assert (again.size, again.root(), again.checkpoint(), again.checkpoint_at(3)) == before
    assert again.append(event(5)) == 5
    with pytest.raises(EntryMissing):
        again.checkpoint_at(9)


def test_store_finds_the_newest_of_a_kind(stored: EvidenceLog, event: MakeEvent) -> None:
    """By kind, newest first, as many as asked."""
    other = Event(
        kind=EventKind.RUN_STARTED, at=1.0, fields={"run": "kind-v", "plan_digest": "a" * 64}
    )
    for number in range(5):
        stored.append(event(number))
        stored.append(other)
    assert [entry.index for entry in stored.find(EventKind.RUN_STARTED, limit=2)] == [9, 7]
    assert [entry.index for entry in stored.find(EventKind.STANDING_APPLIED)] == [8, 6, 4, 2, 0]
    assert stored.find(EventKind.DECISION) == []


def test_store_takes_many_callers_at_once(stored: EvidenceLog, event: MakeEvent) -> None:
    """Callers in many threads each get their own place, and nothing is lost or doubled."""
    got: list[list[int]] = [[] for _ in range(8)]

    def work(worker: int) -> None:
        for number in range(25):
            index = stored.append(event(1000 * worker + number), private={"w": worker})
            got[worker].append(index)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(index for indices in got for index in indices) == list(range(200))
    for worker, indices in enumerate(got):
        for number, index in enumerate(indices):
            assert stored.entry(index).event == event(1000 * worker + number)
            assert stored.payload(index) == {"w": worker}


def test_store_forgets_a_persons_payloads_and_no_root(
    stored: EvidenceLog, keystore: Keystore, event: MakeEvent
) -> None:
    """Erasure removes the payloads of one person, and leaves others', leaves and roots."""
    stored.append(event(0), private={"who": "ann"}, subject=ANN)
    stored.append(event(1), private={"who": "bob"}, subject=BOB)
    stored.append(event(2), private={"who": "nobody"})
    root = stored.root()
    assert stored.payload(0) == {"who": "ann"}
    keystore.destroy(ANN)
    assert stored.payload(0) is None
    assert stored.forget(ANN) == 1
    assert stored.forget(ANN) == 0
    assert (stored.payload(1), stored.payload(2)) == ({"who": "bob"}, {"who": "nobody"})
    assert stored.root() == root


def test_store_expires_payloads_and_no_leaf(stored: EvidenceLog, event: MakeEvent) -> None:
    """Those of the entries named go, all together; leaves, roots and other payloads stay."""
    stored.append_many([Draft(event(n), {"n": n} if n % 2 else None) for n in range(8)])
    root = stored.root()
    found = stored.store.payload_entries(2, 2)
    assert [(index, leaf) for index, leaf, _ in found] == [
        (3, stored.entry(3).leaf),
        (5, stored.entry(5).leaf),
    ]
    assert stored.store.expire([1, 2, 5, 99]) == 2
    assert [stored.payload(n) for n in (1, 3, 5, 7)] == [None, {"n": 3}, None, {"n": 7}]
    assert (stored.root(), stored.entry(5).event) == (root, event(5))


@pytest.mark.promise(8)
def test_store_drops_a_leaf_only_where_it_is_sealed_and_its_facts_are_gone(
    place: Place, stored: EvidenceLog, event: MakeEvent
) -> None:
    """The database itself refuses to drop what no archive holds, or what still has a payload."""
    stored.append_many([Draft(event(n), {"n": n} if n == 3 else None) for n in range(8)])
    kept = [EventKind.HOLD_STEP.value]
    with pytest.raises(EvidenceUnavailable, match="append-only"):
        stored.store.drop_sealed(0, 4, kept)
    row = SealedRow(0, 4, "ab" * 32, 5.0, 0.0)
    stored.store.seal(row)
    assert stored.store.seals() == [row]
    for statement in ("DELETE FROM sealed", "DELETE FROM entry WHERE idx = 3"):
        with pytest.raises(Exception, match="append-only"):
            place.try_to(statement)
    with pytest.raises(EvidenceUnavailable, match="append-only"):
        stored.store.drop_sealed(0, 5, kept)
    assert stored.store.drop_sealed(0, 4, [EventKind.STANDING_APPLIED.value]) == 0
    assert stored.store.drop_sealed(0, 4, kept) == 3
    assert [index for index, _ in stored.store.leaves(0, 8)] == [3, 4, 5, 6, 7]
    assert stored.size == 8


def test_store_reads_what_it_dropped_through_the_archive(
    stored: EvidenceLog, clock: SetClock, key: SigningKey, event: MakeEvent, tmp_path: Path
) -> None:
    """Sealed and dropped in either store: entries, kinds and proofs are as before."""
    stored.append_many([Draft(event(n), {"n": n} if n == 9 else None) for n in range(600)])
    before = stored.entries(0, 600)
    archive = Archive(tmp_path / "archive", key.verify_key)
    clock.now += 2 * DAY_S
    policy = replace(load_retention(), archive_after_days=1, archive_fewest=1)
    sealing = Sealing(log=stored, archive=archive, policy=policy, clock=clock)
    assert sealing.seal_next(sealing.due()) is not None
    assert sealing.drop() == 511
    stored._leaves = SealedLeaves(stored.store, archive)
    assert stored.entries(0, 600) == before
    assert [e.index for e in stored.find(EventKind.STANDING_APPLIED, 1000)] == [*range(599, -1, -1)]
    leaf = leaf_hash(before[17].leaf)
    verify_inclusion(leaf, 17, 601, stored.inclusion(17, 601), stored.root())
    assert verify_archive(archive, key.verify_key).root == stored.root(512)


def test_store_has_one_owner(opener: Opener, stored: EvidenceLog, event: MakeEvent) -> None:
    """A second owner is refused while the first lives, and no longer; the first goes on."""
    stored.append(event(0))
    with pytest.raises(EvidenceUnavailable, match="another owner"):
        opener()
    assert stored.append(event(1)) == 1
    stored.close()
    assert opener().size == 2


@pytest.mark.promise(8)
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_store_refuses_to_change_or_forget(
    place: Place, stored: EvidenceLog, event: MakeEvent, table: str
) -> None:
    """The tables of the tree refuse an update and a deletion."""
    stored.append(event(0))
    column = {"entry": "leaf", "node": "hash", "checkpoint": "note"}[table]
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):  # noqa: S608
        with pytest.raises(Exception, match="append-only"):
            place.try_to(statement)
    assert stored.entry(0).event == event(0)


@pytest.mark.promise(8)
def test_store_changed_with_every_right_is_not_opened_for_writing(
    place: Place, opener: Opener, stored: EvidenceLog, event: MakeEvent
) -> None:
    """Whoever owns the database can cut it; the service does not go on from there."""
    stored.append_many([Draft(event(number)) for number in range(5)])
    stored.close()
    place.change("DELETE FROM entry WHERE idx = 4")
    with pytest.raises(LogTampered) as caught:
        opener()
    assert caught.value.what is Tampering.TRUNCATED


@pytest.mark.promise(8)
def test_store_edited_with_every_right_is_found_in_its_tiles(
    place: Place, stored: EvidenceLog, key: SigningKey, event: MakeEvent, tmp_path: Path
) -> None:
    """The offline form of any store is its tiles: they verify, and an edit in them is named."""
    stored.append_many([Draft(event(number)) for number in range(300)])
    good, bad = TileFolder(tmp_path / "good"), TileFolder(tmp_path / "bad")
    signed = good.publish(stored)
    assert good.verify(key.verify_key) == signed
    place.change("UPDATE entry SET leaf = (SELECT leaf FROM entry WHERE idx = 6) WHERE idx = 7")
    bad.publish(stored)
    with pytest.raises(LogTampered) as caught:
        bad.verify(key.verify_key)
    assert (caught.value.what, caught.value.index) == (Tampering.EDITED, 7)


def test_store_whose_write_fails_keeps_nothing_of_the_group(
    place: Place, stored: EvidenceLog, event: MakeEvent
) -> None:
    """A group that collides is refused whole, and what was there stays provable."""
    stored.append(event(0))
    place.change("INSERT INTO node VALUES (0, 2, '\\x00')")
    root = stored.root()
    with pytest.raises(EvidenceUnavailable):
        stored.append_many([Draft(event(1), {"x": 1}), Draft(event(2), {"x": 2})])
    assert (stored.size, stored.root(), stored.payload(0)) == (1, root, None)
    place.change("DELETE FROM node WHERE level = 0 AND idx = 2")
    assert stored.append(event(1)) == 1


def test_store_records_refusals_and_stays_small_under_attack(
    stored: EvidenceLog, clock: SetClock
) -> None:
    """Ten thousand refusals of a hundred kinds are few entries, and every one is counted."""
    refusals = Refusals(stored, clock=clock)
    for number in range(10_000):
        refusals.note(Kind("malformed-request", f"field{number % 100}"))
    assert stored.size == MOST_KINDS + 1
    clock.now += WINDOW_S
    refusals.note(Kind("content-too-large", "body"))
    refusals.close()
    events = [entry.event for entry in stored.entries(0, stored.size)]
    assert len(events) == 2 * (MOST_KINDS + 1) + 1
    assert {event.kind for event in events} == {EventKind.INPUT_REFUSED}
    assert sum(int(str(event.fields["count"])) for event in events) == 10_001
    clock.now -= 2 * WINDOW_S  # a clock that went back begins a window, and loses no count
    refusals.note(Kind("content-too-large", "body"))
    assert stored.entry(stored.size - 1).event.fields["count"] == 1


def test_postgres_that_goes_away_is_no_evidence_and_loses_none(
    socket: Path, key: SigningKey, clock: SetClock, keystore: Keystore, event: MakeEvent
) -> None:
    """Sessions cut by the server: refused until opened again, and every entry is there."""
    place = InPostgres(postgres.make_database(socket, "cut"), socket, "cut")
    opener = Opener(place, key, clock, keystore)
    with opener.opened:
        log = opener()
        log.append_many([Draft(event(number)) for number in range(3)])
        with closing(postgres.connect(socket, postgres.USER)) as session:
            _cut(session)
        with pytest.raises(EvidenceUnavailable):
            log.append(event(3))
        with pytest.raises(EvidenceUnavailable):
            log.entry(0)
        log.close()
        again = opener()
        assert (again.size, again.append(event(3))) == (3, 3)


def _cut(session: Connection) -> None:
    session.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u@localhost/x",
        "postgresql://localhost/x",
        "postgresql://u:secret@localhost/x",
        "postgresql://u@localhost/x?socket=/nowhere/at/all",
        "postgresql://u@127.0.0.1:1/x",
    ],
)
def test_postgres_url_that_cannot_be_used_is_one_line(url: str, key: SigningKey) -> None:
    """No server, another database, a password in the open: one line, and it says no secret."""
    with pytest.raises(EvidenceUnavailable) as caught:
        EvidenceLog(url, key, origin=ORIGIN, clock=lambda: 0.0)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
