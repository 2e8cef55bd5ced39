"""Claims about releases and their cards."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models.card import Card, Metric, card_from_dict, card_markdown, card_to_dict
from models.errors import ReleaseInvalid, UpdateInvalid, WeightsInvalid
from models.release import Release, abstaining_release, release_from_dict, release_to_dict
from models.update import weights_to_dict
from policies.canonical import canonical
from policies.vocabulary import ReleaseId, RunId
from tests.models.fakes import DIGEST, LABELS

CARD = Card(
    data="made-up turns",
    unit="a person at a node",
    epsilon=2.0,
    delta=1e-5,
    plan_digest=DIGEST,
    rounds=10,
    intended_use="Reading customers' turns at the company that trained it.",
    limits=("Not for judging employees.", "English only."),
    metrics=(Metric(name="macro-F1", value=0.7123, measured_by="the demo's harness"),),
    epsilon_at_nodes=((2, 2.91), (5, 4.86)),
)


def release(**changes: Any) -> Release:
    """Return a made-up release."""
    return Release(
        **{
            "release_id": ReleaseId("release-1"),
            "run": RunId("run-1"),
            "labels": LABELS,
            "weights": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3),
            "abstain_below": 0.5,
            "encoder_digest": DIGEST,
            "card": CARD,
            **changes,
        }
    )


@pytest.mark.parametrize("run", [RunId("run-1"), None])
def test_release_comes_back_whole(run: RunId | None) -> None:
    """A release survives canonical JSON, weights bit by bit."""
    once = release_to_dict(release(run=run))
    again = release_from_dict(json.loads(canonical(once)))
    assert release_to_dict(again) == once
    assert again.card == CARD


def test_abstaining_release_comes_back_whole() -> None:
    """Release 0 has no weights and no person's data, and is a release like any other."""
    zero = abstaining_release(LABELS, DIGEST)
    again = release_from_dict(json.loads(canonical(release_to_dict(zero))))
    assert again.weights is None
    assert again.card.epsilon is None


def corrupted() -> list[Any]:
    """Return releases with a field missing, added, of another type or out of range."""
    good = release_to_dict(release())
    numbers = weights_to_dict(np.ones((4, 2), dtype=np.float32))
    lacking = [{k: v for k, v in good.items() if k != name} for name in good]
    others = [good | {name: 7} for name in good if name != "abstain_below"]
    return [
        None,
        [],
        "release",
        7,
        good | {"pickle": "gASVAAAA"},
        good | {"labels": []},
        good | {"labels": [["one", "joy"]]},
        good | {"labels": [["one", "joy"], ["one", "anger"], ["two", "joy"]]},
        good | {"labels": [["one", "joy"], ["two", "hunger"], ["three", "joy"]]},
        good | {"labels": [["one", "joy"], ["two"], ["three", "joy"]]},
        good | {"weights": numbers},
        good | {"weights": good["weights"] | {"float32": "AAAA"}},
        good | {"abstain_below": float("nan")},
        good | {"abstain_below": 1.5},
        good | {"abstain_below": True},
        good | {"abstain_below": "0.5"},
        good | {"encoder_digest": "AB" * 32},
        good | {"encoder_digest": "ab" * 31},
        good | {"card": good["card"] | {"epsilon": float("inf")}},
        *lacking,
        *others,
    ]


@pytest.mark.parametrize("value", corrupted())
def test_corrupt_releases_are_refused(value: Any) -> None:
    """A field missing, unknown, of another type or range, or an unknown family is refused."""
    with pytest.raises(ReleaseInvalid):
        release_from_dict(value)


def test_release_that_is_not_finite_is_refused() -> None:
    """NaN in the weights is refused when sent."""
    with pytest.raises(WeightsInvalid, match="not finite"):
        release_to_dict(release(weights=np.full((4, 3), np.nan, dtype=np.float32)))


def test_refusals_say_what_is_wrong() -> None:
    """The message names the family that is unknown, or the columns that do not fit."""
    good = release_to_dict(release())
    with pytest.raises(ReleaseInvalid, match="hunger"):
        release_from_dict(good | {"labels": [["a", "hunger"], ["b", "joy"], ["c", "joy"]]})
    with pytest.raises(ReleaseInvalid, match=r"2 labels need weights of shape \(feature, 2\)"):
        release_from_dict(good | {"labels": [["a", "anger"], ["b", "joy"]]})


def test_card_is_readable() -> None:
    """The Markdown states the bound, its unit, k nodes, the limits and who measured."""
    text = card_markdown(CARD)
    for phrase in (
        "epsilon 2.00 at delta 1e-05",
        "a person at a node",
        "a person at 5 nodes: epsilon 4.86",
        "- Not for judging employees.",
        "| macro-F1 | 0.7123 | the demo's harness |",
    ):
        assert phrase in text


def test_card_without_data_says_so() -> None:
    """Release 0's card claims no measurement and no epsilon."""
    text = card_markdown(abstaining_release(LABELS, DIGEST).card)
    assert "without any person's data" in text
    assert "Nothing was measured." in text


@pytest.mark.parametrize("name", sorted(card_to_dict(CARD)))
@pytest.mark.parametrize("value", [object(), {"a": 1}, -1.5, [[1, 2, 3]], True])
def test_corrupt_cards_are_refused(name: str, value: Any) -> None:
    """No field of a card takes a value of another type."""
    if name in ("epsilon", "delta") and value == -1.5:
        value = float("nan")
    with pytest.raises(ReleaseInvalid):
        card_from_dict(card_to_dict(CARD) | {name: value})


def test_errors_of_releases_and_updates_are_errors_of_weights() -> None:
    """Whoever handles weights that are invalid also handles updates and releases."""
    assert issubclass(ReleaseInvalid, WeightsInvalid)
    assert issubclass(UpdateInvalid, WeightsInvalid)
