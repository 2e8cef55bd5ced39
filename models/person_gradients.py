"""The clipped sum of people's gradients of a linear head, in closed form, without autograd.

The gradient of one turn's cross-entropy is an outer product, x (softmax(x W) - y)^T. A person
with one turn needs no more than its two factors; a person with several has them multiplied and
summed, and is clipped then, as one. What holds whatever the bags contain:

- what one person adds depends on no other person, to the last bit: scores are computed in
  blocks of a fixed number of rows, because a matrix product rounds differently in another shape;
- its L2 norm is at most `clip * (1 - SLACK)`. The slack is for what rounding the sum of many
  does (`models.noise`), so that one person more or less moves the *computed* sum by at most
  `clip` (Casacuberta et al. 2022 show libraries that forgot this);
- what cannot be learnt from (a label outside the plan, a number that is not finite) adds zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.bags import Bags

FloatArray = npt.NDArray[np.float64]

SLACK = 2.0**-17
"""Share of the clip that is left to rounding: enough for a million sampled people a step."""
_BLOCK = 64
"""Rows of every product of features and weights."""
_ROWS = 256
"""Rows that are worked on together: few enough to stay in the processor's cache."""


class People:
    """Everybody's turns, each person's together, people with equally many beside each other."""

    def __init__(
        self, bags: Bags, *, labels: int, max_turns: int, basis: FloatArray | None = None
    ) -> None:
        """Keep the first `max_turns` turns of each person; the rest is not read.

        With a `basis` `(feature, direction)` gradients are `(direction, label)`, with respect to
        what is added to the weights through it (`models.basis`).
        """
        owners, person = np.unique(bags.owners, return_inverse=True)
        self.count = len(owners)
        read = first_turns(person, max_turns)
        turns = read[usable_turns(bags.features[read], bags.labels[read], labels=labels)]
        self._sizes = np.bincount(person[turns], minlength=self.count)
        self._starts = np.cumsum(self._sizes) - self._sizes
        shape = (len(turns) + 1, bags.features.shape[1])  # the last row is nobody's
        self._features = np.zeros(shape)
        self._features[:-1] = bags.features[turns]
        with np.errstate(over="ignore", invalid="ignore"):
            self._seen = self._features if basis is None else self._in_blocks(basis)
            self._norms = np.sqrt(np.einsum("tf,tf->t", self._seen, self._seen))
        self._truth = np.zeros((shape[0], labels))
        self._truth[np.arange(len(turns)), bags.labels[turns]] = 1.0

    def clipped_sum(
        self, weights: FloatArray, sampled: npt.NDArray[np.bool_], *, clip: float
    ) -> FloatArray:
        """Return the sum `(feature, label)` over the sampled of each one's clipped gradient."""
        return self.clipped(weights, sampled, clip=clip)[0]

    def clipped(
        self, weights: FloatArray, sampled: npt.NDArray[np.bool_], *, clip: float
    ) -> tuple[FloatArray, float]:
        """Return that sum, and how many of them stay within the clip less how many do not, halved.

        In the second a person is half a unit, up or down, and nothing without a usable gradient.
        """
        total, within = np.zeros((weights.shape[1], self._seen.shape[1])), 0.0
        bound = clip * (1 - SLACK)
        # Huge features or weights overflow to what `_shrinking` turns into zero.
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for size in np.unique(self._sizes[sampled]):
                if size:
                    people = np.flatnonzero(sampled & (self._sizes == size))
                    within += self._add(total, weights, people, size=int(size), bound=bound)
        return total.T, within

    def _add(
        self,
        total: FloatArray,
        weights: FloatArray,
        people: npt.NDArray[np.intp],
        *,
        size: int,
        bound: float,
    ) -> float:
        """Add to `total` what people with `size` turns each give; return their half units."""
        together, within = max(1, _ROWS // size), 0.0
        for start in range(0, len(people), together):
            rows = self._starts[people[start : start + together], None] + np.arange(size)
            features, errors = self._errors(weights, rows.ravel())
            if size == 1:
                norms = self._norms[rows[:, 0]] * np.sqrt(np.einsum("tl,tl->t", errors, errors))
                total += (errors * _shrinking(norms, bound)[:, None]).T @ features
            else:
                summed, norms = _summed(
                    errors.reshape(*rows.shape, -1), features.reshape(*rows.shape, -1), bound
                )
                total += summed
            within += half_units(norms, bound)
        return within

    def _in_blocks(self, basis: FloatArray) -> FloatArray:
        """Return the features in the basis, each row the same whoever is beside it."""
        found = np.zeros((len(self._features), basis.shape[1]))
        for start in range(0, len(found), _BLOCK):
            block = np.zeros((_BLOCK, basis.shape[0]))
            some = self._features[start : start + _BLOCK]
            block[: len(some)] = some
            found[start : start + _BLOCK] = (block @ basis)[: len(some)]
        return found

    def _errors(
        self, weights: FloatArray, rows: npt.NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the turns' features and softmax minus truth, zero where that is not finite."""
        padded = np.full(-(-len(rows) // _BLOCK) * _BLOCK, len(self._features) - 1)
        padded[: len(rows)] = rows
        features = self._features[padded]
        scores = features.reshape(-1, _BLOCK, features.shape[1]) @ weights
        scores = scores.reshape(len(padded), -1)[: len(rows)]
        scores -= scores.max(axis=1, keepdims=True)
        errors = np.exp(scores, out=scores)
        errors /= errors.sum(axis=1, keepdims=True)
        errors -= self._truth[rows]
        errors[~np.isfinite(errors).all(axis=1)] = 0.0
        return self._seen[rows], errors


def _summed(
    errors: FloatArray, features: FloatArray, bound: float
) -> tuple[FloatArray, FloatArray]:
    """Return the sum `(label, feature)` over people whose turns are summed, then clipped.

    And what their norms `(person,)` were.

    `errors` is `(person, turn, label)`, `features` `(person, turn, feature)`.
    """
    people = errors.transpose(0, 2, 1) @ features
    norms = np.sqrt(np.einsum("plf,plf->p", people, people))
    shrinking = _shrinking(norms, bound)
    people[shrinking == 0] = 0.0  # zero times infinity is no number
    return np.einsum("p,plf->lf", shrinking, people), norms


def _shrinking(norms: FloatArray, bound: float) -> FloatArray:
    """Return what each person is multiplied with: 0 where the norm is not finite."""
    return np.where(np.isfinite(norms), bound / np.maximum(norms, bound), 0.0)


def half_units(norms: FloatArray, bound: float) -> float:
    """Return people within the bound less people beyond it, halved; no gradient is neither."""
    usable = np.isfinite(norms) & (norms > 0)
    return float(np.where(norms <= bound, 0.5, -0.5)[usable].sum())


def first_turns(person: npt.NDArray[np.intp], max_turns: int) -> npt.NDArray[np.intp]:
    """Return the places of each person's first turns, person by person, in their order."""
    order = np.argsort(person, kind="stable")
    sizes = np.bincount(person)
    place = np.arange(len(person)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(order[place < max_turns])


def usable_turns(
    features: npt.NDArray[np.floating[Any]], truth: npt.NDArray[np.integer[Any]], *, labels: int
) -> npt.NDArray[np.bool_]:
    """Tell which turns `(turn,)` have a label of the plan and a norm that is a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide = features.astype(np.float64)
        finite = np.isfinite(np.einsum("tf,tf->t", wide, wide))
    return np.asarray((truth >= 0) & (truth < labels) & finite)
