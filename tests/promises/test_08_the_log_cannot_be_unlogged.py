"""Promise 8: what was logged cannot be unlogged: anyone with a receipt finds out, offline."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.errors import LogTampered, Tampering
from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from audit.signing import SigningKey
from audit.verify import verify_log
from tests.promises.headquarters import Headquarters
from tests.promises.town import Fleet, Town, round_of, wants_training

pytestmark = pytest.mark.promise(8)


@dataclass(frozen=True)
class Kept:
    """A closed log, a copy of it from earlier, and the receipt that somebody holds."""

    path: Path
    earlier: Path
    key: SigningKey
    receipt: str
    origin: str

    @property
    def checkpoint(self) -> str:
        """The signed checkpoint that every receipt carries."""
        return self.receipt.partition("\n\n")[2]


Service = tuple[EvidenceLog, Path, SigningKey, Callable[[], None]]


def worked(town: Town) -> dict[str, Service]:
    """Have all three services log something real; return log, folder, key and close of each."""
    branch = town.branch(plan_changes={"rounds": 1})
    node = branch.open()
    api = branch.api(node)
    wants_training(api, node, "anna")
    centre = Headquarters(town.folder / "centre", town.coordinator, town.clock.now)
    centre.hold(branch, Fleet({node.node: round_of(branch, node)}))
    trust = town.trust.service
    return {
        "node": (node.log, node.settings.folder, branch.node_key, node.close),
        "trust": (trust.log, town.trust.settings.folder, trust.key, trust.close),
        "coordinator": (centre.log, centre.folder, town.coordinator, centre.close),
    }


@pytest.fixture(params=["node", "trust", "coordinator"])
def kept(town: Town, request: pytest.FixtureRequest) -> Kept:
    """Return each service's log in turn."""
    logs = worked(town)
    log, folder, key, _ = logs[request.param]
    path, earlier = folder / "log.db", town.folder / "earlier.db"
    with closing(sqlite3.connect(path)) as source:
        source.execute("VACUUM INTO ?", (str(earlier),))
    newest = log.entry(log.size - 1).event
    receipt = log.receipt(log.append(newest))
    origin = log.checkpoint().partition("\n")[0]
    for *_, close in logs.values():
        close()
    copy = town.folder / "copy.db"
    shutil.copy(path, copy)
    return Kept(copy, earlier, key, receipt, origin)


def found(path: Path, kept: Kept) -> Tampering:
    """Verify offline with the public key and the receipt's checkpoint; return what was found."""
    with pytest.raises(LogTampered) as caught:
        verify_log(path, kept.key.verify_key, known_checkpoint=kept.checkpoint)
    return caught.value.what


def change(path: Path, statement: str) -> None:
    """Change a log as the owner of its file can, triggers and all."""
    with closing(sqlite3.connect(path)) as database, database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f"DROP TRIGGER {name}")
        database.execute(statement)


def test_untouched_log_verifies_against_the_receipt(kept: Kept) -> None:
    """With nothing done to it, a copy of the log agrees with the receipt."""
    verified = verify_log(kept.path, kept.key.verify_key, known_checkpoint=kept.checkpoint)
    assert verified.size > 2


def test_deletion_and_edit_are_detected(kept: Kept, tmp_path: Path) -> None:
    """An entry taken out, or changed by one byte, is found and called by its name."""
    for statement, expected in (
        ("DELETE FROM entry WHERE idx = 1", Tampering.MISSING),
        ("UPDATE entry SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = 1", Tampering.EDITED),
    ):
        path = tmp_path / f"{expected.name}.db"
        shutil.copy(kept.path, path)
        change(path, statement)
        assert found(path, kept) is expected


def test_truncation_is_detected_by_a_receipt(kept: Kept) -> None:
    """A log put back to an earlier, sound state contradicts whoever holds a later receipt."""
    assert verify_log(kept.earlier, kept.key.verify_key).size > 1  # sound in itself
    assert found(kept.earlier, kept) is Tampering.TRUNCATED


def test_fork_is_detected_by_a_receipt(kept: Kept, tmp_path: Path) -> None:
    """A second history under the same key, sound in itself, contradicts the receipt."""
    size = verify_log(kept.path, kept.key.verify_key).size
    path = tmp_path / "other.db"
    with closing(
        EvidenceLog(tmp_path / "source.db", kept.key, origin=kept.origin, clock=lambda: 1.0)
    ) as other:
        fields: dict[str, Value] = {"sequence": 1, "envelope_digest": "a" * 64}
        for _ in range(size):
            other.append(Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields))
    shutil.copy(tmp_path / "source.db", path)
    assert verify_log(path, kept.key.verify_key).size == size
    assert found(path, kept) is Tampering.FORKED


def test_log_cannot_be_changed_by_statements(kept: Kept) -> None:
    """Before anyone needs a proof, the tables themselves refuse to change or to forget."""
    with closing(sqlite3.connect(kept.path)) as database:
        for statement in ("DELETE FROM entry", "UPDATE entry SET leaf = x'00'"):
            with pytest.raises(sqlite3.DatabaseError):
                database.execute(statement)
