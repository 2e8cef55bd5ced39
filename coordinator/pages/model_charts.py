"""What is drawn of a release: gaps between groups, calibration, and what attacks could reach.

Gaps are those of its card. The reliability diagram is computed anew on the evaluation set that the
settings name, which is public or consented. What attacks could reach is the bound of the card's
epsilon and delta: mathematics, and no attack that was run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.portal.charts import Chart, axis, diagonal, limit_line
from audit.portal.listing import Listing, number, plain
from models.calibration import Reliability, reliability
from models.card import GAP, Card, Metric
from models.errors import EvaluationInvalid
from models.evaluation_set import EvaluationSet
from models.figures import judge
from models.release import Release
from policies.budget import found_at_most
from policies.vocabulary import ReleaseId

_SHARE = {"domain": [0, 1]}
_SURE = axis("sure", "How sure it says it is", scale=_SHARE)
_RIGHT = axis("right", "How often it is right", scale=_SHARE)
_ALARMS = axis("alarms", "False alarms, as a share of those who took no part", scale=_SHARE)
_FOUND = axis("found", "Found at most", scale=_SHARE)
_TABLED = (0.001, 0.01, 0.1, 0.5)
_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A release's reliability on a set, and the set's name; empty where it cannot be judged."""

    bins: tuple[Reliability, ...] = ()
    on: str = ""


def measure(release: Release, judges: EvaluationSet | None) -> Measured:
    """Return the reliability of a release on the evaluation set, if there is one that fits."""
    if judges is None or release.weights is None:
        return Measured()
    try:
        judged, probabilities = judge(release, judges)
    except EvaluationInvalid:
        return Measured()
    return Measured(bins=reliability(probabilities, judged.truth), on=judges.name)


def gaps_of(card: Card) -> list[Metric]:
    """Return the card's gaps between groups."""
    return [metric for metric in card.metrics if metric.name.startswith(GAP)]


def fairness_chart(release: ReleaseId, card: Card, limit: float | None) -> Chart | None:
    """Return the gaps as bars against the organisation's limit; None where none is stated."""
    gaps = gaps_of(card)
    if not gaps:
        return None
    worst = max(gaps, key=lambda metric: metric.value)
    told = "no limit is set" if limit is None else f"the limit is {limit:g}"
    shown = "" if limit is None else "; the dashed line is the limit for error and abstention"
    return Chart(
        path=f"/models/{release}/fairness.svg",
        alt=f"Bars of {len(gaps)} gaps between groups. The widest: {worst.name}, "
        f"{worst.value:.3f}; {told}.",
        caption=f"How far apart groups of people are served; 0 is alike{shown}",
        rows=[{"gap": m.value, "what": m.name.removeprefix(f"{GAP} ")} for m in gaps],
        encoding={
            "x": axis("gap", "Gap between the groups served best and worst", scale={"zero": True}),
            "y": axis("what", "", "nominal", axis={"labelLimit": 200}),
        },
        behind=() if limit is None else (limit_line(limit),),
    )


def calibration_chart(release: ReleaseId, found: Measured) -> Chart | None:
    """Return the reliability diagram; None where nothing was measured."""
    if not found.bins:
        return None
    widest = max(found.bins, key=lambda one: abs(one.confidence - one.accuracy))
    return Chart(
        path=f"/models/{release}/calibration.svg",
        alt=f"A line of how often it is right by how sure it says it is, on {found.on}. The "
        f"farthest from the diagonal: {widest.confidence:.2f} sure, {widest.accuracy:.2f} right.",
        caption=f"How sure it says it is against how often it is right, on {found.on}; on the "
        "dashed line both are the same, below it the model is too sure",
        rows=[{"sure": one.confidence, "right": one.accuracy} for one in found.bins],
        encoding={"x": _SURE, "y": _RIGHT},
        mark="line",
        behind=(diagonal(_SURE, _RIGHT),),
    )


def calibration_table(found: Measured) -> Listing:
    """Return the bins of the diagram."""
    return Listing(
        name="reliability",
        caption=f"Texts of {found.on or 'the evaluation set'} by how sure the model says it is",
        columns=("How sure", "How often right", "Texts"),
        rows=[
            (
                plain(f"{one.confidence:.3f}"),
                number(one.accuracy, f"{one.accuracy:.3f}"),
                number(one.texts),
            )
            for one in found.bins
        ],
        empty="Not drawn: the coordinator's setting `evaluation_set` names no set that fits this "
        "release. `python -m models.evaluation_set` makes one of public texts.",
    )


def attack_chart(release: ReleaseId, card: Card) -> Chart | None:
    """Return what any attack could reach at most by the card's bound; None without one."""
    if card.epsilon is None or card.delta is None:
        return None
    most = found_at_most(card.epsilon, card.delta, false_alarms=0.01)
    return Chart(
        path=f"/models/{release}/attacks.svg",
        alt=f"A curve of the most members that any attack could find, by its false alarms. At 1 "
        f"false alarm in 100 it finds at most {100 * most:.1f} of 100; guessing finds 1.",
        caption="The most that any attack on this model could find out about who took part: a "
        "bound by the card's ε and δ, and no measurement; on the dashed line it only guesses",
        rows=[
            {"alarms": at, "found": found_at_most(card.epsilon, card.delta, false_alarms=at)}
            for at in (step / _STEPS for step in range(_STEPS + 1))
        ],
        encoding={"x": _ALARMS, "y": _FOUND},
        mark="line",
        points=False,
        behind=(diagonal(_ALARMS, _FOUND),),
    )


def attack_table(card: Card, *, shares: Sequence[float] = _TABLED) -> Listing:
    """Return the bound at some shares of false alarms."""
    epsilon, delta = card.epsilon, card.delta
    rows = []
    if epsilon is not None and delta is not None:
        for share in shares:
            most = 100 * found_at_most(epsilon, delta, false_alarms=share)
            rows.append((plain(f"{100 * share:g}"), number(most, f"{most:.1f}")))
    return Listing(
        name="attacks",
        caption="What any attack could find at most",
        columns=("False alarms, of 100", "Found at most, of 100 who took part"),
        rows=rows,
        empty="No customer's data went into this release, so there is nobody to be found in it.",
    )
