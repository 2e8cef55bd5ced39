"""What earlier versions wrote is read after a start of this one, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa
from sqlmodel import select

from audit.events import EventKind
from consent import receipt
from consent.ledger import Ledger
from consent.rights import UNRECORDED, Case, EvidenceKind, Extension
from consent.rights_store import RightsStore
from consent.settings import Party
from consent.tables import LedgerRow
from consent.taken import verify_taken
from tests.audit import postgres
from tests.consent.conftest import World

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
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(files("consent") / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0004_captured")
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


NAMED = {"subject": "alice", "record": "a" * 32, "salt": "5" * 32}
"""A withdrawal that a node may have to say again, but for its purpose."""


@pytest.fixture
def world(make_world: Callable[..., World], url: str) -> World:
    """Return a service whose ledger is in that database, with one person."""
    world = make_world(
        database_url=url,
        parties={"acme": Party(name="Acme", address="1 Main St", contact="p@acme.example")},
    )
    assert world.publish().status_code == 201
    assert world.enrol("north", "acme").status_code == 201
    assert world.grant("alice").status_code == 201
    return world


def said(world: World, **changes: Any) -> Any:
    """Let the node say a withdrawal, for the first time or again."""
    return world.as_node("north", "POST", "/v1/withdrawals", NAMED | changes)


@pytest.mark.parametrize("purpose", ["service", None])
def test_receipt_given_again_is_the_one_that_was_logged(
    world: World, purpose: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After other settings and another shape: byte for byte as before, for its own salt alone."""
    first = said(world, purpose=purpose).json()
    world.settings = world.settings.model_copy(
        update={"parties": {}, "storage": "CH", "withdraw_at": "https://elsewhere.example"}
    )
    monkeypatch.setattr(receipt, "SCHEMA", "undertone-receipt/9")
    monkeypatch.setattr(receipt, "RIGHTS", ("eu-gdpr:A7-3",))
    world.reopen()
    size = world.service.log.size
    again = said(world, purpose=purpose)
    assert again.status_code == 201
    assert json.dumps(again.json()["receipt"]) == json.dumps(first["receipt"])
    verify_taken(again.content, world.service.key.verify_key)
    other = said(world, purpose=purpose, salt="6" * 32)
    assert other.status_code == 409
    assert "for the salt that it was recorded with" in other.text
    kept = [row.receipt or "" for row in every_row(world)]
    assert not any("5" * 32 in one for one in kept)
    assert [e.event.kind for e in world.service.log.entries(size, size + 9)] == [
        EventKind.INPUT_REFUSED
    ]


def test_receipt_that_an_earlier_version_logged_is_given_as_it_was_or_not_at_all(
    world: World,
) -> None:
    """Nothing is kept of it: made anew it is the one logged, or the answer says that it is not."""
    first = said(world, purpose="service").json()
    with world.service.ledger.writing() as session:
        if session.connection().dialect.name == "sqlite":
            session.connection().exec_driver_sql("DROP TRIGGER ledger_never_changes")
        session.connection().exec_driver_sql("UPDATE ledger SET receipt = NULL")
    assert said(world, purpose="service").json()["receipt"] == first["receipt"]
    world.settings = world.settings.model_copy(update={"storage": "CH"})
    world.reopen()
    assert said(world, purpose="service").status_code == 409


def every_row(world: World) -> list[LedgerRow]:
    """Return the whole ledger."""
    with world.service.ledger.reading() as session:
        return list(session.exec(select(LedgerRow)))
