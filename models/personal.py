"""A local head that never leaves: what a node may add to the federation's for itself.

    1. hold out    whole people, in folds; nothing below is judged on who it was fitted on
    2. gain        each fold is read by a head that the other folds alone fitted and chose
    3. choose      pull and share on all folds, if the gain is above chance; else share 0
    4. temperature divides the logits as suits people whom the fits did not see
    5. fit         on everybody

Nothing of it is private in the sense of `models.accounting`, so nothing of it may leave: not
the head, not the share, not how well it does. It is personal data of all who are in it; who
holds it drops it when one of them says no (`client_node.local_head`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bags import Bags
from models.calibration import best_temperature, expected_calibration_error
from models.heads import softmax
from models.person_gradients import usable_turns

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer[Any]]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PULLS = (1e-2, 1e-3, 1e-4)
"""How strongly the local head is held towards the federation's, a turn."""
FEWEST_PEOPLE = 20
"""Below, a node keeps the federation's head: four people are held apart at a time."""
_FOLDS = frozenset(range(5))
_RESAMPLES = 2000
_TAIL = 2.5
"""Percent on either side of the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What the local head adds on people whom it did not see: macro-F1 and calibration error.

    `low` and `high` bound the difference `after - before` for 95 % of samples of as many people
    (percentile bootstrap over people, Efron & Tibshirani 1993, section 13.3). `ece_before` is
    the release's own.
    """

    people: int
    before: float
    after: float
    low: float
    high: float
    ece_before: float
    ece_after: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Personal:
    """A head `(feature, label)` for this node alone, and how far it is from the federation's.

    `share` is 0 where the release reads alone; `temperature` divides the logits; `gain` is None
    below the fewest people.
    """

    weights: npt.NDArray[np.float32]
    share: float
    temperature: float = 1.0
    gain: Gain | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    """One way from the release to a local head."""

    pull: float
    share: float


@dataclass(slots=True)
class _Branch:
    """A node's people in folds, and the heads that were fitted without some folds."""

    start: FloatArray
    features: FloatArray
    truth: Labels
    person: npt.NDArray[np.intp]
    _fitted: dict[tuple[frozenset[int], float], FloatArray] = field(default_factory=dict)

    @property
    def fold(self) -> npt.NDArray[np.intp]:
        """The fold of each turn: all turns of a person are in one."""
        return self.person % len(_FOLDS)

    def local(self, without: frozenset[int], pull: float) -> FloatArray:
        """Return the head of everybody but these folds; it starts at the next stronger pull's."""
        if (without, pull) not in self._fitted:
            place = PULLS.index(pull)
            begin = self.start if place == 0 else self.local(without, PULLS[place - 1])
            seen = ~np.isin(self.fold, list(without))
            self._fitted[without, pull] = _fit(
                self.start, begin, self.features[seen], self.truth[seen], pull=pull
            )
        return self._fitted[without, pull]

    def mixed(self, without: frozenset[int], choice: _Choice) -> FloatArray:
        """Return the interpolation of release and local head."""
        if choice.share == 0:
            return self.start
        return self.start + choice.share * (self.local(without, choice.pull) - self.start)

    def unseen_logits(self, folds: Collection[int], choice: _Choice) -> FloatArray:
        """Return logits `(turn, label)`; rows of `folds` by heads fitted on the others of them."""
        logits = np.zeros((len(self.truth), self.start.shape[1]))
        others = _FOLDS - frozenset(folds)
        for held in folds:
            rows = self.fold == held
            logits[rows] = self.features[rows] @ self.mixed(others | {held}, choice)
        return logits

    def choose(self, folds: frozenset[int]) -> _Choice:
        """Return what reads these folds best, each by the others of them; less share on a tie."""
        rows = np.isin(self.fold, list(folds))

        def score(choice: _Choice) -> tuple[float, float]:
            told = self.unseen_logits(folds, choice).argmax(axis=1)
            tables = _tables(self, told)[np.unique(self.person[rows])]
            return float(_macro_f1(tables.sum(axis=0))), -choice.share

        return max((_Choice(p, s) for p in PULLS for s in SHARES), key=score)

    def temperature(self, folds: frozenset[int], choice: _Choice) -> float:
        """Return the divisor that suits the people of these folds, each unseen."""
        rows = np.isin(self.fold, list(folds))
        return best_temperature(self.unseen_logits(folds, choice)[rows], self.truth[rows])


def personal_head(weights: npt.NDArray[np.floating[Any]], bags: Bags) -> Personal:
    """Return the node's own head; the federation's where that is not surely better.

    Folds go by the order of `owners`, so the same bags give the same head.
    """
    start = weights.astype(np.float64)
    keep = usable_turns(bags.features, bags.labels, labels=weights.shape[1])
    owners, person = np.unique(bags.owners[keep], return_inverse=True)
    alone = Personal(weights=weights.astype(np.float32), share=0.0)
    if len(owners) < FEWEST_PEOPLE:
        return alone
    branch = _Branch(  # 1
        start=start,
        features=bags.features[keep].astype(np.float64),
        truth=bags.labels[keep],
        person=person,
    )
    gain = _gain(branch)  # 2
    choice = branch.choose(_FOLDS)  # 3
    if gain.low <= 0 or choice.share == 0:
        return Personal(weights=alone.weights, share=0.0, gain=gain)
    return Personal(
        weights=branch.mixed(frozenset(), choice).astype(np.float32),  # 5
        share=choice.share,
        temperature=branch.temperature(_FOLDS, choice),  # 4
        gain=gain,
    )


def _gain(branch: _Branch) -> Gain:
    """Return what whole people gain who had no part in fit, choice or temperature."""
    before = branch.features @ branch.start
    after = np.zeros_like(before)
    for held in _FOLDS:
        others = _FOLDS - {held}
        choice = branch.choose(others)
        rows = branch.fold == held
        logits = branch.features[rows] @ branch.mixed(frozenset({held}), choice)
        after[rows] = logits / (branch.temperature(others, choice) if choice.share else 1.0)
    was, now = (_tables(branch, logits.argmax(axis=1)) for logits in (before, after))
    low, high = difference_interval(was, now)
    return Gain(
        people=len(was),
        before=float(_macro_f1(was.sum(axis=0))),
        after=float(_macro_f1(now.sum(axis=0))),
        low=low,
        high=high,
        ece_before=expected_calibration_error(softmax(before), branch.truth),
        ece_after=expected_calibration_error(softmax(after), branch.truth),
    )


def difference_interval(
    before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return the 95 % interval of the difference in macro-F1 over resampled people.

    Both are tables `(person, truth, told)` of the same people, in the same order. The resamples
    are the same in every call: they are a statistic's, and protect nobody.
    """
    people, labels = before.shape[:2]
    random = np.random.default_rng(0)
    taken = random.multinomial(people, np.full(people, 1 / people), size=_RESAMPLES)
    was, now = (
        _macro_f1((taken @ tables.reshape(people, -1)).reshape(-1, labels, labels))
        for tables in (before, after)
    )
    low, high = np.percentile(now - was, [_TAIL, 100 - _TAIL])
    return float(low), float(high)


def tables_of(
    truth: Labels, told: Labels, person: npt.NDArray[np.intp], *, labels: int
) -> npt.NDArray[np.int64]:
    """Return for each person how often each label was told for each: `(person, truth, told)`."""
    tables = np.zeros((int(person.max()) + 1, labels, labels), dtype=np.int64)
    np.add.at(tables, (person, truth, told), 1)
    return tables


def _tables(branch: _Branch, told: Labels) -> npt.NDArray[np.int64]:
    return tables_of(branch.truth, told, branch.person, labels=branch.start.shape[1])


def _macro_f1(tables: npt.NDArray[np.int64]) -> Any:
    """Return the macro-F1 of tables `(..., truth, told)`, as `models.evaluation.macro_f1`."""
    right = np.einsum("...ll->...l", tables)
    told = tables.sum(axis=-1) + tables.sum(axis=-2)
    return (2 * right / np.maximum(told, 1)).mean(axis=-1)


def _fit(
    start: FloatArray, begin: FloatArray, features: FloatArray, truth: Labels, *, pull: float
) -> FloatArray:
    """Return the head with the least mean cross-entropy plus `pull / 2` times its way squared."""
    from scipy.optimize import minimize  # noqa: PLC0415 (only a node that fits one loads it)

    wanted = np.eye(start.shape[1])[truth]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        moved = flat.reshape(start.shape)
        shares = softmax(features @ (start + moved))
        likely = np.maximum((shares * wanted).sum(axis=1), 1e-300)
        slope = features.T @ (shares - wanted) / max(1, len(truth)) + pull * moved
        surprise = -np.log(likely).sum() / max(1, len(truth))
        return float(surprise + pull / 2 * (moved**2).sum()), slope.ravel()

    found = minimize(
        loss, (begin - start).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200}
    )
    moved: FloatArray = np.asarray(found.x, dtype=np.float64).reshape(start.shape)
    return start + moved
