"""One turn with the published encoder and the real redactor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_node.service import open_node
from models.encoder import Encoder
from policies.vocabulary import Purpose


@pytest.mark.slow
def test_turn_with_the_real_encoder_is_read_and_explained(world: Any) -> None:
    """Redaction, encoder, release and explanation work together on one turn."""
    world.trust.put(world.standing("c", Purpose.SERVICE, Purpose.TRAINING))
    node = open_node(world.settings(), replace(world.parts(), encoder=Encoder.load()))
    try:
        node.releases.load(
            world.publish(world.coordinator_log(), world.release(1, weights=world.angry_weights()))
        )
        said = {
            "customer": "c",
            "conversation": "x",
            "text": "I am Ada Byron. Awful!",
            "explain": True,
        }
        answer = world.api(node).post("/v1/turns", json=said).json()
    finally:
        node.close()
    assert answer["answer"] == "reading"
    assert answer["why"]
    assert answer["sealed_for"] == ["service", "training"]
    assert "Byron" not in str(answer)
