"""What is done while a process is killed, and what must hold when another takes over.

Each scenario runs in a folder and says what it was promised; `check` opens the folder as the next
process would, and does everything again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.archive import Archive
from audit.errors import AccountConflict, EvidenceUnavailable, KeyInvalid
from audit.events import Event, EventKind, Value
from audit.keystore import EVIDENCE, Keystore
from audit.log import Draft, EvidenceLog
from audit.portal.ledger import StaffLedger
from audit.portal.tables import AccountRow
from audit.retention_policy import load_retention
from audit.sealing import Sealing
from audit.signing import SigningKey
from audit.submission import submission_of
from audit.tile_folder import TileFolder
from audit.verify import verify_log
from audit.witness import Witness
from audit.witness_store import WitnessStore
from policies.vocabulary import SubjectId
from tests.audit import postgres
from tests.audit.fault_points import Kill

ANN, BOB = SubjectId("1f" * 32), SubjectId("2e" * 32)
ORIGIN = "killed"
GROWN = 1024
"""Entries of the log that is there before."""

Promise = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the folder of all runs is prepared, what one run does, and what holds afterwards.

    It is killed at the points of the modules `of`, at the first `most` passes of each.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path, Promise], None]
    check: Callable[[Path, list[Any]], None]
    of: tuple[str, ...]
    most: int = 6

    def kills(self, passed: Sequence[str]) -> list[Kill]:
        """Return when a run that passes these points is killed."""
        counts = Counter(point for point in passed if point.startswith(self.of))
        return [
            Kill(point, n, after)
            for point, count in counts.items()
            for n in range(1, min(count, self.most) + 1)
            for after in (False, True)
        ]


def event(number: int) -> Event:
    """Return a small event."""
    fields: dict[str, Value] = {"sequence": number, "envelope_digest": "a" * 64}
    return Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields)


def _key(base: Path) -> None:
    SigningKey.generate(ORIGIN).save(base / "key")


# -- the log, in both stores, with its keystore ---------------------------------------------

SUBMISSIONS = (("one", (0,)), ("two", (1,)), ("three", (2, 3, 4)))


def _place(folder: Path) -> Path | str:
    server = os.environ.get("FAULTS_POSTGRES")
    if server is None:
        return folder / "log.db"
    name = f"{folder.parent.name}_{folder.name}".replace("-", "_").lower()
    with suppress(Exception):  # it is there: another process takes over
        postgres.make_database(Path(server), name)
    return f"postgresql://{postgres.USER}@localhost/{name}?socket={server}"


def _log(folder: Path, keystore: Keystore) -> EvidenceLog:
    key = SigningKey.load(folder.parent / "key")
    for _ in range(100):
        try:
            return EvidenceLog(
                _place(folder), key, origin=ORIGIN, clock=lambda: 1.0, keystore=keystore
            )
        except EvidenceUnavailable as error:
            if "another owner" not in str(error):  # a server takes a moment to see the kill
                raise
    raise EvidenceUnavailable("the last owner is still there")


def _submit(log: EvidenceLog) -> dict[str, list[int]]:
    """Hand everything in, as a process does that does not know what was recorded."""
    return {name: list(_submit_one(log, name, numbers)) for name, numbers in SUBMISSIONS}


def _submit_one(log: EvidenceLog, name: str, numbers: tuple[int, ...]) -> range:
    drafts = [Draft(event(n), {"n": n}, ANN if n == 1 else BOB) for n in numbers]
    return log.append_many(drafts, submission=name)


def run_log(folder: Path, promised: Promise) -> None:
    """Append alone and together, erase a person, and let an entry's facts expire."""
    keystore = Keystore(folder / "keys", clock=lambda: 1.0)
    with closing(keystore), closing(_log(folder, keystore)) as log:
        for name, numbers in SUBMISSIONS:
            promised([name, list(_submit_one(log, name, numbers))])
        keystore.destroy(ANN)
        promised(["destroyed", []])
        log.forget(ANN)
        promised(["forgotten", []])
        log.store.expire([3])
        promised(["expired", []])


def check_log(folder: Path, promised: list[Any]) -> None:
    """What was promised is there, each once; submitted again it has the place it had."""
    told: dict[str, list[int]] = dict(promised)
    keystore = Keystore(folder / "keys", clock=lambda: 1.0)
    with closing(keystore), closing(_log(folder, keystore)) as log:
        assert log.size in {0, 1, 2, 5}
        before = {log.entry(index).event.fields["sequence"] for index in range(log.size)}
        assert {n for name, of in SUBMISSIONS if name in told for n in of} <= before
        if "destroyed" in told:
            assert log.payload(1) is None
            assert keystore.labels(ANN) == frozenset()
        if "forgotten" in told:
            assert log.store.payload(1) is None
        if "expired" in told:
            assert log.store.payload(3) is None
        places = _submit(log)
        assert places == {"one": [0], "two": [1], "three": [2, 3, 4]}
        assert all(places[name] == told[name] for name in places if name in told)
        assert [e.event for e in log.entries(0, 9)] == [event(n) for n in range(5)]
        assert log.payload(2) == {"n": 2}
        keystore.destroy(ANN)
        log.forget(ANN)
        log.store.expire([3])
        assert [log.payload(index) for index in (0, 1, 3)] == [{"n": 0}, None, None]
        tiles = TileFolder(folder / "tiles")
        assert tiles.publish(log) == tiles.verify(log.key.verify_key)
    assert len(list((folder / "keys").glob("wrapping-*.key"))) == 1


# -- the keystore alone ---------------------------------------------------------------------


def run_keystore(folder: Path, promised: Promise) -> None:
    """Seal for two people, destroy one's keys."""
    with closing(Keystore(folder / "keys", clock=lambda: 1.0)) as store:
        for person in (ANN, BOB):
            sealed = store.seal(person, EVIDENCE, b"secret", context=b"c")
            promised([person, sealed.hex()])
        store.destroy(ANN)
        promised(["destroyed", ANN])


def check_keystore(folder: Path, promised: list[Any]) -> None:
    """What was sealed opens unless its key was destroyed, and then never."""
    sealed = {who: bytes.fromhex(data) for who, data in promised if who != "destroyed"}
    gone = ["destroyed", ANN] in promised
    with closing(Keystore(folder / "keys", clock=lambda: 1.0)) as store:
        if BOB in sealed:
            assert store.open(BOB, EVIDENCE, sealed[BOB], context=b"c") == b"secret"
        if gone:
            assert store.labels(ANN) == frozenset()
        store.destroy(ANN)
        assert store.labels(ANN) == frozenset()
        again = store.seal(BOB, EVIDENCE, b"again", context=b"c")
        assert store.open(BOB, EVIDENCE, again, context=b"c") == b"again"
    assert len(list((folder / "keys").glob("wrapping-*.key"))) == 1


# -- a key's file ---------------------------------------------------------------------------


def run_key_file(folder: Path, promised: Promise) -> None:
    """Save a key."""
    SigningKey.generate("x").save(folder / "x.key")
    promised("saved")


def check_key_file(folder: Path, promised: list[Any]) -> None:
    """The file is whole or not there, and then it can be made."""
    path = folder / "x.key"
    assert path.exists() or not promised
    if not path.exists():
        SigningKey.generate("x").save(path)
    assert SigningKey.load(path).name == "x"
    with suppress(KeyInvalid):
        SigningKey.generate("x").save(path)
        raise AssertionError("a key took the place of another")


# -- witness, tiles, bookmark, staff --------------------------------------------------------


def prepare_grown(base: Path) -> None:
    """Grow a log that is submitted to a witness, published and verified."""
    _key(base)
    key = SigningKey.load(base / "key")
    with closing(EvidenceLog(base / "grown.db", key, origin=ORIGIN, clock=lambda: 1.0)) as log:
        for size in (1, 1, 298, GROWN - 300):
            log.append_many([Draft(event(log.size + n)) for n in range(size)])


def run_witness(folder: Path, promised: Promise) -> None:
    """Cosign a growing log."""
    key = SigningKey.load(folder.parent / "key")
    with closing(_grown(folder)) as log:
        bodies = [(n, submission_of(log, o, size=n)) for o, n in ((0, 1), (1, 2), (2, 300))]
    with closing(WitnessStore(folder / "witness.db")) as store:
        witness = Witness(store, key, clock=lambda: 5.0, find_log=lambda _: key.verify_key)
        for size, body in bodies:
            witness.add_checkpoint(body)
            promised(size)


def check_witness(folder: Path, promised: list[Any]) -> None:
    """No cosignature was given that is not remembered."""
    with closing(WitnessStore(folder / "witness.db")) as store:
        seen = store.seen(ORIGIN)
        assert (0 if seen is None else seen.size) >= max(promised, default=0)


def _grown(folder: Path) -> EvidenceLog:
    """Open a copy of the grown log, for this run alone."""
    path = folder / "grown.db"
    path.write_bytes((folder.parent / "grown.db").read_bytes())
    key = SigningKey.load(folder.parent / "key")
    return EvidenceLog(path, key, origin=ORIGIN, clock=lambda: 1.0)


def run_tiles(folder: Path, promised: Promise) -> None:
    """Publish a log's tiles at 300 entries less than whole, then whole."""
    key = SigningKey.load(folder.parent / "key")
    tiles = TileFolder(folder / "tiles")
    with closing(EvidenceLog(folder / "l.db", key, origin=ORIGIN, clock=lambda: 1.0)) as log:
        for size in (200, 400):
            log.append_many([Draft(event(log.size + n)) for n in range(size)])
            promised(tiles.publish(log).size)


def check_tiles(folder: Path, promised: list[Any]) -> None:
    """A checkpoint that is there has all its tiles; publishing goes on."""
    key = SigningKey.load(folder.parent / "key")
    tiles = TileFolder(folder / "tiles")
    found = 0
    with suppress(EvidenceUnavailable):
        tiles.checkpoint(key.verify_key)
        found = tiles.verify(key.verify_key).size
    assert found >= max(promised, default=0)
    with closing(EvidenceLog(folder / "l.db", key, origin=ORIGIN, clock=lambda: 1.0)) as log:
        log.append(event(9))
        assert tiles.publish(log) == tiles.verify(key.verify_key)


def _sealing(folder: Path) -> Sealing:
    """Open a copy of the grown log, years later, beside its archive."""
    key, path, clock = SigningKey.load(folder.parent / "key"), folder / "grown.db", lambda: 1e9
    if not path.exists():
        path.write_bytes((folder.parent / "grown.db").read_bytes())
    archive = Archive(folder / "archive", key.verify_key)
    log = EvidenceLog(path, key, origin=ORIGIN, clock=clock, archive=archive)
    policy = replace(load_retention(), archive_after_days=1, archive_fewest=1)
    return Sealing(log=log, archive=archive, policy=policy, clock=clock)


def run_archive(folder: Path, promised: Promise) -> None:
    """Seal all old entries, and drop their leaves from the live store."""
    sealing = _sealing(folder)
    with closing(sealing.log):
        while sealing.seal_next(sealing.due()) is not None:
            promised(sealing.sealed_until())
        sealing.drop()


def check_archive(folder: Path, promised: list[Any]) -> None:
    """What was sealed stays sealed; whether dropped or not, every entry is read and verified."""
    sealing = _sealing(folder)
    with closing(sealing.log) as log:
        assert sealing.sealed_until() >= max(promised, default=0)
        for _ in range(2):
            assert all(log.entry(index).event == event(index) for index in (0, 300, 1023))
            while sealing.seal_next(sealing.due()) is not None:
                pass
            sealing.drop()
        assert sealing.sealed_until() == GROWN
    verified = verify_log(folder / "grown.db", log.key.verify_key, archive=sealing.archive)
    assert verified.size == log.size


def run_bookmark(folder: Path, promised: Promise) -> None:
    """Verify with a bookmark."""
    key = SigningKey.load(folder.parent / "key").verify_key
    promised(verify_log(folder.parent / "grown.db", key, bookmark=folder / "mark").size)


def check_bookmark(folder: Path, _promised: list[Any]) -> None:
    """A pass that goes on finds what one from the beginning does."""
    key = SigningKey.load(folder.parent / "key").verify_key
    path = folder.parent / "grown.db"
    assert verify_log(path, key, bookmark=folder / "mark") == verify_log(path, key)


def run_staff(folder: Path, promised: Promise) -> None:
    """Open accounts."""
    with closing(StaffLedger(f"sqlite:///{folder}/staff.db")) as ledger:
        for name in ("ada", "bob"):
            ledger.put(AccountRow(name=name, roles="officer", made_at=1.0))
            promised(name)


def check_staff(folder: Path, promised: list[Any]) -> None:
    """An account that was opened is there, and each once."""
    with closing(StaffLedger(f"sqlite:///{folder}/staff.db")) as ledger:
        assert {row.name for row in ledger.accounts()} >= set(promised)
        for name in ("ada", "bob"):
            with suppress(AccountConflict):
                ledger.put(AccountRow(name=name, roles="officer", made_at=1.0))
        assert [row.name for row in ledger.accounts()] == ["ada", "bob"]


_FILES = ("audit.private_files",)
_COMMIT = ("audit.transaction",)

SCENARIOS: Mapping[str, Scenario] = {
    "log": Scenario(_key, run_log, check_log, ("audit.log_sqlite", *_COMMIT), most=20),
    "log-in-postgres": Scenario(_key, run_log, check_log, ("audit.log_postgres",), most=3),
    "keystore": Scenario(
        _key, run_keystore, check_keystore, ("audit.keystore_rows", *_FILES, *_COMMIT)
    ),
    "key-file": Scenario(_key, run_key_file, check_key_file, _FILES),
    "witness": Scenario(
        prepare_grown, run_witness, check_witness, ("audit.witness_store", *_COMMIT)
    ),
    "tiles": Scenario(_key, run_tiles, check_tiles, ("audit.tile_folder",)),
    "archive": Scenario(prepare_grown, run_archive, check_archive, ("audit.archive",)),
    "bookmark": Scenario(prepare_grown, run_bookmark, check_bookmark, ("audit.replay",)),
    "staff": Scenario(_key, run_staff, check_staff, ("audit.portal", "audit.database")),
}
