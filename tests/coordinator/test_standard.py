"""What a release must meet: made to fail on purpose, refused in one line, and on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.events import EventKind
from coordinator.errors import ReleaseRejected, ServiceUnavailable, SettingsInvalid
from coordinator.release import first_release
from coordinator.standard import Standard, read_standard
from models.card import CALIBRATION_ERROR, Metric
from models.evaluation_set import EvaluationSet, set_bytes
from models.fairness import Groups
from models.figures import figures_on
from models.release import Release, release_from_dict
from policies.vocabulary import Digest
from tests.coordinator.fleet import LABELS, make_plan
from tests.coordinator.test_service import Centre, draft, open_centre

NAMES = tuple(name for name, _ in LABELS)
PEOPLE, TEXTS_EACH = 200, 4


def judges(*, misread: float = 0.0, name: str = "made up") -> EvaluationSet:
    """Return a set in which a share of the second group's texts is labelled otherwise."""
    random = np.random.default_rng(5)
    owners = np.repeat(np.arange(PEOPLE), TEXTS_EACH)
    sides = owners % 2
    truth = random.integers(0, 3, len(owners))
    said = np.where((random.random(len(owners)) < misread) & (sides == 1), (truth + 1) % 3, truth)
    features = np.zeros((len(owners), 5), np.float32)
    features[np.arange(len(owners)), said] = 1
    return EvaluationSet(
        name=name,
        digest=Digest("d" * 64),
        features_digest=make_plan().encoder_digest,
        labels=NAMES,
        features=features,
        truth=truth,
        owners=owners,
        groups=(Groups(attribute="side", names=("left", "right"), places=sides),),
    )


def reads(*, sharpness: float = 20.0) -> Release:
    """Return a release that says the label of the feature that is there."""
    weights = np.zeros((5, 3), np.float32)
    weights[:3] = np.eye(3) * sharpness
    return replace(first_release(make_plan()), weights=weights, abstain_below=0.4)


def metrics(release: Release) -> dict[str, float]:
    """Return the figures of a card."""
    return {metric.name: metric.value for metric in release.card.metrics}


def test_fair_release_passes_with_its_figures_on_the_card() -> None:
    """Within the limits the card states what was measured, on which set."""
    held = Standard(most_calibration_error=0.05, most_gap=0.05, evaluation=judges()).hold(reads())
    assert metrics(held)["gap in error by side"] == 0.0
    assert metrics(held)[CALIBRATION_ERROR] < 0.01
    assert {m.measured_by for m in held.card.metrics} == {
        "the coordinator, on made up (dddddddddddd)"
    }


def test_release_that_misreads_one_group_is_refused() -> None:
    """A gap made on purpose is refused in one line that names figure, limit and set."""
    with pytest.raises(
        ReleaseRejected, match=r"gap in error by side is 0\.\d+, above.* 0\.1 "
    ) as no:
        Standard(most_gap=0.1, evaluation=judges(misread=0.4)).hold(reads())
    assert "\n" not in str(no.value)
    assert "made up" in str(no.value)
    assert Standard(most_gap=0.9, evaluation=judges(misread=0.4)).hold(reads())


def test_release_that_answers_one_group_less_is_refused() -> None:
    """Abstaining on one group only is a gap as well, even where no answer is wrong."""
    uneven = judges()
    features = uneven.features.copy()
    features[uneven.groups[0].places == 1] *= 0.01  # too faint to answer
    with pytest.raises(ReleaseRejected, match=r"gap in abstention by side is 1\.000"):
        Standard(most_gap=0.1, evaluation=replace(uneven, features=features)).hold(reads())


def test_release_that_is_too_sure_is_refused() -> None:
    """Confidence far above accuracy exceeds the limit on calibration."""
    with pytest.raises(ReleaseRejected, match=r"calibration error is 0\.2"):
        Standard(most_calibration_error=0.05, evaluation=judges(misread=0.4)).hold(reads())


def test_stated_figure_above_the_limit_is_refused_without_any_set() -> None:
    """What a card states of itself is held against the limits too."""
    card = replace(
        reads().card,
        metrics=(Metric(name=CALIBRATION_ERROR, value=0.2, measured_by="the makers"),),
    )
    with pytest.raises(ReleaseRejected, match="measured by the makers"):
        Standard(most_calibration_error=0.05).hold(replace(reads(), card=card))


@pytest.mark.parametrize("limit", [Standard(most_gap=0.1), Standard(most_calibration_error=0.1)])
def test_release_that_states_nothing_is_refused_where_there_is_a_limit(limit: Standard) -> None:
    """A limit that nothing was measured against is not met."""
    with pytest.raises(ReleaseRejected, match="states no"):
        limit.hold(reads())


def test_release_that_says_nothing_passes() -> None:
    """Without weights there is no answer that could be unfair, and no limit means no check."""
    silent = first_release(make_plan())
    assert Standard(most_gap=0.0, most_calibration_error=0.0).hold(silent) is silent
    assert Standard().hold(reads()).card.metrics == ()


@pytest.mark.parametrize(
    "wrong", [{"labels": ("a", "b", "c")}, {"features_digest": Digest("f" * 64)}]
)
def test_set_for_another_model_judges_nothing(wrong: dict[str, Any]) -> None:
    """Other labels or another encoder's features make no figures."""
    with pytest.raises(ReleaseRejected, match="cannot be judged"):
        Standard(evaluation=replace(judges(), **wrong)).hold(reads())


def test_labels_in_another_order_are_the_same_labels() -> None:
    """Places of labels are translated by name."""
    turned = replace(judges(), labels=NAMES[::-1], truth=2 - judges().truth)
    assert figures_on(reads(), turned) == figures_on(reads(), judges())


def run_over(centre: Centre) -> str:
    """Hold a run and return its name."""
    plan = centre.client.plan(draft())
    centre.enrol_all()
    run = str(centre.client.start_run(plan["digest"], approved_by="jo")["run"])
    centre.wait(run)
    return run


@contextmanager
def opened(folder: Path, limit: float) -> Iterator[Centre]:
    """Start a coordinator with a set and a limit, and close it whatever happens."""
    path = folder / "judges.set"
    path.write_bytes(set_bytes(judges()))
    centre = open_centre(folder, evaluation_set=path, most_calibration_error=limit)
    try:
        yield centre
    finally:
        centre.service.close()


def test_run_below_the_standard_is_not_published_and_that_is_on_record(tmp_path: Path) -> None:
    """The command gets the reason, nothing is published or signed, and the log has the refusal."""
    with opened(tmp_path, 0.0) as centre:
        run, log = run_over(centre), centre.service.log
        before = log.size
        with pytest.raises(ServiceUnavailable, match="above the limit of 0"):
            centre.client.publish_release(run=run, approved_by="jo")
        kinds = [log.entry(index).event.kind for index in range(before, log.size)]
        refused = [EventKind.STAFF_ACTED, EventKind.DECISION, EventKind.RELEASE_REFUSED]
        assert kinds[:3] == refused
        assert set(kinds[3:]) <= {EventKind.INPUT_REFUSED}  # the answer 4xx, counted
        assert [release["release"] for release in centre.client.releases()] == ["release-0"]


def test_run_within_the_standard_is_published_with_its_figures(tmp_path: Path) -> None:
    """The published card, which nodes verify, states what was measured."""
    with opened(tmp_path, 1.0) as centre:
        published = centre.client.publish_release(run=run_over(centre), approved_by="jo")
        release = release_from_dict(centre.client.release(published["release"])["body"])
    assert "gap in error by side" in metrics(release)


def test_set_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """A missing, cut or foreign file is one line, before anything opens."""
    good = set_bytes(judges())
    with opened(tmp_path, 1.0) as centre:
        settings = centre.settings
    for data in (None, b"", good[:100], b"\xff" * 64, good.replace(b'"truth"', b'"trust"')):
        path = tmp_path / "other.set"
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(SettingsInvalid, match="evaluation_set") as no:
            read_standard(settings.model_copy(update={"evaluation_set": path}))
        assert "\n" not in str(no.value)
