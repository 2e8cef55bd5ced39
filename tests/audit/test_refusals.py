"""Refused input is recorded: by reason and field, and nothing that was sent."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.testclient import TestClient

from audit.errors import EnvelopeInvalid, EvidenceUnavailable
from audit.http import BodyLimit, RecordRefusals, install_error_handlers
from audit.log import EvidenceLog
from audit.refusals import Refusals, field_at
from tests.audit.conftest import SetClock


class Wanted(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid")
    size: int = Field(default=1, lt=9)
    parts: list[int] = []


@pytest.fixture
def client(log: EvidenceLog, clock: SetClock) -> TestClient:
    """Return a service that refuses bad input."""
    app = FastAPI()
    app.add_middleware(BodyLimit, limit_bytes=200)
    app.add_middleware(RecordRefusals, refusals=Refusals(log, clock=clock))
    install_error_handlers(app, {})

    @app.post("/things")
    def things(wanted: Wanted) -> int:
        return wanted.size

    @app.post("/envelopes")
    def envelopes() -> None:
        raise EnvelopeInvalid("version 7 of an envelope is not known here")

    @app.post("/full")
    def full() -> None:
        raise EvidenceUnavailable("no")

    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/things", b'{"size": 10}', (422, "malformed-request", "body.size")),
        ("/things", b'{"parts": [1, "John Smith"]}', (422, "malformed-request", "body.parts.-")),
        ("/things", b'{"john_smith_is_angry": 1}', (422, "malformed-request", "body")),
        ("/things", b'{"size": "\xff\xfe"}', (400, "malformed-request", "body")),
        ("/things", b" " * 300, (413, "content-too-large", "body")),
        ("/envelopes", b"", (400, "envelope-invalid", "")),
    ],
)
def test_refused_input_is_an_entry_without_content(
    log: EvidenceLog, client: TestClient, path: str, body: bytes, expected: tuple[int, str, str]
) -> None:
    """Wrong, unknown, oversized, not UTF-8, another version: one entry names reason and field."""
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    status, reason, field = expected
    assert answer.status_code == status
    assert log.size == 1
    entry = log.entry(0)
    assert entry.event.fields == {"reason": reason, "field": field, "count": 1}
    assert b"mith" not in entry.leaf


def test_what_was_not_refused_is_no_entry(log: EvidenceLog, client: TestClient) -> None:
    """Good input, a fault of our own and an unknown path are no refusals of input."""
    assert client.post("/things", json={"size": 3}).status_code == 200
    assert client.post("/full").status_code == 503
    assert client.post("/nowhere").status_code == 404
    assert log.size == 0


def test_refusal_that_cannot_be_recorded_is_still_one(
    log: EvidenceLog, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that is closed changes no answer; the operator is told."""
    log.close()
    assert client.post("/things", json={"size": 10}).status_code == 422
    assert "could not be recorded" in caplog.text


def test_field_at_repeats_no_name_that_the_caller_made_up() -> None:
    """Only names that a field of ours could have pass, and never those of unknown fields."""
    assert field_at(("body", "angry_john"), "extra_forbidden") == "body"
    assert field_at(("body", "John Smith", 3), "missing") == "body.-.-"
    assert field_at((), "json_invalid") == "body"
