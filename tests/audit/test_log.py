"""The log: durable on return, one writer, erasable payloads, and a no when the disk says no."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from audit.errors import (
    EntryMissing,
    EventInvalid,
    EvidenceUnavailable,
    LogTampered,
    ProofInvalid,
    Tampering,
)
from audit.events import Event, EventKind, Value
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from audit.log_store import APPEND_ONLY
from audit.signing import SigningKey
from audit.tree import leaf_hash, root_from_leaves, verify_consistency, verify_inclusion
from audit.verify import verify_log
from policies.vocabulary import SubjectId
from tests.audit.conftest import NOW, sqlite_of

ANN, BOB = SubjectId("1f" * 32), SubjectId("2e" * 32)
MakeEvent = Callable[[int], Event]
ORIGIN = "node-1.example/log"


def test_log_keeps_order_and_proves_every_entry_at_every_size(
    log: EvidenceLog, event: MakeEvent
) -> None:
    """Entries come back as appended, with inclusion and consistency proofs that verify."""
    assert [log.append(event(number)) for number in range(20)] == list(range(20))
    leaves = [leaf_hash(entry.leaf) for entry in log.entries(0, 20)]
    assert [entry.event.fields["sequence"] for entry in log.entries(0, 99)] == list(range(20))
    assert log.root() == root_from_leaves(leaves)
    for size in range(1, 21):
        root = log.root(size)
        verify_consistency(size, 20, root, log.root(), log.consistency(size, 20))
        for index in range(size):
            verify_inclusion(leaves[index], index, size, log.inclusion(index, size), root)


def test_log_refuses_what_it_never_had(log: EvidenceLog, event: MakeEvent) -> None:
    """No entry, size or proof is made up."""
    log.append(event(0))
    for missing in (
        lambda: log.entry(1),
        lambda: log.entry(-1),
        lambda: log.root(2),
        lambda: log.receipt(1),
        lambda: log.inclusion(0, 2),
        lambda: log.payload(7),
    ):
        with pytest.raises(EntryMissing):
            missing()
    with pytest.raises(ProofInvalid):
        log.inclusion(1, 1)


def test_log_finds_the_newest_of_a_kind(log: EvidenceLog, event: MakeEvent) -> None:
    """Entries of a kind come newest first, as many as asked."""
    for number in range(3):
        log.append(event(number))
        log.append(Event(kind=EventKind.RUN_ENDED, at=1.0, fields={"run": "r", "state": "done"}))
    assert [entry.index for entry in log.find(EventKind.STANDING_APPLIED, 2)] == [4, 2]
    assert log.find(EventKind.DECISION) == []


def test_log_goes_on_after_a_restart(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """A reopened log has the same root and goes on from there."""
    log.append_many([Draft(event(number)) for number in range(5)])
    root = log.root()
    log.close()
    with closing(EvidenceLog(tmp_path / "log.db", key, origin=ORIGIN, clock=log.clock)) as again:
        assert (again.size, again.root()) == (5, root)
        assert again.append(event(5)) == 5
    assert verify_log(tmp_path / "log.db", key.verify_key).size == 6


def test_log_is_private_durable_and_has_one_owner(
    tmp_path: Path, log: EvidenceLog, key: SigningKey
) -> None:
    """Mode 0600, synchronous=FULL, and no second writer that could fork it."""
    assert stat.S_IMODE((tmp_path / "log.db").stat().st_mode) == 0o600
    assert sqlite_of(log)._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert sqlite_of(log)._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with pytest.raises(EvidenceUnavailable, match="another owner"):
        EvidenceLog(tmp_path / "log.db", key, origin=ORIGIN, clock=log.clock)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_log_tables_refuse_change_and_deletion(
    log: EvidenceLog, event: MakeEvent, table: str
) -> None:
    """A slip of our own cannot rewrite what was logged."""
    log.append(event(0))
    column = {"entry": "leaf", "node": "hash", "checkpoint": "note"}[table]
    for statement in (f"UPDATE {table} SET {column} = ''", f"DELETE FROM {table}"):  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sqlite_of(log)._writer.execute(statement)


def test_log_commits_many_threads_in_few_groups(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """Concurrent appends get distinct indices, share commits, and all verify."""
    got: list[int] = []

    def work(start: int) -> None:
        got.extend(log.append(event(start + number)) for number in range(20))

    threads = [threading.Thread(target=work, args=(20 * i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(400))
    verified = verify_log(tmp_path / "log.db", key.verify_key)
    assert verified.size == 400
    assert verified.checkpoints < 200


def test_log_seals_payloads_and_stores_no_pseudonym(
    tmp_path: Path, log: EvidenceLog, event: MakeEvent
) -> None:
    """A person's payload comes back, is not readable in the file, and nor is who it is."""
    index = log.append(event(1), private={"rule": "p06", "facts": [1, None]}, subject=ANN)
    log.append(event(2), private={"public": "leaves"})
    assert log.payload(index) == {"rule": "p06", "facts": [1, None]}
    assert log.payload(1) == {"public": "leaves"}
    log.close()
    data = (tmp_path / "log.db").read_bytes()
    assert b"p06" not in data
    assert ANN.encode() not in data


@pytest.mark.promise(3)
@pytest.mark.parametrize("destroy_first", [False, True])
def test_log_forgets_a_person_and_still_verifies(
    tmp_path: Path,
    log: EvidenceLog,
    key: SigningKey,
    keystore: Keystore,
    event: MakeEvent,
    *,
    destroy_first: bool,
) -> None:
    """Erasure takes payload and salt of one person, before or after the keys; roots stay."""
    ann = [log.append(event(i), private={"n": i}, subject=ANN) for i in range(3)]
    bob = log.append(event(9), private={"n": 9}, subject=BOB)
    root, receipt = log.root(), log.receipt(ann[0])
    if destroy_first:
        keystore.destroy(ANN)
        assert log.payload(ann[0]) is None
    assert log.forget(ANN) == 3
    keystore.destroy(ANN)
    assert [log.payload(i) for i in (*ann, bob)] == [None, None, None, {"n": 9}]
    assert (log.root(), log.receipt(ann[0])) == (root, receipt)
    assert log.forget(ANN) == 0
    assert verify_log(tmp_path / "log.db", key.verify_key).root == root


def test_log_without_a_keystore_keeps_no_payload_of_a_person(
    tmp_path: Path, key: SigningKey, event: MakeEvent
) -> None:
    """Where nothing can be sealed, only the commitment stays."""
    with closing(EvidenceLog(tmp_path / "x.db", key, origin=ORIGIN, clock=lambda: NOW)) as log:
        index = log.append(event(1), private={"rule": "p06"}, subject=ANN)
        assert log.payload(index) is None
        assert b'"commitment":null' not in log.entry(index).leaf
    assert b"p06" not in (tmp_path / "x.db").read_bytes()


def test_log_payload_that_is_not_json_is_refused_before_anything_is_written(
    log: EvidenceLog, event: MakeEvent
) -> None:
    """A payload that cannot be committed to does not become an entry."""
    with pytest.raises(EventInvalid):
        log.append(event(1), private={"x": float("nan")})
    assert log.size == 0


def _fill(log: EvidenceLog, event: MakeEvent) -> None:
    for number in range(1000):
        log.append(event(number), private={"x": "y" * 1000})


def test_log_on_a_full_disk_refuses_and_recovers(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """A full disk is EvidenceUnavailable and no entry; with room again the log goes on."""
    log.append(event(0))
    pages = sqlite_of(log)._writer.execute("PRAGMA page_count").fetchone()[0]
    sqlite_of(log)._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(EvidenceUnavailable, match="full"):
        _fill(log, event)
    size, root = log.size, log.root()
    with pytest.raises(EvidenceUnavailable):
        log.append(event(0), private={"x": "y" * 100_000})
    assert (log.size, log.root()) == (size, root)
    sqlite_of(log)._writer.execute("PRAGMA max_page_count = 1000000")
    assert log.append(event(0), private={"x": "y" * 100_000}) == size
    assert verify_log(tmp_path / "log.db", key.verify_key).size == size + 1


def test_log_closed_or_without_its_keystore_refuses(
    log: EvidenceLog, keystore: Keystore, event: MakeEvent
) -> None:
    """A log that cannot seal or is closed records nothing and says so."""
    keystore.close()
    with pytest.raises(EvidenceUnavailable, match="sealed"):
        log.append(event(0), private={"x": 1}, subject=ANN)
    assert log.size == 0
    log.close()
    with pytest.raises(EvidenceUnavailable, match="closed"):
        log.append(event(0))
    with pytest.raises(EvidenceUnavailable):
        log.find(EventKind.DECISION)
    log.close()


def test_log_in_a_folder_that_is_none_is_unavailable(tmp_path: Path, key: SigningKey) -> None:
    """A path that cannot be a log is one clear error."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvidenceUnavailable):
        EvidenceLog(tmp_path / "file" / "log.db", key, origin=ORIGIN, clock=lambda: NOW)
    (tmp_path / "no.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(EvidenceUnavailable):
        EvidenceLog(tmp_path / "no.db", key, origin=ORIGIN, clock=lambda: NOW)


@pytest.mark.promise(8)
def test_log_that_was_changed_is_not_opened_for_writing(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """A service does not go on from an end that it did not sign."""
    log.append_many([Draft(event(number)) for number in range(5)])
    log.close()
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TRIGGER entry_DELETE")
        database.execute("DELETE FROM entry WHERE idx = 4")
    with pytest.raises(LogTampered) as caught:
        EvidenceLog(path, key, origin=ORIGIN, clock=lambda: NOW)
    assert caught.value.what is Tampering.TRUNCATED
    with pytest.raises(LogTampered) as caught:
        EvidenceLog(path, SigningKey.generate(key.name), origin=ORIGIN, clock=lambda: NOW)
    assert caught.value.what is Tampering.SIGNATURE


CHILD = """
import sys, threading
from pathlib import Path
from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.signing import SigningKey
from tests.audit.conftest import NOW, sqlite_of

folder = Path(sys.argv[1])
log = EvidenceLog(folder / "log.db", SigningKey.load(folder / "key"), origin="o", clock=lambda: NOW)
lock = threading.Lock()

def work(worker):
    for number in range(100000):
        fields = {"sequence": number, "envelope_digest": f"w{worker}"}
        index = log.append(Event(kind=EventKind.STANDING_APPLIED, at=0.0, fields=fields))
        with lock:
            print(index, worker, number, flush=True)

for worker in range(4):
    threading.Thread(target=work, args=(worker,)).start()
"""


@pytest.mark.promise(8)
def test_log_killed_in_the_middle_loses_no_acknowledged_entry(
    tmp_path: Path, key: SigningKey
) -> None:
    """Kill -9 while four threads append: every acknowledged entry is there, and it verifies."""
    key.save(tmp_path / "key")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(  # noqa: S603 (our own interpreter and text)
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().split() for _ in range(200)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [line.split() for line in child.stdout if line.endswith(b"\n")]
    with closing(EvidenceLog(tmp_path / "log.db", key, origin="o", clock=lambda: NOW)) as log:
        assert log.size >= len(acknowledged) >= 200
        for index, worker, number in acknowledged:
            fields = log.entry(int(index)).event.fields
            assert fields == {"sequence": int(number), "envelope_digest": f"w{worker.decode()}"}
    verify_log(tmp_path / "log.db", key.verify_key)


def test_log_refuses_an_entry_that_no_tile_could_hold(log: EvidenceLog) -> None:
    """An entry's length has two bytes in a tile; a longer one is refused, and said so."""
    fields: dict[str, Value] = {"service": "s", "version": "v", "policy_digest": ["a" * 64] * 1000}
    large = Event(kind=EventKind.SERVICE_STARTED, at=0.0, fields=fields)
    with pytest.raises(EventInvalid, match="at most 65535"):
        log.append(large)
    assert log.size == 0
