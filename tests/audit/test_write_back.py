"""The write-ahead log is copied back beside the commits, and what is deleted lies in neither."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.log import EvidenceLog
from audit.log_sqlite import SqliteStore
from audit.log_store import Group, PayloadRow
from audit.signing import SigningKey
from audit.write_back import PAGES_LEFT_TO_COMMITS, WriteBack

MARK = b"what was said of one person"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store in a file of its own."""
    store = SqliteStore(tmp_path / "log.db")
    yield store
    store.close()


def _write(store: SqliteStore, first: int, count: int, *, payload: bytes | None = None) -> None:
    entries = [(index, b'{"kind":"x"}' + b" " * 600) for index in range(first, first + count)]
    rows = [] if payload is None else [PayloadRow(first, b"k", payload)]
    store.write(Group(entries, [], rows, (first + count, "note")))


def _settle(store: SqliteStore) -> None:
    """Wait until what is due has been copied."""
    while store._write_back._due.is_set():
        threading.Event().wait(0.01)
    with store._write_back.held():
        pass


def test_entries_are_copied_into_the_file_without_any_commits_doing(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Long before a commit would copy anything, the file itself holds what was written."""
    for first in range(0, 1024, 32):
        _write(store, first, 32)
    _settle(store)
    with sqlite3.connect(f"file:{tmp_path / 'log.db'}?immutable=1", uri=True) as alone:
        (held,) = alone.execute("SELECT COUNT(*) FROM entry").fetchone()
    assert held >= 512
    assert store.size() == 1024


def test_write_ahead_log_does_not_grow_without_end(store: SqliteStore, tmp_path: Path) -> None:
    """However much is written, the file beside stays within what is left to commits."""
    for first in range(0, 60_000, 2_000):
        _write(store, first, 2_000)
    beside = (tmp_path / "log.db-wal").stat().st_size
    assert beside < 2 * PAGES_LEFT_TO_COMMITS * 4_096
    assert store.size() == 60_000


def test_a_deletion_waits_for_the_copying_and_leaves_nothing(
    store: SqliteStore, tmp_path: Path
) -> None:
    """SQLite turns a second copier away: the bytes would stay in the write-ahead log."""
    _write(store, 0, 1, payload=MARK)
    deleting = threading.Thread(target=store.delete_payloads, args=([b"k"],))
    with store._write_back.held():
        deleting.start()
        deleting.join(0.2)
        assert deleting.is_alive()
    deleting.join()
    assert all(MARK not in path.read_bytes() for path in tmp_path.glob("log.db*"))


CHILD = """
import sys
from pathlib import Path
import audit.log_sqlite
from audit.events import Event, EventKind
from audit.log import Draft, EvidenceLog
from audit.signing import SigningKey
audit.log_sqlite._COPIED_AFTER = 1
key = SigningKey.load(Path(sys.argv[1]) / "key")
log = EvidenceLog(Path(sys.argv[1]) / "log.db", key, origin="killed", clock=lambda: 1.0)
event = Event(kind=EventKind.STANDING_APPLIED, at=1.0,
              fields={"sequence": 1, "envelope_digest": "a" * 64})
while True:
    log.append_many([Draft(event)] * 16)
    print(log.size, flush=True)
"""


@pytest.mark.promise(8)
def test_a_kill_while_copying_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    """Killed with a copy after every commit under way, the log opens and has all it promised."""
    key = SigningKey.generate("killed")
    key.save(tmp_path / "key")
    for turn in (7, 20, 31):
        with subprocess.Popen(  # noqa: S603 (our own interpreter)
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            promised = [int(child.stdout.readline()) for _ in range(turn)][-1]
            child.kill()
        log = EvidenceLog(tmp_path / "log.db", key, origin="killed", clock=lambda: 1.0)
        assert log.size >= promised
        log.close()


def test_what_cannot_be_copied_is_left_to_commits(tmp_path: Path) -> None:
    """A copy that fails stops neither the next one nor the store."""
    database = sqlite3.connect(tmp_path / "some.db", check_same_thread=False)
    database.close()  # every statement fails from here on
    back = WriteBack(database, every=1)
    for _ in range(3):
        back.wrote(1)
        assert back._thread is not None
        while back._due.is_set() and back._thread.is_alive():
            threading.Event().wait(0.01)
        with back.held():
            assert back._thread.is_alive()
    back.close()
    back.close()
