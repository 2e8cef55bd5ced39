"""The coordinator's own evidence: refused input is recorded, decisions are traced, peers submit."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from audit.events import Event, EventKind
from audit.submitter import Submitter
from coordinator.api import create_app, create_courier_app
from tests.coordinator.test_service import TOKEN, Centre, draft, open_centre

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    """Return a running coordinator; the test closes it."""
    return open_centre(tmp_path)


def test_coordinator_records_refused_input_by_reason_and_field(centre: Centre) -> None:
    """Wrong shape, too large, not UTF-8, on people's and the courier's side: no content stays."""
    service = centre.service
    with closing(service):
        people = TestClient(create_app(service, admin_token=TOKEN))
        courier = TestClient(create_courier_app(service.queue, refusals=service.refusals))
        json = {"content-type": "application/json"}
        assert people.post("/v1/nodes", headers=BEARER, json={"node": "Smith!"}).status_code == 422
        large = people.post("/v1/plans", headers=BEARER | json, content=b" " * 300_000)
        assert large.status_code == 413
        assert people.post("/v1/plans", headers=BEARER, json={"x": "Smith"}).status_code == 400
        assert courier.post("/courier/replies", json={"replies": []}).status_code == 422
        text = courier.post("/courier/replies", headers=json, content=b'{"exchange": "\xff"}')
        assert text.status_code == 400
        found = service.log.find(EventKind.INPUT_REFUSED)
        assert [(e.event.fields["reason"], e.event.fields["field"]) for e in found][::-1] == [
            ("malformed-request", "body.node"),
            ("content-too-large", "body"),
            ("policy-invalid", ""),
            ("malformed-request", "body.exchange"),
            ("malformed-request", "body"),
        ]
        assert not any(b"Smith" in entry.leaf for entry in found)


def test_coordinator_traces_a_release_to_its_decision(centre: Centre) -> None:
    """Its own route answers with the token alone: the decision, what it rests on, the release."""
    service = centre.service
    with closing(service):
        plan = centre.client.plan(draft())
        centre.client.publish_release(plan_digest=plan["digest"], approved_by="jo")
        decided = service.log.find(EventKind.DECISION)[0].event.fields["decision_id"]
        people = TestClient(create_app(service, admin_token=TOKEN))
        assert people.get(f"/v1/trace/{decided}").status_code == 401
        assert people.get("/v1/trace/none", headers=BEARER).status_code == 404
        links = people.get(f"/v1/trace/{decided}", headers=BEARER).json()["links"]
        assert links[0]["what"] == "decision"
        released = [link for link in links if link["name"] == "release-published"]
        assert released[0]["by"] == "jo"
        assert released[0]["receipt"].startswith("c2sp.org/tlog-proof")


def test_coordinator_takes_submissions_once_it_has_started(centre: Centre) -> None:
    """Another process of its user records in the coordinator's log; closed, nobody does."""
    path = centre.settings.folder / "evidence.sock"
    fields = {"bundle": "b", "version": "1", "digest": "d"}
    event = Event(kind=EventKind.BUNDLE_PUBLISHED, at=1.0, fields=fields)
    with closing(centre.service), closing(Submitter(path)) as submitter:
        index = submitter.append(event, submission="one")
        assert submitter.append(event, submission="one") == index
        assert centre.service.log.entry(index).event == event
    assert not path.exists()
