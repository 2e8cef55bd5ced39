"""A release's card, from the coordinator's log to the documents that an authority reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import PeerUnavailable
from coordinator.card_courier import PATH, CardCourier, card_body
from coordinator.release import first_release
from policies.canonical import digest
from tests.consent.conftest import World, make_world
from tests.coordinator.fleet import make_plan
from tests.coordinator.test_service import Centre, open_centre

__all__ = ["make_world"]


class Wire:
    """Carries the coordinator's signed calls to the trust service, or is down."""

    def __init__(self, trust: World, centre: Centre) -> None:
        self.trust, self.down, self.calls = trust, False, 0
        self._key = centre.service._key

    def witness(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Carry one call."""
        if self.down:
            raise PeerUnavailable("down")
        self.calls += 1
        self.trust.keys["centre"] = self._key
        answer = self.trust.as_node("centre", method, path, json.loads(body))
        return answer.status_code, answer.content


def test_a_published_card_reaches_the_documents(
    make_world: Callable[..., World],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Down first, not named then, taken at last, and once; the record shows that very card."""
    trust = make_world(coordinator="centre")
    (tmp_path / "centre").mkdir()
    centre = open_centre(tmp_path / "centre", clock=trust.clock)
    request.addfinalizer(centre.service.close)
    service, wire = centre.service, Wire(trust, centre)
    trust.keys["centre"] = service._key
    permit = service.permission.to_release(
        service.releases.upcoming(), approved_by="jo", protected=True
    )
    made = service.releases.publish(first_release(make_plan()), permit, approved_by="jo")
    courier = CardCourier(wire, service.releases.all, clock=trust.clock)

    wire.down = True
    with pytest.raises(PeerUnavailable):
        courier.bring()
    wire.down = False
    courier.bring()  # it is not enrolled yet
    assert trust.service.cards.every() == []
    assert "takes no cards of ours (401)" in caplog.text
    assert trust.enrol("centre", "the-centre").status_code == 201
    courier.bring()
    assert wire.calls == 1, "asked again within the minute"
    trust.clock.now += 61
    courier.bring()
    courier.bring()
    assert wire.calls == 2
    (card,) = trust.service.cards.every()
    assert card["card_digest"] == digest(made.body["card"])
    shown = trust.service.documents.read("technical")["document"]["changes"]["releases"]
    assert [row["release"] for row in shown] == ["release-0"]
    forged = json.loads(card_body(made)) | {"card": made.body["card"] | {"data": "forged"}}
    assert trust.as_node("centre", "POST", PATH, forged).status_code == 422
