"""The keystore: what is destroyed cannot be opened, from any copy of anything but the keys."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from audit import keystore as keystore_module
from audit.errors import KeyDestroyed, KeystoreUnavailable, SealBroken
from audit.keystore import EVIDENCE, Keystore, SealedItem
from audit.keystore_rows import KeyRows
from audit.private_files import destroy_file
from audit.wrapping import WrappingKey
from policies.vocabulary import SubjectId

ANN, BOB = SubjectId("a" * 64), SubjectId("b" * 64)


def _clock() -> float:
    return 0.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where a keystore goes."""
    return tmp_path / "vault-keys"


def test_keystore_opens_what_it_sealed_after_a_restart(folder: Path) -> None:
    """Sealed bytes open again, in another process' life too."""
    with closing(Keystore(folder, clock=_clock)) as keys:
        sealed = keys.seal(ANN, "training", b"secret", context=b"record 1")
        assert b"secret" not in sealed
    with closing(Keystore(folder, clock=_clock)) as keys:
        assert keys.open(ANN, "training", sealed, context=b"record 1") == b"secret"
        assert keys.owner(sealed) == (ANN, "training")


def test_keystore_binds_person_label_context_and_every_byte(keystore: Keystore) -> None:
    """Moved to another person, label or record, or changed in any byte, nothing opens."""
    sealed = keystore.seal(ANN, "training", b"secret", context=b"1")
    keystore.seal(BOB, "training", b"x", context=b"1")
    with pytest.raises(SealBroken):
        keystore.open(ANN, "training", sealed, context=b"2")
    for who, label in ((BOB, "training"), (ANN, "service")):
        with pytest.raises(KeyDestroyed):
            keystore.open(who, label, sealed, context=b"1")
    for place in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        with pytest.raises((SealBroken, KeyDestroyed)):
            keystore.open(ANN, "training", bytes(damaged), context=b"1")


def test_keystore_destroys_one_purpose_and_leaves_the_others(keystore: Keystore) -> None:
    """Withdrawing one purpose destroys that purpose's key only, and nobody else's."""
    sealed = {
        (who, label): keystore.seal(who, label, b"x", context=b"")
        for who in (ANN, BOB)
        for label in ("training", "service", EVIDENCE)
    }
    assert keystore.destroy(ANN, "training") == 1
    assert keystore.labels(ANN) == {"service", EVIDENCE}
    for (who, label), data in sealed.items():
        if (who, label) == (ANN, "training"):
            with pytest.raises(KeyDestroyed):
                keystore.open(who, label, data, context=b"")
        else:
            assert keystore.open(who, label, data, context=b"") == b"x"
    assert keystore.destroy(ANN) == 2
    assert keystore.destroy(ANN) == 0


def test_keystore_key_made_again_does_not_open_the_old(keystore: Keystore) -> None:
    """Consent given again begins anew: what was erased stays erased."""
    sealed = keystore.seal(ANN, "training", b"x", context=b"")
    keystore.destroy(ANN)
    keystore.seal(ANN, "training", b"y", context=b"")
    with pytest.raises(KeyDestroyed):
        keystore.open(ANN, "training", sealed, context=b"")


def test_keystore_batch_opens_in_order_and_skips_the_destroyed(keystore: Keystore) -> None:
    """A batch gives each record or None, in order; a changed one is an error, not a None."""
    items = [
        SealedItem(who, "training", keystore.seal(who, "training", text, context=text), text)
        for who in (ANN, BOB)
        for text in (b"1", b"2")
    ]
    keystore.destroy(ANN)
    assert keystore.open_many([tuple(item) for item in items]) == [None, None, b"1", b"2"]  # type: ignore[misc]
    with pytest.raises(SealBroken):
        keystore.open_many([items[3]._replace(context=b"9")])


def test_keystore_prepares_what_is_missing_and_keeps_what_is_there(keystore: Keystore) -> None:
    """Many keys are made in one step, nobody's is made anew; a full disk makes none."""
    sealed = keystore.seal(ANN, "training", b"x", context=b"")
    keystore.prepare([(ANN, "training"), (BOB, "training"), (BOB, "service"), (BOB, "service")])
    assert keystore.open(ANN, "training", sealed, context=b"") == b"x"
    assert keystore.labels(BOB) == {"training", "service"}
    keystore._rows._db.execute("PRAGMA max_page_count = 1")
    many = [(SubjectId(f"{number:064}"), "training") for number in range(200)]
    with pytest.raises(KeystoreUnavailable):
        keystore.prepare(many)
    assert set(keystore.key_ids().values()) == {ANN, BOB}


@pytest.mark.promise(3)
def test_keystore_destroyed_person_stays_closed_in_a_restored_backup(
    folder: Path, tmp_path: Path
) -> None:
    """Yesterday's records and write-ahead log, put back, do not open after destruction."""
    records, backup = tmp_path / "records.db", tmp_path / "backup"
    backup.mkdir()
    keys = Keystore(folder, clock=_clock)
    database = sqlite3.connect(records, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE record (sealed BLOB)")
    sealed = keys.seal(ANN, "training", b"secret", context=b"")
    database.execute("INSERT INTO record VALUES (?)", (sealed,))
    for path in tmp_path.glob("records.db*"):
        shutil.copy(path, backup)
    assert (backup / "records.db-wal").stat().st_size > 0
    keys.destroy(ANN)
    database.close()
    for path in backup.iterdir():
        shutil.copy(path, tmp_path)
    with closing(sqlite3.connect(records)) as restored:
        found = restored.execute("SELECT sealed FROM record").fetchone()[0]
    assert found == sealed
    with closing(keys), pytest.raises(KeyDestroyed):
        keys.open(ANN, "training", found, context=b"")


@pytest.mark.promise(3)
def test_keystore_table_restored_from_a_copy_opens_nothing(folder: Path, tmp_path: Path) -> None:
    """Even yesterday's table of wrapped keys is noise: its wrapping key is destroyed."""
    keys = Keystore(folder, clock=_clock)
    keys.seal(ANN, "training", b"secret", context=b"")
    kept = keys.seal(BOB, "training", b"kept", context=b"")
    for path in folder.glob("keys.db*"):
        shutil.copy(path, tmp_path)
    keys.destroy(ANN)
    living = (folder / "wrapping-2.key").read_bytes()
    keys.close()
    stale = KeyRows(tmp_path / "keys.db")
    for row in stale.all():
        with pytest.raises(SealBroken):
            WrappingKey(2, living).unwrap(row)
    stale.close()
    current = tmp_path / "current.db"
    shutil.copy(folder / "keys.db", current)
    shutil.copy(tmp_path / "keys.db", folder)
    with pytest.raises(KeystoreUnavailable, match="never restored"):
        Keystore(folder, clock=_clock)
    assert (folder / "wrapping-2.key").read_bytes() == living, "the living key must survive this"
    shutil.copy(current, folder / "keys.db")
    with closing(Keystore(folder, clock=_clock)) as again:
        assert again.open(BOB, "training", kept, context=b"") == b"kept"


class _Crash(BaseException):
    """The process dies here."""


def _crash(*_args: object, **_kwargs: object) -> None:
    raise _Crash


@pytest.mark.parametrize(
    ("place", "destroyed"),
    [
        ("before 1", False),
        ("between 1 and 2", False),
        ("inside 2", False),
        ("between 2 and 3", True),
        ("between 3 and 4", True),
    ],
)
def test_keystore_crash_inside_destroy_leaves_all_or_destroyed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str, *, destroyed: bool
) -> None:
    """Wherever the process dies, either every key is there or the doomed are gone for good."""
    keys = Keystore(folder, clock=_clock)
    ann = keys.seal(ANN, "training", b"ann", context=b"")
    bob = keys.seal(BOB, "training", b"bob", context=b"")
    calls = iter([_nothing, _crash])
    crash_points: dict[str, tuple[object, str, Callable[..., object]]] = {
        "before 1": (WrappingKey, "create", _crash),
        "between 1 and 2": (KeyRows, "replace", _crash),
        "inside 2": (keys._rows, "_db", _CrashAtCommit(keys._rows._db)),
        "between 2 and 3": (
            keystore_module,
            "destroy_other_wrapping_keys",
            lambda *a, **k: next(calls)(*a, **k),  # noqa: PLW0108 (each call takes the next)
        ),
        "between 3 and 4": (KeyRows, "flush", _crash),
    }
    with monkeypatch.context() as patch:
        owner, name, crash = crash_points[place]
        patch.setattr(owner, name, crash)
        with pytest.raises(_Crash):
            keys.destroy(ANN)
    keys.close()
    with closing(Keystore(folder, clock=_clock)) as again:
        assert again.open(BOB, "training", bob, context=b"") == b"bob"
        if destroyed:
            with pytest.raises(KeyDestroyed):
                again.open(ANN, "training", ann, context=b"")
        else:
            assert again.open(ANN, "training", ann, context=b"") == b"ann"
        assert len(list(folder.glob("wrapping-*.key"))) == 1
        again.destroy(ANN)
        assert again.open(BOB, "training", bob, context=b"") == b"bob"


def _nothing(*_args: object, **_kwargs: object) -> None:
    return


class _CrashAtCommit:
    """A connection whose commit never comes."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def execute(self, statement: str, *values: object) -> object:
        if statement == "COMMIT":
            raise _Crash
        return self._database.execute(statement, *values)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    __call__ = execute


def test_keystore_overwrites_a_wrapping_key_before_unlinking(tmp_path: Path) -> None:
    """The destroyed file's blocks held other bytes when its name went."""
    path, link = tmp_path / "wrapping-1.key", tmp_path / "same-blocks"
    path.write_bytes(b"k" * 32)
    link.hardlink_to(path)
    destroy_file(path)
    assert not path.exists()
    assert link.read_bytes() != b"k" * 32
    assert link.stat().st_size == 32


def test_keystore_files_are_private_and_have_one_owner(folder: Path) -> None:
    """Every file has mode 0600, and a second owner is refused while the first lives."""
    with closing(Keystore(folder, clock=_clock)) as keys:
        keys.seal(ANN, "training", b"x", context=b"")
        assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with pytest.raises(KeystoreUnavailable, match="another owner"):
            Keystore(folder, clock=_clock)
    with pytest.raises(KeystoreUnavailable, match="closed"):
        keys.seal(ANN, "training", b"x", context=b"")
    Keystore(folder, clock=_clock).close()


def test_keystore_without_its_table_is_refused_and_keeps_the_wrapping_key(folder: Path) -> None:
    """A table moved away does not cost the wrapping key."""
    with closing(Keystore(folder, clock=_clock)) as keys:
        keys.seal(ANN, "training", b"x", context=b"")
        keys.destroy(ANN)
    (folder / "keys.db").unlink()
    with pytest.raises(KeystoreUnavailable, match="without their table"):
        Keystore(folder, clock=_clock)
    assert (folder / "wrapping-2.key").exists()
