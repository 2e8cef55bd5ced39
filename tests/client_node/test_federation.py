"""The executor's journey through a round: refusals pass through, updates fit their terms."""

from __future__ import annotations

import base64
import json
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

with warnings.catch_warnings():  # Flower imports typer, which uses names that click deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import flwr.app  # noqa: F401

from audit.signing import SigningKey, seal
from client_node.federation import Round, Work, bags_from_bytes, deadline_of
from coordinator.announce import announce_enrolment, announce_terms
from models.errors import TrainingInvalid
from models.update import update_from_dict
from policies.errors import UndertoneError
from policies.vocabulary import NodeId
from tests.coordinator.fleet import make_plan, make_run
from tests.coordinator.stub_node import TURNS_EACH, make_gate, make_people

COORDINATOR = SigningKey.generate("coordinator")
NODE = SigningKey.generate("branch-1")
PEOPLE = 3


@dataclass(slots=True)
class Service:
    """Stand in for the node service; `work` is what it hands over."""

    work: Work | bytes
    updates: list[dict[str, Any]] = field(default_factory=list)

    def enrol(self, envelope: bytes) -> bytes:
        """Echo, marked."""
        return b"enrolled " + envelope[:4]

    def evaluate(self, envelope: bytes) -> bytes:
        """Echo, marked."""
        return b"counted " + envelope[:4]

    def load_release(self, envelope: bytes) -> bytes:
        """Echo, marked."""
        return b"loaded " + envelope[:4]

    def open_round(self, envelope: bytes) -> Work | bytes:
        """Hand over what the test said."""
        assert envelope
        return self.work

    def sign_update(self, update: dict[str, Any]) -> bytes:
        """Keep the update."""
        self.updates.append(update)
        return b"signed"


def hand_over(folder: Path, *, permitted: int = PEOPLE, key: SigningKey = NODE) -> Work:
    """Return a permit of a real gate for some people, and the bags of three."""
    from audit.gate import BATCH_SUBJECT  # noqa: PLC0415
    from policies.decision import Facts, UseRequest  # noqa: PLC0415
    from policies.standing import Governance  # noqa: PLC0415
    from policies.vocabulary import Action, Purpose  # noqa: PLC0415

    gate = make_gate(folder, key)
    request = UseRequest(
        node=NodeId(key.name),
        action=Action.TRAIN,
        purpose=Purpose.TRAINING,
        subject=BATCH_SUBJECT,
        facts=Facts(leaves_node=True, protected=True),
    )
    governance = Governance(
        as_of=int(time.time()),
        stopped=False,
        dpia_purposes=frozenset({Purpose.TRAINING}),
        minimum_notice=1,
        standing_max_age_s=3600,
    )
    permit = gate.open_batch(request, make_people(permitted), governance, context={})
    bags: dict[str, NDArray[Any]] = {
        "features": np.ones((PEOPLE * TURNS_EACH, 5), np.float32),
        "labels": np.zeros(PEOPLE * TURNS_EACH, np.int64),
        "owners": np.repeat(np.arange(PEOPLE), TURNS_EACH),
    }
    return Work(permit=gate.export_permit(permit), bags=safetensors.numpy.save(bags))


def make_round(service: Service) -> Round:
    """Return the journey of this node."""
    return Round(service=service, node=NodeId(NODE.name), node_key=NODE.verify_key, clock=time.time)


def terms_payload() -> tuple[str, bytes]:
    """Return the terms digest and the envelope of a round."""
    weights = np.zeros((5, 3), np.float32)
    run = make_run(make_plan())
    _, digest, envelope = announce_terms(run, 2, weights, key=COORDINATOR, now=time.time())
    return digest, envelope


def test_update_answers_exactly_these_terms(tmp_path: Path) -> None:
    """What is handed in for signing names the run, round, node and digest of the terms."""
    service = Service(hand_over(tmp_path))
    digest, envelope = terms_payload()
    assert make_round(service)(envelope) == b"signed"
    update = update_from_dict(service.updates[0])
    assert (update.run, update.round_number, update.node) == ("run-1", 2, "branch-1")
    assert update.terms_digest == digest
    assert update.weights.shape == (5, 3)
    assert np.abs(update.weights).max() > 0


def test_refusal_passes_through_untouched() -> None:
    """The node service's signed no is the reply; nothing is trained or signed."""
    service = Service(b"refused")
    assert make_round(service)(terms_payload()[1]) == b"refused"
    assert service.updates == []


@pytest.mark.parametrize("fault", ["permit of another key", "permit for fewer people", "no bags"])
def test_work_that_does_not_hold_together_trains_nothing(tmp_path: Path, fault: str) -> None:
    """Without the node's own permit for all of the people, no update comes to be."""
    work = hand_over(
        tmp_path,
        permitted=PEOPLE - 1 if fault == "permit for fewer people" else PEOPLE,
        key=SigningKey.generate("other") if fault == "permit of another key" else NODE,
    )
    if fault == "no bags":
        work = Work(permit=work.permit, bags=b"\x00")
    service = Service(work)
    with pytest.raises(UndertoneError):
        make_round(service)(terms_payload()[1])
    assert service.updates == []


def test_other_kinds_go_to_the_service_and_unknown_ones_nowhere() -> None:
    """Enrolment and releases are the service's; what we do not know is answered with nothing."""
    answer = make_round(Service(b""))
    run = make_run(make_plan())
    _, enrolment = announce_enrolment(
        run, np.zeros((5, 3), np.float32), key=COORDINATOR, now=time.time()
    )
    assert answer(enrolment).startswith(b"enrolled")
    assert answer(seal("release", {"release": 1}, COORDINATOR)).startswith(b"loaded")
    assert answer(seal("gossip", {}, COORDINATOR)) == answer(b"\xff garbage") == b""


def test_deadline_is_read_from_the_plan_and_bounded() -> None:
    """Every payload has a deadline, even one that is no envelope or asks for forever."""
    assert deadline_of(terms_payload()[1]) == 1.0
    for wrong in (b"", b"[]", b"{", b'{"body": 3}', b'{"body": null}'):
        assert deadline_of(wrong) == 2.0
    for asked, given in ((1e300, 600.0), (-5, 0.05)):
        body = {"body": {"terms": {"plan": {"deadline_s": asked}}}}
        assert deadline_of(json.dumps(body).encode()) == given


def test_bags_of_another_shape_are_rejected() -> None:
    """Bytes that are not the three arrays raise an error of ours."""
    missing = safetensors.numpy.save({"features": np.zeros((1, 5), np.float32)})
    for data in (b"", base64.b64encode(b"x"), missing):
        with pytest.raises(TrainingInvalid):
            bags_from_bytes(data)
