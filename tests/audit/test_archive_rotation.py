"""An archive over a log whose key is rotated: each segment under the keys of its size.

On both stores: sealed, rotated, sealed, retired, dropped, opened again, rotated again. The archive
alone leads from the first key to the last; what a retired key signs later is refused.
"""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.archive import Archive, verify_archive
from audit.archive_segment import KIND, Segment, sign_segment
from audit.checkpoint import Checkpoint, sign_checkpoint, signatures_of, unverified_checkpoint
from audit.errors import (
    ArchiveOffline,
    EntryRepeated,
    EventInvalid,
    EvidenceUnavailable,
    LogTampered,
)
from audit.events import SHAPES, Event
from audit.intake import Intake
from audit.key_chain import KEY_KINDS, KeyChain
from audit.keystore import Keystore
from audit.log import Draft, EvidenceLog
from audit.once import Work
from audit.receipt import verify_receipt
from audit.refusals import Refusals
from audit.retention_policy import DAY_S, load_retention
from audit.rotation import KeyDesk
from audit.sealed_leaves import NEVER_DROPPED
from audit.sealing import Sealing
from audit.signing import SigningKey, seal
from audit.submitter import Submitter
from audit.tiles import WIDTH
from audit.tree import Span, prove_consistency, prove_subtree
from audit.verify import verify_log
from client_node.cli import app as node_app
from consent.cli import app as trust_app
from tests.audit import postgres
from tests.audit.conftest import SetClock
from tests.audit.test_archive import ORIGIN, turn
from tests.audit.test_intake import decision

pytestmark = pytest.mark.promise(8)

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """Return the socket of a running PostgreSQL."""
    with postgres.server() as found:
        yield found


@dataclass
class Life:
    """One log, opened and opened again, with its archive and the operator's hand on its keys."""

    place: Path | str
    folder: Path
    key: SigningKey
    clock: SetClock
    opened: ExitStack

    def open(self) -> None:
        """Close the log if it is open, and open it, its archive known by the first key alone."""
        self.opened.close()
        keystore = Keystore(self.folder / "keys", clock=self.clock)
        self.opened.enter_context(closing(keystore))
        archive = Archive(self.folder / "archive", self.key.verify_key)
        self.log = EvidenceLog(
            self.place,
            self.key,
            origin=ORIGIN,
            clock=self.clock,
            keystore=keystore,
            archive=archive,
            key_folder=self.folder / "log-keys",
        )
        self.opened.enter_context(closing(self.log))
        policy = replace(load_retention(), archive_after_days=1, archive_fewest=1)
        self.sealing = Sealing(log=self.log, archive=archive, policy=policy, clock=self.clock)
        self.desk = KeyDesk(self.log, clock=self.clock)

    @property
    def archive(self) -> Archive:
        """The archive, as somebody reads it who has the first key and nothing else."""
        return Archive(self.folder / "archive", self.key.verify_key)

    def fill(self, count: int = WIDTH) -> None:
        """Append entries of uses."""
        size = self.log.size
        self.log.append_many([Draft(turn(size + n, self.clock.now)) for n in range(count)])

    def seal(self) -> list[Segment]:
        """Seal all full tiles, however young; return the segments."""
        until = self.log.size // WIDTH * WIDTH
        return list(iter(lambda: self.sealing.seal_next(until), None))

    def begin(self) -> None:
        """Seal two tiles under the first key and a third in the overlap, with its change."""
        self.open()
        self.log.append(decision("d", self.clock.now))
        self.fill(2 * WIDTH)
        self.seal()
        self.desk.rotate(overlap_s=DAY_S)
        self.fill()
        self.seal()

    def go_on(self) -> None:
        """Retire the first key, and seal a fourth tile under the second alone."""
        self.clock.now += DAY_S
        self.desk.retire()
        self.fill()
        self.seal()


@pytest.fixture(params=["sqlite", "postgres"])
def life(
    request: pytest.FixtureRequest, tmp_path: Path, key: SigningKey, clock: SetClock
) -> Iterator[Life]:
    """Return a log that is not there yet, in each store in turn."""
    place: Path | str = tmp_path / "log.db"
    if request.param == "postgres":
        server = request.getfixturevalue("server")
        place = postgres.make_database(server, f"rotated_{next(NUMBERS)}")
    with ExitStack() as opened:
        yield Life(place, tmp_path, key, clock, opened)


@pytest.fixture
def rotated(tmp_path: Path, key: SigningKey, clock: SetClock) -> Iterator[Life]:
    """Return a log in SQLite with four tiles in three segments, its first key retired."""
    with ExitStack() as opened:
        life = Life(tmp_path / "log.db", tmp_path, key, clock, opened)
        life.begin()
        life.go_on()
        yield life


def manifest(life: Life, segment: Segment) -> Path:
    """Return the file of a segment's manifest."""
    return life.folder / "archive" / "segments" / segment.name


def test_log_sealed_and_dropped_opens_rotates_and_retires_again(life: Life) -> None:
    """Every entry, proof and key is as before, and each segment verifies from the first key.

    The second rotation comes after all that is sealed, so that its entries are in no bundle yet
    when the last segment is signed by the key that they bring.
    """
    life.begin()
    life.go_on()
    before = life.log.entries(0, life.log.size)
    assert life.sealing.drop() > 3 * WIDTH
    life.open()
    assert [index for index, _ in life.log.store.leaves(0, 2 * WIDTH)] == []
    life.fill(WIDTH - life.log.size % WIDTH)
    life.desk.rotate(overlap_s=0)
    life.desk.retire()
    (last,) = life.seal()
    assert min(index for index, _ in last.keys.events[2:]) >= last.end
    life.sealing.drop()
    life.open()
    chain = life.log.keys.chain
    assert (len(chain.terms), len(chain.in_force)) == (3, 1)
    assert life.log.entries(0, len(before)) == before
    leaf = life.log.entry(7).leaf
    receipt = life.log.receipt(7)
    assert verify_receipt(receipt, leaf, chain) == 7
    for keys in (life.key.verify_key, chain):
        found = verify_archive(life.archive, keys)
        assert (found.size, found.root) == (5 * WIDTH, life.log.root(5 * WIDTH))
        assert found.keys == chain.at(life.log.size - 1)
    live = {event.index for kind in KEY_KINDS for event in life.log.find(kind)}
    assert live == {index for index, _ in chain.events}


def test_segment_is_signed_by_the_keys_of_its_size(rotated: Life) -> None:
    """Before the change by the first, in the overlap by both, then by the second alone."""
    old, new = (term.key for term in rotated.log.keys.chain.terms)
    segments = rotated.archive.segments()
    lines = [[line[:4] for _, line in signatures_of(s.checkpoint)] for s in segments]
    assert lines == [[old.key_id], [old.key_id, new.key_id], [new.key_id]]
    sizes = [unverified_checkpoint(s.checkpoint).size for s in segments]
    newest = [segment.keys.keys_at(size)[-1] for segment, size in zip(segments, sizes, strict=True)]
    assert newest == [old, new, new]
    for segment, right in zip(segments, newest, strict=True):
        body = json.loads(manifest(rotated, segment).read_bytes())["body"]
        wrong = rotated.key if right == new else rotated.log.keys.signers[0]
        shutil.copytree(rotated.folder / "archive", rotated.folder / segment.name)
        target = rotated.folder / segment.name / "segments" / segment.name
        target.write_bytes(seal(KIND, body, wrong))
        with pytest.raises(LogTampered, match="not a manifest signed"):
            Archive(rotated.folder / segment.name, old).segments()


def test_wrong_key_verifies_no_archive(rotated: Life) -> None:
    """A stranger's key, and the second key without the first, lead nowhere; known roots do."""
    new = rotated.log.keys.chain.terms[1].key
    for wrong in (SigningKey.generate(ORIGIN).verify_key, new, KeyChain.begin(new)):
        with pytest.raises(LogTampered, match="not a manifest signed"):
            verify_archive(rotated.archive, wrong)
    sizes = [unverified_checkpoint(s.checkpoint).size for s in rotated.archive.segments()]
    for size in sizes[:-1]:
        kept = rotated.log.checkpoint_at(size)
        first = rotated.key.verify_key
        assert verify_archive(rotated.archive, first, known_checkpoint=kept).size == 4 * WIDTH


def _forged(life: Life, segment: Segment, chain: KeyChain) -> bytes:
    """Return a manifest of the same entries by the first key, which denies later changes."""
    size = unverified_checkpoint(segment.checkpoint).size
    said = Checkpoint(origin=ORIGIN, size=size, root=life.log.root(size))
    checkpoint = sign_checkpoint(said, life.key)
    forged = replace(segment, checkpoint=checkpoint, keys=chain)
    return sign_segment(forged, [life.key])


def test_retired_key_signs_no_later_range(rotated: Life) -> None:
    """Neither beside the retirement that an earlier manifest says, nor by denying it."""
    first, chain = rotated.key.verify_key, rotated.log.keys.chain
    last = rotated.archive.segments()[-1]
    manifest(rotated, last).write_bytes(_forged(rotated, last, KeyChain.begin(first)))
    with pytest.raises(LogTampered, match="denies changes of keys"):
        rotated.archive.segments()
    with pytest.raises(LogTampered, match="not a manifest signed"):
        Archive(rotated.folder / "archive", chain).segments()
    with pytest.raises(EvidenceUnavailable, match="keys changed"):
        sign_segment(last, [rotated.key])
    rotated.log.close()
    with pytest.raises(LogTampered):
        verify_log(rotated.folder / "log.db", first, archive=rotated.archive)


def test_manifest_that_hides_a_change_of_keys_in_its_entries_is_refused(rotated: Life) -> None:
    """The first key alone could have signed it: the archived entry itself says otherwise."""
    first = rotated.key.verify_key
    _, second, third = rotated.archive.segments()
    manifest(rotated, third).unlink()
    manifest(rotated, second).write_bytes(_forged(rotated, second, KeyChain.begin(first)))
    assert len(rotated.archive.segments()) == 2
    with pytest.raises(LogTampered, match="other changes of keys than the entries"):
        verify_archive(rotated.archive, first)
    with pytest.raises(LogTampered, match="not a manifest signed"):
        verify_archive(rotated.archive, rotated.log.keys.chain)


def test_archive_of_a_retired_key_is_not_read_by_the_live_log(
    rotated: Life,
) -> None:
    """A manifest of sealed sizes, well signed by a key that is now in other hands: not the one."""
    (first, *_) = rotated.archive.segments()
    rotated.sealing.drop()
    for path in (rotated.folder / "archive" / "segments").iterdir():
        if path.name != first.name:
            path.unlink()
    rotated.open()
    assert rotated.log.entry(5).index == 5
    data = sign_segment(replace(first, latest=first.latest + 1), [rotated.key])
    manifest(rotated, first).write_bytes(data)
    assert len(rotated.archive.segments()) == 1, "it is well signed"
    rotated.open()
    with pytest.raises(LogTampered, match="another than was sealed"):
        rotated.log.entry(5)
    with pytest.raises(LogTampered, match="another than was sealed"):
        rotated.log.find(turn(0).kind, limit=10_000)


def test_sealing_goes_on_from_no_manifest_of_a_retired_key(life: Life) -> None:
    """Put where a crash could have left one: it denies the retirement, or makes entries older."""
    life.open()
    life.fill()
    life.desk.rotate(overlap_s=0)
    life.desk.retire()
    life.fill(5)
    (honest,) = life.seal()
    path = manifest(life, honest)
    at_first = life.log.checkpoint_at(WIDTH)
    own = replace(honest, checkpoint=at_first, keys=KeyChain.begin(life.key.verify_key))
    span = Span(0, WIDTH)
    fits = replace(
        own,
        belongs=prove_subtree(span, WIDTH, life.log.node),
        continues=prove_consistency(WIDTH, WIDTH, life.log.node),
    )
    denying = _forged(life, honest, KeyChain.begin(life.key.verify_key))
    older = sign_segment(replace(fits, latest=fits.latest - DAY_S), [life.key])
    same = sign_segment(fits, [life.key])
    _unseal(life)
    for data, said in ((denying, "another history"), (older, "other times")):
        path.write_bytes(data)
        assert len(life.archive.segments()) == 1, "it is well signed"
        life.open()
        with pytest.raises(LogTampered, match=said):
            life.seal()
        assert life.log.store.seals() == []
    path.write_bytes(same)
    life.open()
    assert len(life.seal()) == 1, "what says the same is the same"


def _unseal(life: Life) -> None:
    """Forget a seal, as if the process had ended before it was remembered."""
    store: Any = life.log.store
    if isinstance(life.place, Path):
        store._writer.execute("DROP TRIGGER sealed_DELETE")
        store._writer.execute("DELETE FROM sealed")
    else:
        store._writer.run("DROP TRIGGER append_only ON sealed")
        store._writer.run("DELETE FROM sealed")


def test_archive_is_handed_to_processes_that_verify(rotated: Life) -> None:
    """What a worker gets is the same archive, under the same keys."""
    for keys in (rotated.key.verify_key, rotated.log.keys.chain):
        archive = Archive(rotated.folder / "archive", keys)
        again = pickle.loads(pickle.dumps(archive))  # noqa: S301 (our own bytes)
        assert again.segments() == archive.segments()


def test_commands_work_over_a_rotated_log_and_its_archive(rotated: Life) -> None:
    """`verify`, `archive verify` and `list`, `export`, `trace`: from copies and the first key."""
    rotated.sealing.drop()
    size, root = rotated.log.size, rotated.log.root()
    rotated.log.close()
    run, first = CliRunner(), str(rotated.key.verify_key)
    log, archive = str(rotated.folder / "log.db"), str(rotated.folder / "archive")
    both = ["--log", log, "--archive", archive, "--key", first]

    def said(app: object, *arguments: str) -> str:
        done = run.invoke(app, arguments)  # type: ignore[arg-type]
        assert done.exit_code == 0, done.output
        return done.stdout

    assert json.loads(said(trust_app, "verify", *both, "--json"))["size"] == size
    assert json.loads(said(node_app, "verify", *both, "--json"))["root"] == root.hex()
    alone = ["--archive", archive, "--key", first, "--json"]
    assert json.loads(said(trust_app, "archive", "verify", *alone))["size"] == 4 * WIDTH
    assert json.loads(said(trust_app, "verify", *alone))["segments"] == 3
    assert len(json.loads(said(trust_app, "archive", "list", *alone))) == 3
    assert len(said(trust_app, "export", *both, "--format", "jsonl").splitlines()) == size
    links = json.loads(said(trust_app, "trace", "d", *both, "--json"))
    assert (links[0]["what"], links[0]["index"]) == ("decision", 0)
    other = str(SigningKey.generate(ORIGIN).verify_key)
    for command in (["verify"], ["archive", "verify"], ["archive", "list"]):
        done = run.invoke(trust_app, [*command, "--archive", archive, "--key", other])
        assert done.exit_code != 0
        assert isinstance(done.exception, (LogTampered, SystemExit))


def test_name_that_was_taken_stays_taken_when_its_entries_are_dropped(life: Life) -> None:
    """A repeated submission has its old place, a repeated decision is refused, archive or none.

    Where only the archive could tell, its absence fails that submission alone.
    """
    life.open()
    log, now = life.log, life.clock.now
    plain = [Draft(turn(n, now)) for n in range(3)]
    salted = [Draft(turn(9, now), {"n": 9})]
    assert log.append_many(plain, submission="plain") == range(3)
    assert log.append_many(salted, submission="salted") == range(3, 4)
    assert log.append(decision("d", now)) == 4
    life.fill()
    life.seal()
    log.store.expire([3])
    assert life.sealing.drop() == WIDTH
    assert log.store.leaves(0, WIDTH) == []
    life.open()
    log = life.log
    for _ in range(2):
        assert log.append_many(plain, submission="plain") == range(3)
        assert log.append_many(salted, submission="salted") == range(3, 4)
        for other in (plain[:2], salted, [*plain[:2], Draft(turn(8, now))]):
            with pytest.raises(EntryRepeated, match="other events"):
                log.append_many(other, submission="plain")
        with pytest.raises(EntryRepeated, match="decision_id"):
            log.append(decision("d", now))
    size = log.size
    (life.folder / "archive").rename(life.folder / "away")
    life.open()
    log = life.log
    assert log.append_many(plain, submission="plain") == range(3)
    with pytest.raises(EntryRepeated, match="decision_id"):
        log.append(decision("d", now))
    with pytest.raises(ArchiveOffline):
        log.append_many(salted, submission="salted")
    group = [
        Work(log._payloads.prepare(salted), "salted"),
        Work(log._payloads.prepare([Draft(turn(7, now))])),
    ]
    offline, neighbour = log._write(group)
    assert isinstance(offline, ArchiveOffline)
    assert (neighbour, log.size) == (size, size + 1)


def test_other_process_submits_nothing_that_the_service_acts_on(
    log: EvidenceLog, clock: SetClock, tmp_path: Path
) -> None:
    """No change of keys, hold, seal or removal comes by the socket; nor a key by the log's door."""
    at = tmp_path / "e.sock"
    with (
        closing(Intake(log, at, refusals=Refusals(log, clock=clock))),
        closing(Submitter(at)) as submitter,
    ):
        for kind in sorted(NEVER_DROPPED):
            event = Event(kind=kind, at=1.0, fields=dict.fromkeys(SHAPES[kind].required, "x"))
            with pytest.raises(EventInvalid, match="own service alone") as caught:
                submitter.append(event)
            assert caught.value.field == "kind"
            if kind in KEY_KINDS:
                with pytest.raises(EventInvalid, match="rotation alone") as caught:
                    log.append(event)
                assert caught.value.field == "kind"
    assert not NEVER_DROPPED & {entry.event.kind for entry in log.entries(0, log.size)}
    assert len(log.keys.chain.terms) == 1
