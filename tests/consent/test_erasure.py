"""Erasure: what is left of a person is what it takes to keep refusing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from audit.errors import KeystoreUnavailable
from audit.verify import verify_log
from consent.errors import LedgerUnavailable
from policies.vocabulary import SubjectId


def erase(world: Any, token: str) -> Any:
    """Erase by manage token."""
    body = json.dumps({"manage_token": token, "purpose": None}).encode()
    return world.send("POST", "/v1/withdrawals", body)


def test_erasure_leaves_pseudonym_and_flag_only(world: Any) -> None:
    """One erasure record stands in the place of all others; no grant or token hash is left."""
    token = world.grant("alice", jurisdiction="HU").json()["manage_token"]
    world.grant("alice", vulnerabilities=["debt"])
    answer = erase(world, token)
    assert answer.status_code == 201
    assert answer.json()["receipt"]["undertone:rightExercised"] == "eu-gdpr:A17"
    standing = world.standing("alice")
    assert standing["erased"]
    assert standing["grants"] == []
    records = world.service.ledger.records_of([SubjectId("alice")])["alice"]
    assert [type(record.act).__name__ for record in records] == ["Erased"]
    assert erase(world, token).status_code == 404


def test_erasure_leaves_no_trace_in_the_ledger_files(world: Any) -> None:
    """The bytes of the erased records are gone from the database and its journal."""
    token = world.grant("alice", jurisdiction="ZZ-Q7X").json()["manage_token"]
    files = [world.folder / "state" / name for name in ("consent.db", "consent.db-wal")]
    assert any(b"ZZ-Q7X" in path.read_bytes() for path in files)
    with world.service.ledger._session() as session:
        pragma = session.connection().exec_driver_sql("PRAGMA secure_delete")
        assert pragma.scalar() == 1
    erase(world, token)
    assert not any(b"ZZ-Q7X" in path.read_bytes() for path in files if path.exists())


def test_erasure_destroys_the_evidence_of_the_person_alone(world: Any) -> None:
    """The erased person's payload opens no more, the other's does, and the log verifies."""
    alice, bob = world.grant("alice").json(), world.grant("bob").json()
    assert world.service.log.payload(alice["log_index"])["subject"] == "alice"
    erase(world, alice["manage_token"])
    assert world.service.log.payload(alice["log_index"]) is None
    assert world.service.log.payload(bob["log_index"])["subject"] == "bob"
    assert world.service.keystore.labels(SubjectId("alice")) == frozenset()
    assert world.service.log.forget(SubjectId("alice")) == 0, "sealed bytes were left behind"
    key = world.service.key.verify_key
    world.service.close()
    verify_log(world.folder / "state" / "log.db", key)


def test_erasure_is_final_for_the_pseudonym(world: Any) -> None:
    """No later grant, withdrawal or objection revives an erased pseudonym."""
    erase(world, world.grant("alice").json()["manage_token"])
    assert world.grant("alice").status_code == 409
    for path, body in (
        ("/v1/withdrawals", {"subject": "alice", "purpose": "service"}),
        ("/v1/withdrawals", {"subject": "alice", "purpose": None}),
        ("/v1/objections", {"subject": "alice", "purposes": ["service"]}),
    ):
        assert world.as_node("north", "POST", path, body).status_code == 409
    assert world.standing("alice")["erased"]


def test_erasure_is_told_to_nodes_as_everything(world: Any) -> None:
    """The feed names the erased person with purpose null: all keys are to go."""
    token = world.grant("alice").json()["manage_token"]
    before = world.feed()["sequence"]
    erase(world, token)
    assert world.feed(after=before)["withdrawn"] == [{"subject": "alice", "purpose": None}]


def test_erasure_whose_keys_could_not_go_is_finished_at_the_next_start(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate closes although the keystore fails; the keys go when the service starts again."""

    def fail(*_: object) -> int:
        raise KeystoreUnavailable("the disk refuses")

    token = world.grant("alice").json()["manage_token"]
    monkeypatch.setattr(world.service.keystore, "destroy_many", fail)
    assert erase(world, token).status_code == 503
    assert world.standing("alice")["erased"]
    assert world.service.keystore.labels(SubjectId("alice"))
    world.reopen()
    assert not world.service.keystore.labels(SubjectId("alice"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET body = '{}'",
        "DELETE FROM ledger WHERE subject = 'alice'",
        "DELETE FROM ledger WHERE kind = 'notice'",
    ],
)
def test_ledger_refuses_edits(world: Any, statement: str) -> None:
    """No record is changed or deleted but by an erasure."""
    world.grant("alice")
    with pytest.raises(LedgerUnavailable), world.service.ledger._session() as session:
        session.connection().exec_driver_sql(statement)
