"""Claims about confidence: its gap is measured, mended by one number, and used to abstain."""

from __future__ import annotations

import numpy as np
import pytest

from models.calibration import (
    best_temperature,
    error_at_coverage,
    expected_calibration_error,
    fall_at_coverage,
    promised_fall,
    reliability,
    risk_coverage,
    threshold_at_coverage,
)
from models.heads import softmax


def drawn(n: int = 20_000, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and a truth drawn from the softmax of the logits without the sharpness."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(n, 4)) * 1.5
    truth = np.array([random.choice(4, p=row) for row in softmax(logits)])
    return logits * sharpness, truth


def test_honest_confidence_has_next_to_no_gap() -> None:
    """Where the truth is drawn from the probabilities, confidence and accuracy agree."""
    logits, truth = drawn()
    assert expected_calibration_error(softmax(logits), truth) < 0.02


@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_temperature_mends_what_is_too_sure_or_too_shy(sharpness: float) -> None:
    """The temperature found is the one the logits were sharpened by, and closes the gap."""
    logits, truth = drawn(sharpness=sharpness)
    assert expected_calibration_error(softmax(logits), truth) > 0.1
    found = best_temperature(logits, truth)
    assert found == pytest.approx(sharpness, rel=0.1)
    assert expected_calibration_error(softmax(logits / found), truth) < 0.02


def test_gap_is_what_a_reader_computes_by_hand() -> None:
    """Two bins: sure and always right, half sure and always wrong."""
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])
    assert expected_calibration_error(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0.25)


def test_surest_texts_err_least() -> None:
    """Error over coverage ends at the plain error; answering fewer errs less."""
    logits, truth = drawn()
    probabilities = softmax(logits)
    coverage, error = risk_coverage(probabilities, truth)
    assert coverage[-1] == 1
    assert error[-1] == pytest.approx((probabilities.argmax(1) != truth).mean())
    assert error_at_coverage(probabilities, truth, 0.8) < 0.9 * error[-1]
    assert error_at_coverage(probabilities, truth, 1.0) == error[-1]


def test_threshold_leaves_out_the_share_that_was_asked() -> None:
    """At 80 % coverage a fifth of the texts has less confidence than the threshold."""
    logits, _ = drawn()
    probabilities = softmax(logits)
    below = probabilities.max(axis=1) < threshold_at_coverage(probabilities, 0.8)
    assert below.mean() == pytest.approx(0.2, abs=0.001)


def test_fall_is_what_a_reader_computes_by_hand() -> None:
    """Two of ten are wrong; the unsurest two are left out, of which one is: 2/10 to 1/8."""
    wrong = np.array([False] * 7 + [True, True, False])
    sureness = np.linspace(1, 0.5, 10)
    assert fall_at_coverage(wrong, sureness, 0.8) == pytest.approx(1 - (1 / 8) / (2 / 10))
    assert fall_at_coverage(wrong, -sureness, 0.8) == pytest.approx(1 - (2 / 8) / (2 / 10))
    assert fall_at_coverage(np.zeros(10, bool), sureness, 0.8) == 0


def test_honest_probabilities_keep_what_they_promise() -> None:
    """Where the truth is drawn from the probabilities, the fall is the promised one; else not."""
    logits, truth = drawn()
    honest, brazen = softmax(logits), softmax(logits * 3)
    wrong = honest.argmax(axis=1) != truth
    found = fall_at_coverage(wrong, honest.max(axis=1), 0.8)
    assert found == pytest.approx(promised_fall(honest, 0.8), abs=0.03)
    assert promised_fall(brazen, 0.8) > found + 0.1
    assert promised_fall(np.eye(4), 0.8) == 0


def test_diagram_has_each_bin_that_holds_texts() -> None:
    """Confidence, share right and count of each bin; empty bins are left out."""
    probabilities = np.array([[1.0, 0.0], [0.9, 0.1], [0.55, 0.45], [0.55, 0.45]])
    found = reliability(probabilities, np.array([0, 0, 0, 1]), bins=5)
    assert [(one.texts, one.accuracy) for one in found] == [(2, 0.5), (2, 1.0)]
    assert [one.confidence for one in found] == pytest.approx([0.55, 0.95])
