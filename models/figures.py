"""The figures of a release on an evaluation set, as its card states them.

Pure: weights that are published anyway, over features of a public or consented set. Nobody's
data at a node enters, so nothing is charged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.calibration import expected_calibration_error
from models.card import ABSTAINED, CALIBRATION_ERROR, ERROR, GAP, MACRO_F1, Metric
from models.errors import EvaluationInvalid
from models.evaluation_set import EvaluationSet
from models.fairness import FEWEST_PEOPLE, Judged, group_gaps
from models.release import Release

SHOWN = {"error": ERROR, "macro_f1": MACRO_F1, "abstained": "abstention"}
_DIGEST_SHOWN = 12


def figures_on(
    release: Release, judges: EvaluationSet, *, fewest_people: int = FEWEST_PEOPLE
) -> tuple[Metric, ...]:
    """Return calibration error, abstention, error and every gap of a release with weights.

    Error is of the texts that it answers, calibration of all.

    Raises:
        EvaluationInvalid: The set is for other features or labels, or its groups are too small.
    """
    judged, probabilities = judge(release, judges)
    by = f"the coordinator, on {judges.name} ({judges.digest[:_DIGEST_SHOWN]})"
    answered = judged.answered
    found = {
        CALIBRATION_ERROR: expected_calibration_error(probabilities, judged.truth),
        ABSTAINED: float(1 - answered.mean()),
    }
    if answered.any():
        wrong = judged.predicted[answered] != judged.truth[answered]
        found[ERROR] = float(wrong.mean())
    for groups in judges.groups:
        gaps = group_gaps(judged, groups, fewest_people=fewest_people).gaps
        found |= {f"{GAP} {SHOWN[k]} by {groups.attribute}": gap for k, gap in gaps.items()}
    return tuple(Metric(name=name, value=value, measured_by=by) for name, value in found.items())


def judge(release: Release, judges: EvaluationSet) -> tuple[Judged, npt.NDArray[np.float64]]:
    """Return what the release says of each text, and its probabilities `(text, label)`.

    Raises:
        EvaluationInvalid: It has no weights, or the set is for other features or labels.
    """
    names = tuple(name for name, _ in release.labels)
    head = release.head
    if head is None or release.encoder_digest != judges.features_digest:
        raise EvaluationInvalid(f"evaluation set {judges.name} has features of another encoder")
    if sorted(names) != sorted(judges.labels):
        raise EvaluationInvalid(
            f"evaluation set {judges.name} is for {', '.join(judges.labels)}; "
            f"the release says {', '.join(names)}"
        )
    probabilities = head.probabilities(judges.features)
    places = np.array([names.index(label) for label in judges.labels])
    judged = Judged(
        truth=places[judges.truth],
        predicted=probabilities.argmax(axis=1),
        answered=probabilities.max(axis=1) >= release.abstain_below,
        owners=judges.owners,
    )
    return judged, probabilities
