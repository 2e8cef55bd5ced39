"""Whether a head serves groups of people alike: gaps in error, F1 and abstention.

Pure functions over arrays that the caller may already see: of a public set, or of people who
consented to an evaluation. A gap is the largest figure of any group less the smallest. Groups
with few people are left out and named, since their figures say little; how large a gap comes by
lot alone is found by dealing the groups out among the people at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import EvaluationInvalid

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.float64]

FEWEST_PEOPLE = 30
DRAWS = 300
_TAIL = 2.5
FIGURES = ("error", "macro_f1", "abstained")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What a head said of each text, `(text,)` each: places of labels, answered, whose text.

    Raises:
        EvaluationInvalid: The arrays differ in length, or are empty.
    """

    truth: IntArray
    predicted: IntArray
    answered: npt.NDArray[np.bool_]
    owners: IntArray

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.truth, self.predicted, self.answered, self.owners)}
        if len(shapes) != 1 or self.truth.ndim != 1 or not self.truth.size:
            raise EvaluationInvalid(f"expected four equal columns of texts, got {sorted(shapes)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """Which group each text's person is in: places `(text,)` in `names`, -1 where not known."""

    attribute: str
    names: tuple[str, ...]
    places: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """One group: `error` and `macro_f1` are of the texts that were answered."""

    name: str
    people: int
    texts: int
    error: float
    macro_f1: float
    abstained: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The gaps of one attribute, such as age, by figure, and the groups behind them."""

    attribute: str
    groups: tuple[GroupFigures, ...]
    left_out: tuple[str, ...]
    gaps: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """How sure a gap is: its 95 % interval by resampling people, and the median gap by lot.

    The largest of many groups rises when it is drawn again, so an interval may lie above its
    gap; a gap that is not well above the one by lot says nothing.
    """

    low: float
    high: float
    by_lot: float


def group_gaps(judged: Judged, groups: Groups, *, fewest_people: int = FEWEST_PEOPLE) -> Gaps:
    """Return the gaps between the groups that have people enough.

    Raises:
        EvaluationInvalid: Fewer than two have, or the groups do not fit the texts.
    """
    kept, people = _kept(judged, groups, fewest_people)
    table = _table(judged, groups.places, kept, np.ones(judged.truth.shape))
    return Gaps(
        attribute=groups.attribute,
        groups=tuple(
            GroupFigures(
                name=groups.names[place],
                people=people[place],
                texts=int((groups.places == place).sum()),
                **dict(zip(FIGURES, map(float, row), strict=True)),
            )
            for place, row in zip(kept, table, strict=True)
        ),
        left_out=tuple(
            name
            for name, count in zip(groups.names, people, strict=True)
            if 0 < count < fewest_people
        ),
        gaps=dict(zip(FIGURES, map(float, _spread(table)), strict=True)),
    )


def gap_doubts(
    judged: Judged, groups: Groups, *, fewest_people: int = FEWEST_PEOPLE, draws: int = DRAWS
) -> Mapping[str, Doubt]:
    """Return how sure each gap is; people are drawn, never single texts.

    Raises:
        EvaluationInvalid: As `group_gaps`.
    """
    kept, _ = _kept(judged, groups, fewest_people)
    random = np.random.default_rng(0)  # the same set gives the same interval
    again, dealt, ones = [], [], np.ones(judged.truth.shape)
    for _ in range(draws):
        weights = _resampled(judged.owners, random)
        again.append(_spread(_table(judged, groups.places, kept, weights)))
        places = _dealt(judged.owners, groups.places, random)
        dealt.append(_spread(_table(judged, places, kept, ones)))
    low, high = np.percentile(again, [_TAIL, 100 - _TAIL], axis=0)
    columns = zip(FIGURES, low, high, np.median(dealt, axis=0), strict=True)
    return {
        name: Doubt(low=float(a), high=float(b), by_lot=float(lot)) for name, a, b, lot in columns
    }


def _kept(judged: Judged, groups: Groups, fewest_people: int) -> tuple[list[int], list[int]]:
    """Return the groups that have people enough, and how many people each has."""
    places, names = groups.places, groups.names
    if places.shape != judged.truth.shape or places.max(initial=-1) >= len(names):
        raise EvaluationInvalid(f"groups by {groups.attribute} do not fit the texts or their names")
    people = [len(np.unique(judged.owners[places == place])) for place in range(len(names))]
    kept = [place for place, count in enumerate(people) if count >= fewest_people]
    if len(kept) < 2:  # noqa: PLR2004 (a gap is between two)
        raise EvaluationInvalid(
            f"groups by {groups.attribute} with {fewest_people} people: {len(kept)}, two are needed"
        )
    return kept, people


def _spread(table: FloatArray) -> FloatArray:
    """Return largest less smallest of each column; a group without an answer has no error."""
    missing = np.isnan(table)
    most = np.where(missing, -np.inf, table).max(axis=0)
    least = np.where(missing, np.inf, table).min(axis=0)
    return np.asarray(np.maximum(most - least, 0.0))


def _table(judged: Judged, groups: IntArray, kept: list[int], weights: FloatArray) -> FloatArray:
    """Return `(group, figure)`."""
    present = np.unique(judged.truth)
    return np.array([_figures(judged, weights * (groups == place), present) for place in kept])


def _figures(judged: Judged, weights: FloatArray, present: IntArray) -> tuple[float, float, float]:
    """Return error, macro-F1 over the labels of the set, and the share of abstentions."""
    answered = weights * judged.answered
    right = answered * (judged.truth == judged.predicted)
    total, told = weights.sum(), answered.sum()
    if not told:
        return np.nan, np.nan, 1.0
    size = int(max(judged.truth.max(), judged.predicted.max())) + 1
    hits = np.bincount(judged.truth, right, size)
    both = np.bincount(judged.truth, answered, size) + np.bincount(judged.predicted, answered, size)
    f1 = 2 * hits[present] / np.maximum(both[present], 1e-12)
    return 1 - right.sum() / told, float(f1.mean()), 1 - told / total


def _resampled(owners: IntArray, random: np.random.Generator) -> FloatArray:
    """Return how often each text's owner came up in a draw of as many people as there are."""
    people, places = np.unique(owners, return_inverse=True)
    drawn = np.bincount(random.integers(0, len(people), len(people)), minlength=len(people))
    return drawn[places].astype(np.float64)


def _dealt(owners: IntArray, groups: IntArray, random: np.random.Generator) -> IntArray:
    """Return the groups dealt out anew among the people, each keeping one for all their texts."""
    _, first, places = np.unique(owners, return_index=True, return_inverse=True)
    return np.asarray(random.permutation(groups[first])[places])
