"""Small real parts for the audit tests: a clock that is set, a key, a log in a folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

with warnings.catch_warnings():  # Typer 0.20 imports a name that Click 8.5 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import typer as _typer  # noqa: F401

from audit.events import Event, EventKind, Value
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.log_sqlite import SqliteStore
from audit.signing import SigningKey

NOW = 1_800_000_000.0


@dataclass
class SetClock:
    """A clock that stands still until it is set."""

    now: float = NOW

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@pytest.fixture
def clock() -> SetClock:
    """Return a clock at a fixed time."""
    return SetClock()


@pytest.fixture
def key() -> SigningKey:
    """Return a fresh log key."""
    return SigningKey.generate("node-1.example/log")


@pytest.fixture
def keystore(tmp_path: Path, clock: SetClock) -> Iterator[Keystore]:
    """Return an open keystore."""
    store = Keystore(tmp_path / "keys", clock=clock)
    yield store
    store.close()


@pytest.fixture
def log(
    tmp_path: Path, key: SigningKey, clock: SetClock, keystore: Keystore
) -> Iterator[EvidenceLog]:
    """Return an open, empty log with a keystore."""
    evidence = EvidenceLog(
        tmp_path / "log.db", key, origin="node-1.example/log", clock=clock, keystore=keystore
    )
    yield evidence
    evidence.close()


def sqlite_of(log: EvidenceLog) -> SqliteStore:
    """Return the tables of a log that is in SQLite, to break them."""
    store = log._store
    assert isinstance(store, SqliteStore)
    return store


@pytest.fixture
def event() -> Callable[[int], Event]:
    """Make a small event that carries a number."""

    def make(number: int) -> Event:
        fields: dict[str, Value] = {"sequence": number, "envelope_digest": "a" * 64}
        return Event(kind=EventKind.STANDING_APPLIED, at=NOW, fields=fields)

    return make
