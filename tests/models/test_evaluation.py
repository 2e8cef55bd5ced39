"""Claims about how heads are measured and compared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score

from models.central import fit_central
from models.errors import EvaluationInvalid
from models.evaluation import label_table, macro_f1, predict, unweighted_recall

IntArray = npt.NDArray[np.int64]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_figures_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    """Precision, recall, F1 and their macro mean are scikit-learn's, zero where undefined."""
    truth, told = (np.array(column) for column in zip(*pairs, strict=True))
    table = label_table(truth, told, n_labels=4)
    rows = precision_recall_fscore_support(truth, told, labels=range(4), zero_division=0)
    for label, figures in enumerate(table):
        ours = (figures.precision, figures.recall, figures.f1, figures.support)
        assert ours == pytest.approx([row[label] for row in rows])
    expected = f1_score(truth, told, labels=range(4), average="macro", zero_division=0)
    assert macro_f1(truth, told, n_labels=4) == pytest.approx(expected)
    recalls = recall_score(truth, told, labels=range(4), average="macro", zero_division=0)
    assert unweighted_recall(truth, told, n_labels=4) == pytest.approx(recalls)


@pytest.mark.parametrize(
    ("truth", "told"), [([0, 1], [0]), ([0, 2], [0, 1]), ([0, 1], [0, -1]), ([[0]], [[0]])]
)
def test_figures_refuse_what_cannot_be_compared(truth: list[int], told: list[int]) -> None:
    """Columns of unequal length, and indices that are no label, are refused."""
    with pytest.raises(EvaluationInvalid):
        macro_f1(np.array(truth), np.array(told), n_labels=2)


def blobs(labels: int, *, seed: int = 0) -> tuple[npt.NDArray[np.float64], IntArray, IntArray]:
    """Return features, labels and owners of made-up people around one point for each label."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, labels, 60 * labels)
    points = random.normal(size=(labels, 5)) * 2
    rows = points[truth] + random.normal(size=(len(truth), 5))
    features = np.hstack([rows, np.ones((len(truth), 1))]) / 4
    return features, truth, random.integers(0, 50, len(truth))


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_central_fit_is_converged(labels: int) -> None:
    """At the fitted weights the penalised gradient of one of the strengths vanishes."""
    features, truth, owners = blobs(labels)
    weights = fit_central(features, truth, labels, owners=owners)
    scores = np.exp(features @ weights)
    error = scores / scores.sum(axis=1, keepdims=True)
    error[np.arange(len(truth)), truth] -= 1
    pull, slope = weights.ravel() @ weights.ravel(), -(weights * (features.T @ error)).sum()
    assert np.linalg.norm(features.T @ error + slope / pull * weights) < 0.02 * len(truth) / labels
    assert macro_f1(truth, predict(weights, features), n_labels=labels) > 0.8


def test_central_fit_refuses_a_label_without_rows() -> None:
    """A label nobody gave cannot be fitted, and is not passed over."""
    features, truth, owners = blobs(2)
    with pytest.raises(EvaluationInvalid, match="label"):
        fit_central(features, truth, 3, owners=owners)


def test_central_fit_refuses_too_few_people() -> None:
    """Strength is chosen between people, so there must be some."""
    features, truth, _ = blobs(2)
    with pytest.raises(EvaluationInvalid, match="people"):
        fit_central(features, truth, 2, owners=np.zeros(len(truth), dtype=np.int64))
