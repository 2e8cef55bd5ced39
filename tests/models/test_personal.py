"""Claims about a node's own head: no worse by its own people, bounded in reach, the same again."""

from __future__ import annotations

import numpy as np
import pytest

from models.bags import Bags
from models.evaluation import macro_f1, predict
from models.personal import personal_head
from tests.models.fakes import bags, joined, one_person


def branch(*, people: int, seed: int, turned: float) -> Bags:
    """Return people of a branch where words mean something else than elsewhere by an angle."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, 3 * people)
    points = np.array([[np.cos(turned), np.sin(turned)], [-np.cos(turned), -np.sin(turned)]])
    rows = np.hstack(
        [points[truth] + random.normal(size=(len(truth), 2)), np.ones((len(truth), 1))]
    )
    return Bags(features=rows / 2, labels=truth, owners=np.repeat(np.arange(people), 3))


GLOBAL = np.array([[4.0, -4.0], [0.0, 0.0], [0.0, 0.0]])
"""A head for branches whose words are not turned."""


def f1(weights: np.ndarray[tuple[int, ...], np.dtype[np.float32]], held: Bags) -> float:
    """Return the macro-F1 on other people of the branch."""
    return macro_f1(held.labels, predict(weights, held.features), n_labels=2)


def test_branch_that_differs_gains() -> None:
    """Where words mean something else, the local head is taken and reads new people better."""
    found = personal_head(GLOBAL, branch(people=150, seed=1, turned=1.2))
    new = branch(people=500, seed=2, turned=1.2)
    assert found.share > 0
    assert f1(found.weights, new) > f1(GLOBAL.astype(np.float32), new) + 0.1


def test_branch_of_noise_keeps_the_federations_head() -> None:
    """Where the labels mean nothing, nothing is learnt from them: whoever says less stays put."""
    held = branch(people=150, seed=1, turned=0.0)
    new = branch(people=500, seed=2, turned=0.0)
    found = personal_head(GLOBAL, held)
    assert f1(found.weights, new) > f1(GLOBAL.astype(np.float32), new) - 0.02


@pytest.mark.parametrize("people", [0, 1, 9])
def test_few_people_keep_the_federations_head(people: int) -> None:
    """Below ten people there is nothing to choose by, and the head is the federation's."""
    found = personal_head(np.zeros((6, 3)), bags(people=people))
    assert found.share == 0.0
    assert not found.weights.any()


def test_the_same_people_give_the_same_head() -> None:
    """Fitted anew from the vault it is the same: erasing somebody leaves nothing of them."""
    held = bags(people=40)
    more = joined(held, one_person(turns=5, owner=999))
    start = np.zeros((6, 3))
    kept = more.owners != 999
    again = Bags(features=more.features[kept], labels=more.labels[kept], owners=more.owners[kept])
    assert personal_head(start, held).weights.tobytes() == (
        personal_head(start, again).weights.tobytes()
    )


def test_strange_turns_do_not_break_it() -> None:
    """Turns that are not finite or of other labels are left out."""
    held = bags(people=30)
    strange = joined(held, one_person(turns=2, owner=999, value=np.nan))
    assert np.isfinite(personal_head(np.zeros((6, 3)), strange).weights).all()
