"""The archive: sealed, verified, only then dropped; proofs go on, every change is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.archive import Archive, verify_archive
from audit.archive_segment import LARGEST, spans
from audit.errors import (
    ArchiveOffline,
    EntryMissing,
    EvidenceUnavailable,
    LogTampered,
    Tampering,
)
from audit.events import Event, EventKind
from audit.export import ExportFormat, export_log
from audit.hold_book import HoldBook
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from audit.receipt import verify_receipt
from audit.retention import Retention
from audit.retention_policy import DAY_S, RetentionPolicy, load_retention
from audit.sealed_leaves import SealedLeaves
from audit.sealing import Sealing
from audit.signing import SigningKey
from audit.tiles import WIDTH
from audit.tree import check_subtree
from audit.verify import verify_log
from tests.audit.conftest import NOW, SetClock
from tests.audit.kill_points import ORIGIN as KILLED_ORIGIN
from tests.audit.sealing_kill_points import expire, open_sealing, seal_and_drop

pytestmark = pytest.mark.promise(8)

ORIGIN = "node-1.example/log"
PROGRAM = Path(__file__).parent / "sealing_kill_points.py"
SIZE = 3 * WIDTH + 5


def turn(number: int, at: float = NOW) -> Event:
    """Return an entry of a use."""
    fields = {"turn": f"t{number}", "decision_id": f"d{number}"}
    return Event(kind=EventKind.TURN_SEALED, at=at, fields=dict(fields))


@pytest.fixture
def policy() -> RetentionPolicy:
    """Return the shipped policy, which seals whatever is a day old."""
    return replace(load_retention(), archive_after_days=1, archive_fewest=1)


@pytest.fixture
def archive(tmp_path: Path, key: SigningKey) -> Archive:
    """Return an archive that is not there yet."""
    return Archive(tmp_path / "archive", key.verify_key)


@pytest.fixture
def archived_log(
    tmp_path: Path, key: SigningKey, clock: SetClock, keystore: Keystore, archive: Archive
) -> EvidenceLog:
    """Return a log of three full tiles and a little, every tenth entry with a payload."""
    log = EvidenceLog(
        tmp_path / "log.db", key, origin=ORIGIN, clock=clock, keystore=keystore, archive=archive
    )
    drafts = [Draft(turn(n), None if n % 10 else {"n": n}) for n in range(SIZE)]
    log.append_many(drafts[:600])
    log.append_many(drafts[600:])
    return log


@pytest.fixture
def sealing(
    archived_log: EvidenceLog, archive: Archive, policy: RetentionPolicy, clock: SetClock
) -> Sealing:
    """Return what seals the log, a day later."""
    clock.now = NOW + 2 * DAY_S
    return Sealing(log=archived_log, archive=archive, policy=policy, clock=clock)


@given(start=st.integers(0, 600), count=st.integers(0, 600))
def test_segments_are_aligned_subtrees_that_cover_all_full_tiles(start: int, count: int) -> None:
    """Whatever the range: no gap, none longer than the largest, each a subtree."""
    begin, end = start * WIDTH, (start + count) * WIDTH + 7
    found = list(spans(begin, end))
    at = begin
    for span in found:
        assert span.start == at
        assert span.end - span.start <= LARGEST
        check_subtree(span, end)
        at = span.end
    assert at == begin + count * WIDTH


def test_sealed_entries_verify_from_the_archive_alone_and_with_the_log(
    sealing: Sealing, archive: Archive, key: SigningKey, tmp_path: Path
) -> None:
    """Full tiles that are old go; the log without them verifies with the archive, and says so."""
    log, known = sealing.log, sealing.log.checkpoint()
    assert sealing.due() == 3 * WIDTH
    seal_and_drop(sealing)
    live = {index for index, _ in log.store.leaves(0, SIZE)}
    assert live & set(range(3 * WIDTH)) == set(range(0, 3 * WIDTH, 10)), "facts keep their leaf"
    found = verify_archive(archive, key.verify_key)
    assert (found.size, found.segments, found.root) == (3 * WIDTH, 2, log.root(3 * WIDTH))
    log.close()
    path = tmp_path / "log.db"
    seen = list[int]()
    verified = verify_log(
        path,
        key.verify_key,
        archive=archive,
        known_checkpoint=known,
        progress=lambda done, _: seen.append(done),
    )
    assert verified.size == SIZE + 2  # each segment has an entry of its own
    assert seen[-1] == verified.size
    with pytest.raises(ArchiveOffline, match="--archive"):
        verify_log(path, key.verify_key)
    lines = list(export_log(path, key.verify_key, ExportFormat.JSONL, archive=archive))
    assert [json.loads(line)["index"] for line in lines] == list(range(SIZE + 2))


def test_archived_entries_still_answer_with_receipts(sealing: Sealing, key: SigningKey) -> None:
    """By place, by kind, with payloads and proofs, as if nothing had been dropped."""
    log = sealing.log
    before = log.entries(0, SIZE)
    seal_and_drop(sealing)
    assert log.entries(0, SIZE) == before
    assert log.entries(250, 261) == before[250:261]
    for index in (0, 1, 255, 256, 700):
        assert verify_receipt(log.receipt(index), log.entry(index).leaf, key.verify_key) == index
    assert log.payload(10) == {"n": 10}
    assert log.payload(11) is None
    newest = [entry.index for entry in log.find(EventKind.TURN_SEALED, limit=SIZE)]
    assert newest == list(reversed(range(SIZE)))
    assert [e.index for e in log.find(EventKind.TURN_SEALED, limit=7)] == newest[:7]
    assert len(log.find(EventKind.ARCHIVE_SEALED)) == 2


def test_archive_that_is_offline_is_said_in_one_line_and_proofs_go_on(
    sealing: Sealing, archive: Archive, key: SigningKey
) -> None:
    """Receipts need no leaf; entries, and counts that could be wrong, say where they are."""
    log = sealing.log
    leaf = log.entry(5).leaf
    seal_and_drop(sealing)
    away = archive.folder.with_name("away")
    archive.folder.rename(away)
    archive._bundles.clear()
    assert verify_receipt(log.receipt(5), leaf, key.verify_key) == 5
    for ask in (lambda: log.entry(5), lambda: log.find(EventKind.TURN_SEALED, limit=SIZE)):
        with pytest.raises(ArchiveOffline) as caught:
            ask()
        assert "mount it" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert log.find(EventKind.ARCHIVE_SEALED), "what keeps the log is never dropped"
    assert log.entry(10).index == 10
    assert log.append(turn(9999)) == SIZE + 2, "recording goes on"
    away.rename(archive.folder)
    assert log.entry(5).leaf == leaf


def test_leaf_goes_with_its_facts_after_expiry(
    sealing: Sealing, clock: SetClock, keystore: Keystore
) -> None:
    """Once payloads have expired their leaves can be dropped as well; all is still provable."""
    log = sealing.log
    seal_and_drop(sealing)
    clock.now = NOW + 400 * DAY_S
    holds = HoldBook(log, clock=clock, keystore=keystore)
    retention = Retention(log=log, policy=sealing.policy, holds=holds, clock=clock)
    due = retention.run(clock_is_right=True).due
    assert due == tuple(range(0, SIZE, 10))
    assert sealing.drop() == len([index for index in due if index < 3 * WIDTH])
    assert log.store.leaves(0, 3 * WIDTH) == []
    assert log.entry(10).event == turn(10)


def test_clock_that_went_back_in_a_sealed_range_makes_nothing_expire_early(
    archived_log: EvidenceLog, archive: Archive, policy: RetentionPolicy, clock: SetClock
) -> None:
    """Dropped leaves cannot say when they were; the range's own word is never too old."""
    log, clock.now = archived_log, NOW + 90 * DAY_S
    log.append(turn(1, NOW + 90 * DAY_S))
    old = log.append(turn(2, NOW), private={"n": "old"})
    log.append_many([Draft(turn(n, NOW + 90 * DAY_S)) for n in range(WIDTH)])
    clock.now = NOW + 100 * DAY_S
    sealing = Sealing(log=log, archive=archive, policy=policy, clock=clock)
    seal_and_drop(sealing)
    assert log.store.seals()[-1].floor == NOW + 90 * DAY_S
    retention = Retention(log=log, policy=policy, holds=HoldBook(log, clock=clock), clock=clock)
    period_s = policy.kept_s(EventKind.TURN_SEALED)
    clock.now = NOW + period_s + DAY_S
    assert old not in retention.plan(clock_is_right=True).due
    clock.now = NOW + period_s + 91 * DAY_S
    assert old in retention.plan(clock_is_right=True).due


def _files(archive: Archive, what: str) -> list[Path]:
    segment = archive.segments()[0]
    if what == "manifest":
        return [archive.folder / "segments" / segment.name]
    wanted = {"bundle": "tile/entries/000", "hashes": "tile/0/000"}[what]
    name = segment.objects[wanted]
    return [archive.folder / "objects" / name[:2] / name[2:]]


@pytest.mark.parametrize("what", ["bundle", "hashes", "manifest"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone", "another"])
def test_archive_that_was_altered_is_named_and_nothing_is_dropped(
    sealing: Sealing, archive: Archive, key: SigningKey, what: str, how: str
) -> None:
    """Any file changed, cut, removed or put in another's place: no verification, no dropping."""
    while sealing.seal_next(sealing.due()) is not None:
        pass
    (file,) = _files(archive, what)
    data = file.read_bytes()
    match how:
        case "changed":
            file.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
        case "cut":
            file.write_bytes(data[:-1])
        case "gone":
            file.unlink()
        case _:
            other = sorted(p for p in file.parent.parent.rglob("*") if p.is_file() and p != file)
            shutil.copy(other[-1], file)
    fresh = Archive(archive.folder, key.verify_key)
    with pytest.raises((LogTampered, EvidenceUnavailable)) as caught:
        verify_archive(fresh, key.verify_key)
    assert "\n" not in str(caught.value)
    before = sealing.log.store.leaves(0, SIZE)
    with pytest.raises((LogTampered, EvidenceUnavailable)):
        replace(sealing, archive=fresh).drop()
    assert sealing.log.store.leaves(0, SIZE) == before, "dropped what the archive does not hold"


def test_entry_is_not_read_from_a_bundle_that_was_altered(
    sealing: Sealing, archive: Archive, key: SigningKey
) -> None:
    """Each file is held against its digest whenever it is read, not only when all is verified."""
    seal_and_drop(sealing)
    (file,) = _files(archive, "bundle")
    data = file.read_bytes()
    assert b'"turn":"t5"' in data
    file.write_bytes(data.replace(b'"turn":"t5"', b'"turn":"t6"'))
    sealing.log._leaves = SealedLeaves(sealing.log.store, Archive(archive.folder, key.verify_key))
    with pytest.raises(LogTampered, match="not the file that was sealed"):
        sealing.log.entry(5)


def test_archive_of_another_history_is_refused(
    sealing: Sealing, tmp_path: Path, key: SigningKey, clock: SetClock
) -> None:
    """Signed by the same key, for a log that said something else: it is not adopted."""
    with closing(EvidenceLog(tmp_path / "other.db", key, origin=ORIGIN, clock=clock)) as other:
        other.append_many([Draft(turn(n + 1)) for n in range(SIZE)])
        forked = Archive(tmp_path / "forked", key.verify_key)
        replace(sealing, log=other, archive=forked).seal_next(2 * WIDTH)
    with pytest.raises(LogTampered) as caught:
        replace(sealing, archive=forked).seal_next(2 * WIDTH)
    assert caught.value.what is Tampering.FORKED
    assert sealing.log.store.seals() == []
    stranger = SigningKey.generate(ORIGIN).verify_key
    with pytest.raises(LogTampered, match="not a manifest signed"):
        verify_archive(Archive(forked.folder, stranger), stranger)


def test_archive_is_held_against_a_checkpoint_kept_elsewhere(
    sealing: Sealing, archive: Archive, key: SigningKey, tmp_path: Path, clock: SetClock
) -> None:
    """A root that somebody kept lies on its history, or it is a fork; beyond its end it says so."""
    seal_and_drop(sealing)
    kept = sealing.log.checkpoint_at(600)
    assert verify_archive(archive, key.verify_key, known_checkpoint=kept).size == 3 * WIDTH
    with pytest.raises(EntryMissing, match="ends at 768"):
        verify_archive(archive, key.verify_key, known_checkpoint=sealing.log.checkpoint())
    with closing(EvidenceLog(tmp_path / "other.db", key, origin=ORIGIN, clock=clock)) as other:
        other.append_many([Draft(turn(n + 1)) for n in range(600)])
        forked = other.checkpoint()
    with pytest.raises(LogTampered, match="two histories"):
        verify_archive(archive, key.verify_key, known_checkpoint=forked)


def test_empty_archive_proves_nothing(archive: Archive, key: SigningKey) -> None:
    """No folder, and a folder without segments, are no verified archive."""
    with pytest.raises(ArchiveOffline):
        verify_archive(archive, key.verify_key)
    archive.folder.mkdir()
    with pytest.raises(EntryMissing, match="nothing yet"):
        verify_archive(archive, key.verify_key)


def test_young_or_few_entries_are_not_sealed(
    sealing: Sealing, clock: SetClock, policy: RetentionPolicy
) -> None:
    """Only full tiles, old enough by the log's own growing time, and enough of them."""
    clock.now = NOW + DAY_S - 1
    assert sealing.due() == 0
    clock.now = NOW + 2 * DAY_S
    assert replace(sealing, policy=replace(policy, archive_fewest=3 * WIDTH + 1)).due() == 0
    assert sealing.seal_next(0) is None
    sealing.log.append_many([Draft(turn(n, NOW + 2 * DAY_S)) for n in range(2 * WIDTH)])
    assert sealing.due() == 3 * WIDTH


def killed(folder: Path, what: str) -> list[Path]:
    """Run the program that kills itself everywhere; return what each child left."""
    done = subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, str(PROGRAM), str(folder), what],
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(json.loads(line)["folder"]) for line in done.stdout.splitlines()]


def test_sealing_killed_at_any_write_loses_nothing_and_is_gone_on_from(
    tmp_path: Path, key: SigningKey
) -> None:
    """Kill -9 before each write: every entry can be read and proven, at once and after going on.

    Each range is recorded once, and nothing is dropped that the archive does not hold whole.
    """
    key.save(tmp_path / "key")
    count = 2 * WIDTH + 3
    (tmp_path / "log").mkdir()
    with closing(
        EvidenceLog(tmp_path / "log" / "log.db", key, origin=KILLED_ORIGIN, clock=lambda: NOW)
    ) as log:
        log.append_many([Draft(turn(n, 1.0), None if n % 50 else {"n": n}) for n in range(count)])
        leaves = [entry.leaf for entry in log.entries(0, count)]
    points = killed(tmp_path, "seal")
    states = set()
    for folder in points:
        sealing = open_sealing(folder, key)
        with closing(sealing.log) as log:
            states.add((len(log.store.seals()), len(log.store.leaves(0, count))))
            assert [entry.leaf for entry in log.entries(0, count)] == leaves
            seal_and_drop(sealing)
            assert [entry.leaf for entry in log.entries(0, count)] == leaves
            assert len(log.store.seals()) == len(log.find(EventKind.ARCHIVE_SEALED)) == 1
            assert len(log.store.leaves(0, 2 * WIDTH)) == 11
        assert verify_log(folder / "log.db", key.verify_key, archive=sealing.archive).size
        assert verify_archive(sealing.archive, key.verify_key).size == 2 * WIDTH
    assert states == {(0, count), (1, count), (1, 14)}
    assert len(points) > 25


def test_expiry_killed_at_any_write_removes_nothing_unlogged_and_is_gone_on_from(
    tmp_path: Path, key: SigningKey
) -> None:
    """Kill -9 before each write: parts go whole, each after its entry, and the next run ends it."""
    key.save(tmp_path / "key")
    (tmp_path / "log").mkdir()
    with closing(
        EvidenceLog(tmp_path / "log" / "log.db", key, origin=KILLED_ORIGIN, clock=lambda: NOW)
    ) as log:
        log.append_many([Draft(turn(n, 1.0), {"n": n}) for n in range(10)])
    states = set()
    for folder in killed(tmp_path, "expire"):
        sealing = open_sealing(folder, key)
        with closing(sealing.log) as log:
            gone = [n for n in range(10) if log.payload(n) is None]
            logged = [e.event.fields for e in log.find(EventKind.RETENTION_APPLIED)]
            states.add((len(gone), len(logged)))
            covered = {n for p in logged for n in range(int(p["first"]), int(p["last"]) + 1)}  # type: ignore[arg-type]
            assert set(gone) <= covered, "removed what no entry names"
            expire(sealing)
            assert [log.payload(n) for n in range(10)] == [None] * 10
        assert verify_log(folder / "log.db", key.verify_key).size
    assert states == {(0, 0), (0, 1), (4, 1), (4, 2), (8, 2), (8, 3), (10, 3)}


def test_torn_file_of_a_crash_is_written_anew(sealing: Sealing, archive: Archive) -> None:
    """A half-written object under its final name is no reason to stop, and none to believe it."""
    probe: Callable[[], str] = lambda: archive.put(b"whole")  # noqa: E731 (asked twice)
    name = probe()
    file = archive.folder / "objects" / name[:2] / name[2:]
    file.write_bytes(b"wh")
    assert probe() == name
    assert file.read_bytes() == b"whole"
    assert sealing.seal_next(WIDTH) is not None
