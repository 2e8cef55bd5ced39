"""A plan names what it trains: a hidden head goes the whole way, another part is refused."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from audit.signing import seal, unseal
from client_node.errors import RoundRefusal, RoundRefused
from coordinator.errors import PlanRejected
from coordinator.plan import complete, preview
from coordinator.release import trained_release
from coordinator.replies import Rejection, check_replies
from models.accounting import plan_curve
from models.features import FEATURES
from models.heads import HiddenHead, first_weights, plan_shape
from models.release import release_from_dict, release_to_dict
from models.update import weights_digest
from policies.canonical import digest
from policies.errors import PolicyInvalid
from policies.parts import LARGEST_WIDTH, Part
from policies.terms import plan_from_dict, plan_to_dict, terms_to_dict
from policies.vocabulary import Modality
from tests.client_node.conftest import World
from tests.client_node.stand_ins import NODE
from tests.client_node.test_evaluation import EVALUATION, enrolled
from tests.promises.town import round_of, says

HIDDEN: dict[str, Any] = {"part": Part.HIDDEN, "width": 4}


@pytest.fixture
def hidden(make_world: Any) -> World:
    """Return a world whose plan trains a head with a hidden layer, and measures it."""
    world: World = make_world(
        plan_changes={**HIDDEN, "evaluation": EVALUATION, "epsilon": 6.0},
    )
    return world


FUSION: dict[str, Any] = {
    "part": Part.FUSION,
    "width": 4,
    "features": FEATURES + 7,
    "modalities": ((Modality.TEXT, FEATURES), (Modality.VOICE, 7)),
}


def draft(world: World, **changed: Any) -> dict[str, Any]:
    """Return the plan's fields without its noise, as an operator writes them."""
    value = plan_to_dict(world.plan())
    del value["mechanism"]["noise_multiplier"]
    return value | changed


def test_hidden_head_is_trained_measured_released_and_read(hidden: World) -> None:
    """From a plan file's fields over enrolment, round, evaluation and release to a reading."""
    node = enrolled(hidden, "all", "anna", "ben")
    ask = round_of(hidden, node)
    sealed = ask(hidden.ask_round())
    terms = hidden.terms()
    checked = check_replies(
        {NODE: sealed},
        cohort={NODE: hidden.node_key.verify_key},
        terms=terms,
        terms_digest=digest(terms_to_dict(terms)),
    )
    assert not checked.rejected
    made = checked.updates[NODE]
    assert made.shape == plan_shape(hidden.plan()) == (385 * 4 + 5 * len(terms.plan.labels), 1)
    assert not np.array_equal(made, first_weights(hidden.plan()))
    unseal("table", ask(hidden.ask_evaluation()), hidden.node_key.verify_key)

    found = preview(draft(hidden))
    release = trained_release(terms.run, found, made, rounds=1, abstain_below=0.0)
    assert isinstance(release.head, HiddenHead)
    log = hidden.coordinator_log()
    node.releases.load(hidden.publish(log, release))
    current = node.releases.current
    assert current is not None
    assert current.release.width == hidden.plan().width
    answer = says(hidden.api(node), "anna")
    assert answer["reading"]["release"] == current.release.release_id


def test_fusion_is_trained_measured_released_and_read_where_only_texts_are(
    make_world: Any,
) -> None:
    """From plan to reading with a mask: the voice's layer leaves moved by noise, and unread."""
    world: World = make_world(plan_changes={**FUSION, "evaluation": EVALUATION, "epsilon": 6.0})
    node = enrolled(world, "all", "anna", "ben")
    ask = round_of(world, node)
    terms, sealed = world.terms(), ask(world.ask_round())
    checked = check_replies(
        {NODE: sealed},
        cohort={NODE: world.node_key.verify_key},
        terms=terms,
        terms_digest=digest(terms_to_dict(terms)),
    )
    made = checked.updates[NODE]
    assert made.shape == plan_shape(world.plan()) == (392 * 4 + 5 * len(terms.plan.labels), 1)
    voice = slice(385 * 4, 392 * 4)
    assert not np.array_equal(made[voice], first_weights(world.plan())[voice])
    unseal("table", ask(world.ask_evaluation()), world.node_key.verify_key)

    release = trained_release(terms.run, preview(draft(world)), made, rounds=1, abstain_below=0.0)
    assert release_from_dict(release_to_dict(release)).modalities == FUSION["modalities"]
    node.releases.load(world.publish(world.coordinator_log(), release))
    answer = says(world.api(node), "anna")
    current = node.releases.current
    assert current is not None
    assert answer["reading"]["release"] == current.release.release_id
    head = current.release.head
    assert head is not None
    assert head.features == FEATURES


def test_fusion_without_a_text_of_this_encoder_is_refused(make_world: Any) -> None:
    """A node that keeps texts alone takes no part in what would read none of them."""
    voice_and_face = ((Modality.VOICE, FEATURES), (Modality.FACE, 7))
    world: World = make_world(plan_changes={**FUSION, "modalities": voice_and_face})
    with pytest.raises(RoundRefused) as caught:
        enrolled(world, "none", "anna")
    assert caught.value.reason is RoundRefusal.MODEL


def test_hidden_head_costs_what_a_linear_one_costs(hidden: World) -> None:
    """The part changes no step of the mechanism, so neither its curve nor its noise."""
    linear = draft(hidden)
    del linear["part"], linear["width"]
    found, plain = complete(draft(hidden)), complete(linear)
    assert found.mechanism == plain.mechanism
    assert plan_curve(found) == plan_curve(plain)


def test_update_of_a_linear_head_is_no_answer_to_a_hidden_plan(hidden: World) -> None:
    """The centre holds every reply to the exact shape of the plan's own part."""
    node = enrolled(hidden, "shape", "anna")
    sealed = round_of(hidden, node)(hidden.ask_round())
    hidden.plan_changes.clear()
    terms = hidden.terms(
        plan=hidden.plan(), weights_digest=weights_digest(first_weights(hidden.plan()))
    )
    body = unseal("update", sealed, hidden.node_key.verify_key)
    checked = check_replies(
        {NODE: sealed},
        cohort={NODE: hidden.node_key.verify_key},
        terms=terms,
        terms_digest=body["terms_digest"],
    )
    assert checked.rejected == {NODE: Rejection.SHAPE}


def test_weights_of_another_part_are_refused_before_anything_is_spent(hidden: World) -> None:
    """A hidden plan with a linear head's weights opens nothing and costs nothing."""
    node = enrolled(hidden, "wrong", "anna")
    spent = len(node.ledger.entries())
    envelope = hidden.ask_round()
    body = unseal("terms", envelope, hidden.coordinator.verify_key)
    body["weights"] = base64.b64encode(bytes(4 * 385 * 3)).decode()
    with pytest.raises(RoundRefused) as caught:
        node.training.take_part(seal("terms", body, hidden.coordinator))
    assert caught.value.reason is RoundRefusal.MODEL
    assert len(node.ledger.entries()) == spent


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"part": "adapter"}, "a plan's part is 'linear' or 'hidden' or 'fusion', got 'adapter'"),
        ({"part": "fusion"}, "out of range in modalities"),
        ({"modalities": [["text", 385]]}, "out of range in modalities"),
        ({"part": "fusion", "modalities": [["text", 385]]}, "out of range in modalities"),
        ({"part": "fusion", "modalities": [["text", 380], ["text", 5]]}, "modalities"),
        ({"part": "fusion", "modalities": [["text", 385], ["voice", 7]]}, "modalities"),
        ({"part": "fusion", "modalities": [["text", 385.0], ["voice", 0]]}, "modalities"),
        ({"part": "fusion", "modalities": [["smell", 384], ["voice", 1]]}, "smell"),
        ({"part": "fusion", "modalities": 3}, "not a plan"),
        ({"part": ["hidden"]}, "a plan's part is"),
        ({"part": "hidden", "width": 0}, "out of range in width"),
        ({"part": "hidden", "width": LARGEST_WIDTH + 1}, "out of range in width"),
        ({"part": "hidden", "width": 2.5}, "out of range in width"),
        ({"part": "linear", "width": 4}, "out of range in width"),
    ],
)
def test_part_that_no_round_trains_is_refused_by_name(
    hidden: World, changed: dict[str, Any], said: str
) -> None:
    """What, what was expected and what was got, in one line; at the centre and in terms."""
    with pytest.raises(PlanRejected, match=said):
        complete(draft(hidden) | changed)
    with pytest.raises(PolicyInvalid, match=said):
        plan_from_dict(plan_to_dict(hidden.plan()) | changed)


def test_plan_of_a_linear_head_keeps_its_digest(world: World) -> None:
    """The default part goes without saying, so that plans already allowed stay allowed."""
    assert not {"part", "width"} & set(plan_to_dict(world.plan()))
    assert plan_from_dict(plan_to_dict(world.plan())) == world.plan()
