"""Where a run begins: at the shipped head or the release in force, and nowhere unpaid for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coordinator.permission import is_protected
from coordinator.registry import Published
from coordinator.release import first_release, starting_weights
from coordinator.rounds import hold_run
from models.features import FEATURES, FEATURES_DIGEST
from models.pretrained import public_head
from models.release import Release, release_to_dict
from policies.canonical import digest
from policies.vocabulary import Digest, Emotion, RunId
from tests.coordinator.fleet import LABELS, Play, make_plan

SENTIMENT: dict[str, Any] = {"features": FEATURES, "encoder_digest": FEATURES_DIGEST}


def published(release: Release) -> Published:
    """Return a release as the registry has it."""
    body = release_to_dict(release)
    return Published(
        release=release.release_id,
        digest=digest(body),
        run=release.run,
        approved_by="jo",
        labels=tuple(name for name, _ in release.labels),
        body=body,
        bundle=b"",
        published_at=0.0,
    )


def test_first_release_is_the_shipped_head_where_one_fits() -> None:
    """A plan over a shipped set begins with its head; labels in another order, other columns."""
    first = first_release(make_plan(**SENTIMENT))
    turned = first_release(make_plan(labels=LABELS[::-1], **SENTIMENT))
    assert first.weights is not None
    assert turned.weights is not None
    assert first.weights.shape == (FEATURES, 3)
    assert np.array_equal(first.weights, turned.weights[:, ::-1])
    assert 0 < first.abstain_below < 1
    assert first.card.epsilon is None


@pytest.mark.parametrize(
    "other",
    [
        {"encoder_digest": Digest("e" * 64)},
        {"labels": (("bad", Emotion.ANGER), ("neutral", Emotion.NEUTRAL), ("good", Emotion.JOY))},
        {"labels": LABELS[:2]},
    ],
)
def test_first_release_abstains_where_no_shipped_head_fits(other: dict[str, Any]) -> None:
    """Other features or other labels: nothing is known, so nothing is said."""
    first = first_release(make_plan(**(SENTIMENT | other)))
    assert first.weights is None
    assert first.abstain_below == 1


def test_only_the_shipped_weights_need_no_budget() -> None:
    """One weight moved by the least a number can, and somebody may have paid for it: no."""
    plan = make_plan(**SENTIMENT)
    first = first_release(plan)
    assert is_protected(first, plan)
    assert first.weights is not None
    moved = first.weights.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], np.float32(np.inf))
    assert not is_protected(replace(first, weights=moved), plan)
    assert not is_protected(replace(first, run=RunId("run-1")), plan)
    assert not is_protected(replace(first, encoder_digest=Digest("e" * 64)), plan)


def test_run_begins_at_the_release_in_force_or_at_zero() -> None:
    """What was published is begun from; other labels or features begin from nothing."""
    plan = make_plan(**SENTIMENT)
    first = first_release(plan)
    shipped = public_head(tuple(name for name, _ in LABELS))
    assert shipped is not None
    assert np.array_equal(starting_weights(published(first), plan), shipped.weights)
    for other in (make_plan(), make_plan(labels=LABELS[::-1], **SENTIMENT)):
        begun = starting_weights(published(first), other)
        assert begun.shape == (other.features, 3)
        assert not begun.any()
    abstaining = published(first_release(make_plan()))
    assert not starting_weights(abstaining, make_plan()).any()


def test_first_terms_carry_the_weights_that_the_run_begins_at() -> None:
    """Nodes train from there: the first aggregate is the start and their steps."""
    play = Play()
    begun = play.begin()
    start = np.full((begun.plan.features, len(begun.plan.labels)), 7, np.float32)
    hold_run(play.centre(), replace(begun, start=start), play.keys)
    first = play.journal.rounds(begun.run, shape=start.shape)[0].weights
    assert first is not None
    assert np.abs(first - 7).max() < 5
