"""What earlier versions wrote is read after a start of this one, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from consent.ledger import Ledger
from consent.rights import UNRECORDED, Case, EvidenceKind, Extension
from consent.rights_store import RightsStore
from tests.audit import postgres

CASE = "c1"
OPENED = {
    "case": CASE, "right": "review", "company": "acme", "subject": "alice", "nodes": ["north"],
    "jurisdiction": "IE", "about": {"decision": "d1"}, "method": None,
}  # fmt: skip
OLD: list[tuple[str, dict[str, Any]]] = [
    ("opened", OPENED),
    ("identity-asked", {}),
    ("identity-confirmed", {"method": "account"}),
    ("extended", {"reason": "complexity"}),
    ("evidence", {"evidence": "node-answered", "node": "north", "outcome": "complete"}),
    ("evidence", {"evidence": "human-decided", "outcome": "changed", "digest": None}),
]
"""The steps of a review as the version before wrote them: no way, and no digest of reasons."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'consent.db'}"
        return
    with postgres.server() as socket:
        postgres.make_database(socket, "ledger")
        yield f"postgresql+pg8000://{postgres.USER}@/ledger?unix_sock={quote(str(socket))}"


def put_back(url: str) -> None:
    """Bring a database to where the version before left it, with its steps."""
    Ledger(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0004_captured'"))
        connection.execute(
            sa.text("INSERT INTO rights_request VALUES (:case, 'alice', 'hash', :open)"),
            {"case": CASE, "open": True},
        )
        for at, (kind, details) in enumerate(OLD):
            row = {"case": CASE, "kind": kind, "at": float(at), "details": json.dumps(details)}
            connection.execute(
                sa.text(
                    "INSERT INTO rights_step (request, kind, at, by, details, log_index) "
                    "VALUES (:case, :kind, :at, 'dora', :details, 0)"
                ),
                row,
            )
    engine.dispose()


def read(url: str) -> tuple[Case, list[dict[str, Any]]]:
    """Return the request, and its steps' particulars, after this version's start."""
    with closing(Ledger(url)) as ledger:
        store = RightsStore(ledger)
        return store.case(CASE), [dict(step.details) for step in store.steps(CASE)]


def test_steps_of_an_earlier_version_are_read(url: str) -> None:
    """The request opens again; what was never recorded says so, the rest is as it was."""
    put_back(url)
    for _ in range(2):  # a second start changes nothing
        case, steps = read(url)
        assert case.extension is Extension.COMPLEXITY
        assert case.has(EvidenceKind.HUMAN_DECIDED)
        assert not case.verdict_returns
        changed = {"way": UNRECORDED}, {"way": UNRECORDED}, {"digest": UNRECORDED}
        for place, more in zip((1, 3, 5), changed, strict=True):
            assert steps[place] == OLD[place][1] | more
        assert [steps[n] for n in (0, 2, 4)] == [OLD[n][1] for n in (0, 2, 4)]


def test_steps_stay_append_only_after_the_migration(tmp_path: Path) -> None:
    """On SQLite the trigger that stood aside is there again."""
    url = f"sqlite:///{tmp_path / 'consent.db'}"
    put_back(url)
    read(url)
    engine = sa.create_engine(url)
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), engine.begin() as connection:
        connection.execute(sa.text("UPDATE rights_step SET details = '{}'"))
    engine.dispose()
