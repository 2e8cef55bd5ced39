"""Where evidence cannot be written, nothing happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from audit.errors import EvidenceUnavailable
from consent.errors import LedgerUnavailable
from policies.decision import UseRequest, request_to_dict
from policies.vocabulary import Action, NodeId, Purpose, SubjectId
from tests.consent.conftest import proof


def acts(world: Any) -> dict[str, Callable[[], Any]]:
    """Return every act that changes something, ready to be tried."""
    token = world.grant("alice").json()["manage_token"]
    body = json.dumps({"manage_token": token, "purpose": None}).encode()
    return {
        "grant": lambda: world.grant("bob"),
        "bulk": lambda: world.as_node(
            "north", "POST", "/v1/grants", {"grants": [_grant("bob"), _grant("carol")]}
        ),
        "withdrawal": lambda: world.as_node(
            "north", "POST", "/v1/withdrawals", {"subject": "alice", "purpose": "service"}
        ),
        "erasure": lambda: world.send("POST", "/v1/withdrawals", body),
        "objection": lambda: world.as_node(
            "north", "POST", "/v1/objections", {"subject": "alice", "purposes": ["service"]}
        ),
        "restriction": lambda: world.as_node(
            "north", "POST", "/v1/restrictions", {"subject": "alice", "restricted": True}
        ),
        "notice": lambda: world.publish(2, material=True),
        "dpia": lambda: world.approve("offers", dpia="dpia-2"),
        "stop": lambda: world.decree("stop", stopped=True, by="officer"),
        "enrolment": lambda: world.enrol("west", "acme"),
    }


def _grant(subject: str) -> dict[str, object]:
    return proof() | {
        "subject": subject,
        "purposes": ["service"],
        "modalities": ["text"],
        "notice_version": 1,
        "act": "ticked_box",
        "informed": True,
        "valid_days": 30,
    }


ACTS = (
    "grant",
    "bulk",
    "withdrawal",
    "erasure",
    "objection",
    "restriction",
    "notice",
    "dpia",
    "stop",
    "enrolment",
)


def state_of(world: Any) -> dict[str, Any]:
    """Return all that nodes can hear, and how many nodes there are."""
    page: dict[str, Any] = world.feed()
    return page | {"nodes": world.service.enrolment.count()}


@pytest.mark.parametrize("act", ACTS)
def test_nothing_changes_when_the_log_cannot_write(
    world: Any, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed log answers 503 to every act, and the next feed is as before."""

    def refuse(*_: object, **__: object) -> int:
        raise EvidenceUnavailable("the disk is full")

    tries = acts(world)
    before = state_of(world)
    with monkeypatch.context() as broken:
        for write in ("append", "append_many", "append_works"):
            broken.setattr(world.service.log, write, refuse)
        assert tries[act]().status_code == 503
    assert state_of(world) == before
    world.reopen()
    assert state_of(world) == before


@pytest.mark.parametrize("act", ACTS)
def test_nothing_changes_when_the_ledger_cannot_write(
    world: Any, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that refuses answers 503, and neither memory nor the feed says otherwise."""

    def refuse(*_: object, **__: object) -> None:
        raise LedgerUnavailable("the disk is full")

    tries = acts(world)
    before = state_of(world)
    with monkeypatch.context() as broken:
        for write in ("add", "erase", "add_node"):
            broken.setattr(world.service.ledger, write, refuse)
        assert tries[act]().status_code == 503
    assert state_of(world) == before


def test_acts_succeed_once_the_log_writes_again(world: Any) -> None:
    """The same acts are done when nothing is broken, so that the two tests above mean something."""
    tries = acts(world)
    for act in ACTS[:1] + ACTS[2:3] + ACTS[4:]:
        assert tries[act]().status_code == 201, act


def test_closed_log_decides_nothing(world: Any) -> None:
    """Without evidence there is no decision, so the answer is no."""
    world.grant("alice")
    world.service.log.close()
    request = UseRequest(
        node=NodeId("north"),
        action=Action.INFER,
        purpose=Purpose.SERVICE,
        subject=SubjectId("alice"),
    )
    answer = world.as_node("north", "POST", "/v1/decisions", {"request": request_to_dict(request)})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
