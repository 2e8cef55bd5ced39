"""A log's key, rotated with overlap: which key counts at which size, and for whom."""

from __future__ import annotations

import base64
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from audit.auditor import Auditor
from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint, signatures_of
from audit.copied_log import copied_log
from audit.errors import (
    EventInvalid,
    EvidenceUnavailable,
    KeyChangeInvalid,
    KeyChangeRefused,
    LogTampered,
    SignatureInvalid,
    Tampering,
)
from audit.events import Event
from audit.export import ExportFormat, export_log
from audit.key_chain import KeyChain, Reason, introduce, retire
from audit.leaf import encode_leaf
from audit.log import Draft, EvidenceLog
from audit.receipt import open_receipt
from audit.rotation import DAY_S, KeyDesk
from audit.signing import SigningKey
from audit.tile_folder import TileFolder
from audit.verify import verify_log
from tests.audit.conftest import NOW, SetClock

pytestmark = pytest.mark.promise(8)

MakeEvent = Callable[[int], Event]
ORIGIN = "node-1.example/log"


def changes(log: EvidenceLog) -> tuple[tuple[int, bytes], ...]:
    """Return the entries that changed the log's keys."""
    return log.keys.chain.events


@pytest.fixture
def desk(log: EvidenceLog, clock: SetClock) -> KeyDesk:
    """Return the operator's hand on the log's keys."""
    return KeyDesk(log, clock=clock)


@pytest.fixture
def rotated(log: EvidenceLog, desk: KeyDesk, clock: SetClock, event: MakeEvent) -> EvidenceLog:
    """Return a log with 3 entries by the old key, 3 by both, 3 by the new."""
    for number in range(3):
        log.append(event(number))
    desk.rotate(overlap_s=DAY_S)  # entry 3
    log.append_many([Draft(event(number)) for number in range(2)])
    clock.now = NOW + DAY_S
    desk.retire()  # entry 6
    log.append_many([Draft(event(number)) for number in range(2)])
    return log


def signers(note: str) -> list[bytes]:
    """Return the key ids of a note's lines."""
    return [signature[:4] for _, signature in signatures_of(note)]


def test_overlap_bears_both_lines_and_ends_with_the_entry(
    rotated: EvidenceLog, key: SigningKey
) -> None:
    """Before the entry the old key signs, from it on both, from the retirement on the new alone."""
    old, new = (term.key for term in rotated.keys.chain.terms)
    assert old == key.verify_key
    lines = {size: signers(rotated.checkpoint_at(size)) for size in (3, 4, 6, 7, 9)}
    both = [old.key_id, new.key_id]
    assert lines == {3: both[:1], 4: both, 6: both, 7: both[1:], 9: both[1:]}


def test_copy_and_first_key_are_enough_to_follow_every_change(
    rotated: EvidenceLog, key: SigningKey, clock: SetClock, tmp_path: Path
) -> None:
    """Verifying, exporting, proving and auditing offline start at the first key, twice rotated."""
    desk = KeyDesk(rotated, clock=clock)
    desk.rotate(overlap_s=0)
    desk.retire()
    path, first = tmp_path / "log.db", key.verify_key
    verified = verify_log(path, first)
    assert (verified.size, len(verified.keys.terms)) == (11, 3)
    assert verified.keys == rotated.keys.chain
    assert len(list(export_log(path, first, ExportFormat.JSONL))) == 11
    with copied_log(path, verified.keys) as copy:
        leaf = rotated.entry(0).leaf
        assert open_receipt(copy.receipt(0), leaf, verified.keys)[1].size == 11
    with closing(Auditor(tmp_path / "m.db", SigningKey.generate("auditor"), clock=clock)) as one:
        assert one.audit(path, first).size == 11
        assert one.audit(path, first).size == 11
    TileFolder(tmp_path / "tiles").publish(rotated)
    assert TileFolder(tmp_path / "tiles").verify(first).size == 11
    for other in (SigningKey.generate(key.name).verify_key, verified.keys.terms[-1].key):
        with pytest.raises(LogTampered):
            verify_log(path, other)
        with pytest.raises(LogTampered):
            TileFolder(tmp_path / "tiles").verify(other)


def test_checkpoint_counts_under_the_keys_of_its_size_alone(
    rotated: EvidenceLog, key: SigningKey
) -> None:
    """The old key is good for its sizes, worthless beyond, and in the overlap not enough alone."""
    chain, (new,) = rotated.keys.chain, rotated.keys.signers

    def opens(size: int, *by: SigningKey) -> bool:
        made = Checkpoint(origin=ORIGIN, size=size, root=rotated.root(size))
        try:
            return open_checkpoint(sign_checkpoint(made, *by), chain) == made
        except SignatureInvalid:
            return False

    for size in range(10):
        needed = {"old"} if size < 4 else {"old", "new"} if size < 7 else {"new"}
        for by in ({"old"}, {"new"}, {"old", "new"}):
            keys = [{"old": key, "new": new}[who] for who in by]
            assert opens(size, *keys) == (needed <= by), (size, by)


def test_receipt_holds_under_the_keys_of_its_checkpoint(
    rotated: EvidenceLog, key: SigningKey
) -> None:
    """A receipt from before stands under the first key; a new one needs the new key."""
    leaf, chain = rotated.entry(1).leaf, rotated.keys.chain
    receipt = rotated.receipt(1)
    assert open_receipt(receipt, leaf, chain)[0] == 1
    with pytest.raises(SignatureInvalid):
        open_receipt(receipt, leaf, key.verify_key)
    with pytest.raises(SignatureInvalid):
        open_receipt(receipt, leaf, KeyChain.follow(key.verify_key, chain.events[:1]))


def _put(path: Path, size: int, note: str) -> None:
    """Put a checkpoint into a closed log, as the owner of its file can."""
    with closing(sqlite3.connect(path)) as database, database:
        for verb in ("UPDATE", "DELETE"):
            database.execute(f"DROP TRIGGER IF EXISTS checkpoint_{verb}")
        database.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (note, size))


def _found(path: Path, key: SigningKey) -> tuple[Tampering, int | None]:
    with pytest.raises(LogTampered) as caught:
        verify_log(path, key.verify_key)
    return caught.value.what, caught.value.index


@pytest.mark.parametrize(
    ("size", "who"), [(9, "old"), (6, "old"), (6, "new"), (3, "new"), (6, "neither")]
)
def test_verify_names_a_checkpoint_by_a_key_that_does_not_sign_there(
    rotated: EvidenceLog, key: SigningKey, tmp_path: Path, size: int, who: str
) -> None:
    """A retired key beyond its size, one line in the overlap, a new key before its entry."""
    (new,) = rotated.keys.signers
    stranger = SigningKey.generate(key.name)
    by = {"old": key, "new": new, "neither": stranger}[who]
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=rotated.root(size))
    rotated.close()
    assert verify_log(tmp_path / "log.db", key.verify_key).size == 9
    _put(tmp_path / "log.db", size, sign_checkpoint(checkpoint, by))
    assert _found(tmp_path / "log.db", key) == (Tampering.SIGNATURE, size)


def _leaf(event: Event) -> bytes:
    return encode_leaf(event, None)


def test_entry_that_the_old_key_did_not_sign_changes_nothing(key: SigningKey) -> None:
    """Neither another's signature nor a word changed afterwards brings a key."""
    chain, new = KeyChain.begin(key.verify_key), SigningKey.generate(key.name)
    good = introduce(5, origin=ORIGIN, new=new, old=key, until=NOW, at=NOW)
    assert chain.after(5, _leaf(good)).keys_at(6) == (key.verify_key, new.verify_key)
    stranger = SigningKey.generate(key.name)
    by_itself = introduce(5, origin=ORIGIN, new=new, old=new, until=NOW, at=NOW)
    claimed = {"by": key.verify_key.key_id.hex()}
    forged = replace(by_itself, fields={**by_itself.fields, **claimed})
    other = introduce(5, origin=ORIGIN, new=stranger, old=key, until=NOW, at=NOW)
    bad = [
        by_itself,
        forged,
        replace(good, at=NOW + 1),
        replace(good, fields={**good.fields, "until": NOW + 1}),
        replace(good, fields={**good.fields, "key": other.fields["key"]}),
        replace(good, fields={**good.fields, "origin": "another/log"}),
        replace(good, fields={**good.fields, "signature": other.fields["signature"]}),
        replace(good, fields={**good.fields, "accepted": good.fields["signature"]}),
        replace(good, fields={**good.fields, "signature": ["AAA"]}),
        replace(good, fields={**good.fields, "key": None}),
    ]
    for event in bad:
        with pytest.raises(KeyChangeInvalid):
            chain.after(5, _leaf(event))
    with pytest.raises(KeyChangeInvalid, match="another place"):
        chain.after(6, _leaf(good))


def test_entry_that_takes_no_turn_changes_nothing(key: SigningKey, event: MakeEvent) -> None:
    """No third key, no known key, no retiring the only one, the newer one, or too soon."""
    names = [SigningKey.generate(key.name) for _ in range(2)]
    new, third = names
    chain = KeyChain.begin(key.verify_key)

    def brings(index: int, key_: SigningKey, old: SigningKey) -> bytes:
        return _leaf(introduce(index, origin=ORIGIN, new=key_, old=old, until=NOW, at=NOW))

    def ends(index: int, old: SigningKey, by: SigningKey, at: float, reason: Reason) -> bytes:
        old_key = old.verify_key
        return _leaf(retire(index, origin=ORIGIN, old=old_key, new=by, reason=reason, at=at))

    both = chain.after(2, brings(2, new, key))
    planned, now = Reason.ROTATED, Reason.COMPROMISED
    for wrong in (
        (chain, 2, brings(2, key, key)),
        (chain, 2, brings(2, SigningKey.generate("another"), key)),
        (chain, 2, ends(2, key, key, NOW, planned)),
        (chain, 2, _leaf(event(1))),
        (both, 3, brings(3, third, new)),
        (both, 3, brings(3, third, key)),
        (both, 3, ends(3, new, key, NOW, now)),  # the old key cannot get rid of the new
        (both, 3, ends(3, key, key, NOW, now)),
        (both, 3, ends(3, key, third, NOW, now)),
        (both, 3, ends(3, key, new, NOW - 1, planned)),
        (both, 2, ends(2, key, new, NOW, planned)),
    ):
        with pytest.raises(KeyChangeInvalid):
            wrong[0].after(wrong[1], wrong[2])
    assert both.after(3, ends(3, key, new, NOW - 1, now)).keys_at(4) == (new.verify_key,)
    alone = both.after(3, ends(3, key, new, NOW, planned))
    with pytest.raises(KeyChangeInvalid):
        alone.after(4, brings(4, key, new))


def test_entry_about_keys_is_made_by_rotation_alone(log: EvidenceLog, key: SigningKey) -> None:
    """Whoever may append events may not append this one."""
    new = SigningKey.generate(key.name)
    with pytest.raises(EventInvalid, match="rotation alone"):
        log.append(introduce(0, origin=ORIGIN, new=new, old=key, until=NOW, at=NOW))
    assert log.size == 0


def test_rotation_said_again_changes_nothing(
    log: EvidenceLog, desk: KeyDesk, clock: SetClock, tmp_path: Path
) -> None:
    """Rotating in an overlap and retiring after it are done already; too soon is refused."""
    with pytest.raises(KeyChangeRefused, match="rotate it first"):
        desk.retire()
    first = desk.rotate(overlap_s=DAY_S)
    assert (first["changed"], len(first["keys"])) == (True, 2)
    again = desk.rotate(overlap_s=DAY_S)
    assert (again["changed"], again["keys"], log.size) == (False, first["keys"], 1)
    with pytest.raises(KeyChangeRefused, match="both keys sign for 86400 s more"):
        desk.retire()
    clock.now += DAY_S
    assert desk.retire()["changed"] is True
    assert desk.retire()["changed"] is False
    assert [row["state"] for row in desk.list()] == ["retired", "signs"]
    assert log.size == 2
    for wrong in (-1.0, 1e12, float("nan")):
        with pytest.raises(KeyChangeRefused):
            desk.rotate(overlap_s=wrong)
    assert len(list((tmp_path / "log-keys").iterdir())) == 1


def test_rotation_of_a_compromised_key_is_at_once(log: EvidenceLog, desk: KeyDesk) -> None:
    """Said to be compromised, the old key goes before the planned end, and the entry says why."""
    desk.rotate(overlap_s=DAY_S)
    desk.retire(compromised=True)
    assert log.entry(1).event.fields["reason"] == "compromised"
    assert len(log.keys.signers) == 1


def test_log_opens_again_with_its_keys_and_not_without(
    rotated: EvidenceLog, key: SigningKey, tmp_path: Path, event: MakeEvent
) -> None:
    """The settings still name the first key; a later one that is gone is named, not replaced."""
    clock = SetClock(NOW + 2 * DAY_S)
    path = tmp_path / "log.db"
    rotated.close()
    with closing(EvidenceLog(path, key, origin=ORIGIN, clock=clock)) as log:
        assert log.append(event(1)) == 9
        KeyDesk(log, clock=clock).rotate(overlap_s=0)
        KeyDesk(log, clock=clock).retire()
        assert len(list((tmp_path / "log-keys").iterdir())) == 1  # the one in between is destroyed
    assert verify_log(path, key.verify_key).size == 12
    shutil.rmtree(tmp_path / "log-keys")
    with pytest.raises(EvidenceUnavailable, match="put its file back into log-keys"):
        EvidenceLog(path, key, origin=ORIGIN, clock=clock)
    with pytest.raises(LogTampered):
        EvidenceLog(path, SigningKey.generate(key.name), origin=ORIGIN, clock=clock)


def test_key_is_private_in_its_file_and_in_no_output(
    log: EvidenceLog, desk: KeyDesk, tmp_path: Path
) -> None:
    """The file has mode 0600 in a folder of 0700; what is listed and logged is public."""
    state = desk.rotate(overlap_s=DAY_S)
    (file,) = (tmp_path / "log-keys").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    secret = file.read_text().splitlines()[2]
    assert secret not in repr(state)
    assert secret not in repr(log.keys)
    assert base64.b64decode(secret) not in (tmp_path / "log.db-wal").read_bytes()
    assert secret.encode() not in (tmp_path / "log.db-wal").read_bytes()


def test_rotation_while_many_append_lands_in_its_signed_place(
    log: EvidenceLog, key: SigningKey, clock: SetClock, event: MakeEvent, tmp_path: Path
) -> None:
    """The event says the size from which both sign, however busy the log is."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            log.append(event(1))

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    desk = KeyDesk(log, clock=clock)
    for _ in range(5):
        desk.rotate(overlap_s=0)
        desk.retire()
    stop.set()
    for thread in threads:
        thread.join()
    assert len(log.keys.chain.terms) == 6
    assert verify_log(tmp_path / "log.db", key.verify_key).size == log.size
