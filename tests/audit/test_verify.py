"""Offline verification: each way of changing a log is found, and called by its name."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.errors import EvidenceUnavailable, LogTampered, SignatureInvalid, Tampering
from audit.events import Event, EventKind
from audit.log import Draft, EvidenceLog
from audit.replay import RUN
from audit.signing import SigningKey
from audit.verify import verify_log
from tests.audit.conftest import NOW

MakeEvent = Callable[[int], Event]
ORIGIN = "node-1.example/log"

pytestmark = pytest.mark.promise(8)


@pytest.fixture
def path(tmp_path: Path, log: EvidenceLog, event: MakeEvent) -> Path:
    """Return a closed log of 23 entries, each with its checkpoint and payload."""
    for number in range(23):
        log.append(event(number), private={"n": number})
    log.close()
    return tmp_path / "log.db"


def _change(path: Path, *statements: str) -> None:
    """Change a log as the owner of its file can."""
    with closing(sqlite3.connect(path)) as database, database:
        for table in ("entry", "node", "checkpoint"):
            for verb in ("UPDATE", "DELETE"):
                database.execute(f"DROP TRIGGER IF EXISTS {table}_{verb}")
        for statement in statements:
            database.execute(statement)


def _found(path: Path, key: SigningKey, known: str | None = None) -> tuple[Tampering, int | None]:
    with pytest.raises(LogTampered) as caught:
        verify_log(path, key.verify_key, known_checkpoint=known)
    assert str(caught.value).startswith(caught.value.what)
    return caught.value.what, caught.value.index


def test_verify_untouched_log_returns_its_size_root_and_checkpoints(
    path: Path, key: SigningKey
) -> None:
    """An honest log verifies, read-only, with progress told."""
    before, told = path.read_bytes(), list[tuple[int, int]]()
    verified = verify_log(
        path, key.verify_key, progress=lambda done, all_: told.append((done, all_))
    )
    assert (verified.size, verified.checkpoints) == (23, 24)
    assert told[-1] == (23, 23)
    assert path.read_bytes() == before


def test_verify_reads_a_log_that_is_in_use(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """The officer verifies while the service writes."""
    log.append(event(1))
    assert verify_log(tmp_path / "log.db", key.verify_key).size == 1
    log.append(event(2))
    assert verify_log(tmp_path / "log.db", key.verify_key).root == log.root()


def test_verify_finds_an_edited_leaf(path: Path, key: SigningKey) -> None:
    """One changed byte in one entry is named with its place."""
    _change(path, "UPDATE entry SET leaf = CAST(replace(leaf, 'a', 'b') AS BLOB) WHERE idx = 7")
    assert _found(path, key) == (Tampering.EDITED, 7)


def test_verify_finds_a_missing_entry(path: Path, key: SigningKey) -> None:
    """An entry taken out of the middle is named."""
    _change(path, "DELETE FROM entry WHERE idx = 7")
    assert _found(path, key) == (Tampering.MISSING, 7)


def test_verify_finds_entries_that_changed_places(path: Path, key: SigningKey) -> None:
    """Two entries that changed places are named as such."""
    _change(
        path,
        "UPDATE entry SET idx = -1 WHERE idx = 7",
        "UPDATE entry SET idx = 7 WHERE idx = 8",
        "UPDATE entry SET idx = 8 WHERE idx = -1",
    )
    assert _found(path, key) == (Tampering.REORDERED, 7)


def test_verify_finds_a_truncation_below_a_stored_checkpoint(path: Path, key: SigningKey) -> None:
    """A cut tail is found by the checkpoint that covered it, even with its nodes cut too."""
    _change(path, "DELETE FROM entry WHERE idx >= 20", "DELETE FROM payload WHERE idx >= 20")
    assert _found(path, key) == (Tampering.TRUNCATED, 20)
    _change(path, "DELETE FROM node WHERE (idx + 1) << level > 20")
    assert _found(path, key) == (Tampering.TRUNCATED, 20)


def test_verify_finds_a_clean_truncation_by_a_checkpoint_from_elsewhere(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """Cut with all its traces, a log still contradicts whoever holds a later checkpoint."""
    for number in range(5):
        log.append(event(number))
    log.append_many([])
    earlier, known = tmp_path / "earlier.db", ""
    with closing(sqlite3.connect(tmp_path / "log.db")) as source:
        source.execute("VACUUM INTO ?", (str(earlier),))
    log.append(event(5))
    known = log.checkpoint()
    assert verify_log(earlier, key.verify_key).size == 5
    assert _found(earlier, key, known) == (Tampering.TRUNCATED, 5)
    assert verify_log(tmp_path / "log.db", key.verify_key, known_checkpoint=known).size == 6


@pytest.mark.parametrize("known_size", [3, 23])
def test_verify_finds_a_fork_by_a_checkpoint_from_elsewhere(
    tmp_path: Path, path: Path, key: SigningKey, event: MakeEvent, known_size: int
) -> None:
    """Two histories under one key are found by one checkpoint of the other, at any size."""
    with closing(EvidenceLog(tmp_path / "o.db", key, origin=ORIGIN, clock=lambda: NOW)) as other:
        for number in range(known_size):
            other.append(event(number + 100))
        known = other.checkpoint()
    assert _found(path, key, known) == (Tampering.FORKED, known_size)
    stranger = SigningKey.generate(key.name)
    assert _found(path, stranger, known) == (Tampering.SIGNATURE, 0)
    foreign = sign_checkpoint(Checkpoint(origin=ORIGIN, size=3, root=b"r" * 32), stranger)
    with pytest.raises(SignatureInvalid):
        verify_log(path, key.verify_key, known_checkpoint=foreign)


def test_verify_finds_a_rewritten_history(
    tmp_path: Path, path: Path, key: SigningKey, event: MakeEvent
) -> None:
    """Entries and nodes replaced consistently still contradict the signed checkpoints."""
    with closing(EvidenceLog(tmp_path / "o.db", key, origin=ORIGIN, clock=lambda: NOW)) as other:
        for number in range(23):
            other.append(event(number + (100 if number == 9 else 0)), private={"n": 1})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ATTACH ? AS o", (str(tmp_path / "o.db"),))
        for table in ("entry", "node", "payload"):
            for verb in ("UPDATE", "DELETE"):
                database.execute(f"DROP TRIGGER IF EXISTS {table}_{verb}")
            database.execute(f"DELETE FROM main.{table}")  # noqa: S608
            database.execute(f"INSERT INTO main.{table} SELECT * FROM o.{table}")  # noqa: S608
    # salts differ from entry 0 on, so the first checkpoint that does not hold is at size 1
    assert _found(path, key) == (Tampering.FORKED, 1)


def test_verify_finds_a_wrong_missing_or_extra_node(path: Path, key: SigningKey) -> None:
    """The stored tree is checked node by node."""
    copies = [path.with_name(f"{i}.db") for i in range(4)]
    for copy in copies:
        shutil.copy(path, copy)
    _change(copies[0], "UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 1")
    assert _found(copies[0], key) == (Tampering.NODE, 4)
    _change(copies[1], "DELETE FROM node WHERE level = 1 AND idx = 3")
    assert _found(copies[1], key) == (Tampering.NODE, 6)
    _change(copies[2], "INSERT INTO node VALUES (0, 23, zeroblob(32))")
    assert _found(copies[2], key) == (Tampering.NODE, None)
    _change(copies[3], "DELETE FROM node WHERE level = 0 AND idx = 3")
    assert _found(copies[3], key) == (Tampering.NODE, 3)


def test_verify_finds_checkpoints_that_are_forged_moved_or_gone(
    path: Path, key: SigningKey
) -> None:
    """Every stored checkpoint is signed, in its place, and the last covers the whole log."""
    copies = [path.with_name(f"{i}.db") for i in range(4)]
    for copy in copies:
        shutil.copy(path, copy)
    forged = "replace(note, char(10) || '9', char(10) || '8')"
    _change(copies[0], f"UPDATE checkpoint SET note = {forged} WHERE size = 9")  # noqa: S608
    assert _found(copies[0], key) == (Tampering.SIGNATURE, 9)
    _change(copies[1], "DELETE FROM checkpoint WHERE size = 23")
    assert _found(copies[1], key) == (Tampering.SIGNATURE, 22)
    _change(copies[2], "DELETE FROM checkpoint")
    assert _found(copies[2], key) == (Tampering.SIGNATURE, 0)
    other = "(SELECT note FROM checkpoint WHERE size = 4)"
    _change(copies[3], f"UPDATE checkpoint SET note = {other} WHERE size = 5")  # noqa: S608
    assert _found(copies[3], key) == (Tampering.SIGNATURE, 5)
    assert _found(path, SigningKey.generate(key.name)) == (Tampering.SIGNATURE, 0)


def test_verify_finds_a_changed_or_foreign_payload(path: Path, key: SigningKey) -> None:
    """A payload is the one its leaf committed to, or it is named."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    _change(
        copy, "UPDATE payload SET body = (SELECT body FROM payload WHERE idx = 4) WHERE idx = 5"
    )
    assert _found(copy, key) == (Tampering.PAYLOAD, 5)
    _change(path, "INSERT INTO payload VALUES (99, NULL, zeroblob(40))")
    assert _found(path, key) == (Tampering.PAYLOAD, 99)


def test_verify_of_what_is_no_log_is_one_clear_error(tmp_path: Path, key: SigningKey) -> None:
    """A missing file, a text file and an empty database are told apart from tampering."""
    with pytest.raises(EvidenceUnavailable):
        verify_log(tmp_path / "none.db", key.verify_key)
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(EvidenceUnavailable):
        verify_log(tmp_path / "text.db", key.verify_key)
    with closing(sqlite3.connect(tmp_path / "empty.db")) as database:
        database.execute("CREATE TABLE x (y)")
    with pytest.raises(LogTampered, match="format"):
        verify_log(tmp_path / "empty.db", key.verify_key)


@pytest.fixture
def long(tmp_path: Path, log: EvidenceLog, event: MakeEvent) -> Path:
    """Return a closed log of three whole runs and a part, in groups of odd sizes."""
    number = 0
    for size in (1, 1022, 1, 700, 900, 600):
        log.append_many([Draft(event(number + i), {"n": i}) for i in range(size)])
        number += size
        if number == 1023:  # an hour back, in the first run
            back = replace(event(number), at=event(0).at - 3600)
            log.append(back, private={"n": 0})
            number += 1
    log.close()
    assert number > 3 * RUN
    return tmp_path / "log.db"


def test_verify_of_several_runs_agrees_with_the_log(long: Path, key: SigningKey) -> None:
    """Checkpoints on, before and after the borders of runs all hold, and so does the root."""
    verified = verify_log(long, key.verify_key)
    with closing(EvidenceLog(long, key, origin=ORIGIN, clock=lambda: NOW)) as log:
        assert (verified.size, verified.root) == (log.size, log.root())
        assert (verified.checkpoints, verified.note) == (8, log.checkpoint())


@pytest.mark.parametrize("place", [0, 1023, 1024, 2047, 2048, 3224])
def test_verify_names_damage_at_the_borders_of_runs(
    long: Path, key: SigningKey, place: int
) -> None:
    """An edit, a gap and a wrong node are named with their place, wherever that is."""
    for statement, expected in (
        ("UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = {}", Tampering.EDITED),
        ("DELETE FROM entry WHERE idx = {}", Tampering.MISSING),
        ("UPDATE payload SET body = zeroblob(40) WHERE idx = {}", Tampering.PAYLOAD),
        ("DELETE FROM node WHERE level = 0 AND idx = {}", Tampering.NODE),
    ):
        copy = long.with_name("copy.db")
        shutil.copy(long, copy)
        _change(copy, statement.format(place))
        last_gone = expected is Tampering.MISSING and place == 3224
        expected_ = Tampering.TRUNCATED if last_gone else expected
        assert _found(copy, key) == (expected_, place)


def test_verify_by_two_processes_finds_the_same(
    long: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs checked by other processes come to the same end, and damage keeps its name and place."""
    monkeypatch.setattr("audit.checked_run.FEWEST_RUNS", 1)
    assert verify_log(long, key.verify_key, workers=2) == verify_log(long, key.verify_key)
    _change(long, "UPDATE payload SET body = zeroblob(40) WHERE idx = 3000")
    _change(long, "UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = 1500")
    with pytest.raises(LogTampered) as caught:
        verify_log(long, key.verify_key, workers=2)
    assert (caught.value.what, caught.value.index) == (Tampering.EDITED, 1500)


def test_verify_names_a_leaf_that_is_none(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were signed and hashed but are no event are named all the same."""
    monkeypatch.setattr("audit.drafts.encode_leaf", lambda *_: b'{"at":"never","kind":"decision"}')
    log.append(
        Event(kind=EventKind.WITNESSED, at=1.0, fields={"origin": "a", "size": 1, "root": "b"})
    )
    log.close()
    assert _found(tmp_path / "log.db", key) == (Tampering.FORMAT, 0)


@pytest.mark.parametrize("level", [10, 11])
def test_verify_names_a_wrong_node_above_the_runs(long: Path, key: SigningKey, level: int) -> None:
    """Nodes above a run are compared too."""
    _change(long, f"UPDATE node SET hash = zeroblob(32) WHERE level = {level} AND idx = 0")  # noqa: S608
    assert _found(long, key) == (Tampering.NODE, 0)


def test_verify_goes_on_where_it_was_interrupted(
    long: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted pass goes on from its bookmark, comes to the same end, and still finds."""
    monkeypatch.setattr("audit.verify._PAUSE", RUN)
    bookmark, whole = long.with_name("bookmark"), verify_log(long, key.verify_key)

    class Interrupted(Exception):  # noqa: N818
        """Stand for whatever ends a long pass."""

    def interrupt(done: int, _: int) -> None:
        if done == 2 * RUN:
            raise Interrupted

    for _ in range(2):
        with pytest.raises(Interrupted):
            verify_log(long, key.verify_key, progress=interrupt, bookmark=bookmark)
    told = list[int]()
    again = verify_log(
        long, key.verify_key, progress=lambda done, _: told.append(done), bookmark=bookmark
    )
    assert again == whole
    assert told[0] > RUN  # the first run was not read again
    assert again.clock_back == (1023,)


def test_verify_begins_anew_when_the_file_changed(
    long: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bookmark is for one file as it was: an edit before it is found all the same."""
    monkeypatch.setattr("audit.verify._PAUSE", RUN)
    bookmark = long.with_name("bookmark")
    verify_log(long, key.verify_key, bookmark=bookmark)
    _change(long, "UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = 5")
    with pytest.raises(LogTampered, match="entry 5 "):
        verify_log(long, key.verify_key, bookmark=bookmark)
    bookmark.write_text("{}")
    with pytest.raises(LogTampered, match="entry 5 "):
        verify_log(long, key.verify_key, bookmark=bookmark)
