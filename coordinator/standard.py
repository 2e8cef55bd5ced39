"""What a release must meet to be published: the organisation's limits, held against its card.

    1. measure  on the evaluation set in the settings, if there is one: public, or consented
    2. state    what was found goes onto the card, beside what it stated already
    3. hold     against the limits; one that is exceeded, or not stated at all, refuses

A release that says nothing (no weights) cannot treat anybody unlike another, and passes. No
figure here is of people's data at the nodes: those are charged where they are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from coordinator.errors import ReleaseRejected, SettingsInvalid
from coordinator.settings import CoordinatorSettings
from models.card import CALIBRATION_ERROR, GAP, Metric
from models.errors import EvaluationInvalid
from models.evaluation_set import EvaluationSet, load_set
from models.figures import figures_on
from models.release import Release

GAPS = (f"{GAP} error by ", f"{GAP} abstention by ")
"""The gaps that a limit holds for; that of macro-F1 is stated only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """The limits, each None where the organisation set none; figures in [0, 1]."""

    most_calibration_error: float | None = None
    most_gap: float | None = None
    evaluation: EvaluationSet | None = None

    def hold(self, release: Release) -> Release:
        """Return the release with its figures on the card, if it meets the limits.

        Raises:
            ReleaseRejected: A figure exceeds its limit or is not stated, or the set does not fit.
        """
        if release.weights is None:
            return release
        release = self._measured(release)  # 1, 2
        metrics = release.card.metrics
        calibration = [m for m in metrics if m.name == CALIBRATION_ERROR]
        _check("calibration error", calibration, self.most_calibration_error)  # 3
        _check("gap", [m for m in metrics if m.name.startswith(GAPS)], self.most_gap)
        return release

    def _measured(self, release: Release) -> Release:
        if self.evaluation is None:
            return release
        try:
            found = figures_on(release, self.evaluation)
        except EvaluationInvalid as error:
            raise ReleaseRejected(f"the release cannot be judged: {error}") from error
        card = replace(release.card, metrics=(*release.card.metrics, *found))
        return replace(release, card=card)


def read_standard(settings: CoordinatorSettings) -> Standard:
    """Return what a release must meet, after the settings.

    Raises:
        SettingsInvalid: The evaluation set cannot be read, or is none.
    """
    path = settings.evaluation_set
    try:
        found = None if path is None else load_set(path)
    except EvaluationInvalid as error:
        raise SettingsInvalid(f"setting evaluation_set: {error}") from error
    return Standard(
        most_calibration_error=settings.most_calibration_error,
        most_gap=settings.most_gap,
        evaluation=found,
    )


def _check(what: str, stated: Sequence[Metric], limit: float | None) -> None:
    """Return if every such figure is within the limit, and there is one.

    Raises:
        ReleaseRejected: One is above it, or none is stated.
    """
    if limit is None:
        return
    if not stated:
        raise ReleaseRejected(
            f"the card states no {what}, and the limit is {limit:g}: name an evaluation_set"
        )
    worst = max(stated, key=lambda metric: metric.value)
    if worst.value > limit:
        raise ReleaseRejected(
            f"{worst.name} is {worst.value:.3f}, above the limit of {limit:g} "
            f"(measured by {worst.measured_by}): train again, or abstain more"
        )
