"""One node's part of a round: private steps of a linear head over whole people.

A person's bag of turns is one Opacus sample, so Opacus' per-sample gradient is that person's
gradient summed over their turns. What this module promises, whatever the data holds:

- one person moves a step's sum by at most `clip`, with one turn or with a thousand;
- no private number divides anything: the divisor is `sample_rate * nominal_people`;
- no bag makes a round fail, stop early or take another shape: what cannot be learnt from
  (a label outside the plan, a number that is not finite) adds zero, since a refusal would
  tell. Only public values, or records of the wrong shape, raise.

It keeps no ledger and no clock: the caller spends the budget before it opens the bags, and
replies at the deadline, so that neither time nor padding is seen outside. Opacus' loaders and
optimisers are not used: their sampling rate is 1 / len(loader), which tells the node's size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from opacus import GradSampleModule
from torch.nn import functional

from models.bags import Bags
from models.errors import TrainingInvalid
from models.noise import SYSTEM_NOISE, Noise
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.terms import Mechanism
from policies.vocabulary import Action, Purpose

FloatArray = npt.NDArray[np.float64]

_CHUNK = 64
"""People a physical batch; always full, so that Opacus' hooks never see an empty one."""
_NO_LABEL = -100
"""A label the loss leaves out: of padding, and of turns outside the plan."""


def train_round(
    weights: npt.NDArray[np.floating[Any]],
    bags: Bags,
    *,
    mechanism: Mechanism,
    labels: int,
    permit: Permit,
    now: float,
    noise: Noise = SYSTEM_NOISE,
) -> npt.NDArray[np.float32]:
    """Return the node's weights `(feature, label)` after a round's private steps.

    The order protects people; the numbers are repeated beside the steps.
    (1) the permit covers this training now; (2) each step samples people, not turns;
    (3) a person's gradients are summed, then clipped; (4) noise is added to the sum of the
    clipped; (5) only then is anything divided, by a public number.

    Raises:
        PermitInvalid: The permit is for something else, is over, or names fewer people than
            the bags hold.
        TrainingInvalid: Weights and bags differ in features, the weights in labels, or the
            weights, which are public, are not finite.
    """
    permit.cover(action=Action.TRAIN, purpose=Purpose.TRAINING, subject=None, now=now)  # (1)
    _check_fit(weights, bags, labels=labels)
    people = _People(bags, labels=labels, max_turns=mechanism.max_turns)
    if people.count > len(permit.subjects):
        raise PermitInvalid(
            f"permit {permit.decision_id} names fewer people than the bags hold: "
            "open only bags of people whom the gate allowed"
        )
    gradient = _PersonGradient(shape=weights.shape)
    current, velocity = weights.astype(np.float64), np.zeros(weights.shape)
    for _ in range(mechanism.steps):
        sampled = noise.poisson_sample(people.count, rate=mechanism.sample_rate)  # (2)
        total = clipped_sum(gradient, current, people, sampled, clip=mechanism.clip)  # (3)
        total += noise.gaussian(
            weights.shape, std=mechanism.noise_multiplier * mechanism.clip
        )  # (4)
        step = total / (mechanism.sample_rate * mechanism.nominal_people)  # (5)
        velocity = mechanism.momentum * velocity + step
        current = current - mechanism.learning_rate * velocity
    return current.astype(np.float32)


def clipped_sum(
    gradient: _PersonGradient,
    weights: FloatArray,
    people: _People,
    sampled: npt.NDArray[np.bool_],
    *,
    clip: float,
) -> FloatArray:
    """Return the sum over sampled people of each one's gradient, clipped to L2 norm `clip`."""
    total = np.zeros(weights.shape)
    for features, labels in people.batches(np.flatnonzero(sampled)):
        total += clip_people(gradient(weights, features, labels), clip=clip).sum(axis=0)
    return total


def clip_people(gradients: FloatArray, *, clip: float) -> FloatArray:
    """Return the gradients `(person, feature, label)`, each with L2 norm at most `clip`.

    A person whose gradient is not finite, or whose norm is not, contributes zero.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("pfl,pfl->p", gradients, gradients))
    usable = np.isfinite(norms)
    if not usable.all():
        gradients, norms = np.where(usable[:, None, None], gradients, 0), np.where(usable, norms, 0)
    return np.asarray(gradients * (clip / np.maximum(norms, clip))[:, None, None])


class _People:
    """The bags as equal rows of padded turns, one row a person, and a last row of nobody."""

    def __init__(self, bags: Bags, *, labels: int, max_turns: int) -> None:
        owners, inverse = np.unique(bags.owners, return_inverse=True)
        self.count = len(owners)
        padding = len(bags.owners)
        self._rows, self._sizes = _rows(
            inverse, people=self.count, max_turns=max_turns, padding=padding
        )
        known = (bags.labels >= 0) & (bags.labels < labels)
        self._labels = np.append(np.where(known, bags.labels, _NO_LABEL), _NO_LABEL)
        self._features = np.vstack(
            [np.where(known[:, None], bags.features, 0.0), np.zeros((1, bags.features.shape[1]))]
        )

    def batches(
        self, chosen: npt.NDArray[np.intp]
    ) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
        """Return features `(_CHUNK, turn, feature)` and labels `(_CHUNK, turn)`, at least one.

        Bags of like size share a batch, so that little of it is padding.
        """
        filled = -(-max(len(chosen), 1) // _CHUNK) * _CHUNK
        padded = np.full(filled, self.count, dtype=np.intp)
        padded[: len(chosen)] = chosen[np.argsort(-self._sizes[chosen], kind="stable")]
        chunks = padded.reshape(-1, _CHUNK)
        rows = [self._rows[chunk, : max(1, self._sizes[chunk].max())] for chunk in chunks]
        return [(self._features[row], self._labels[row]) for row in rows]


class _PersonGradient:
    """Opacus around a bias-free linear head in float64, made once a round."""

    def __init__(self, *, shape: tuple[int, ...]) -> None:
        features, labels = shape
        head = torch.nn.Linear(features, labels, bias=False, dtype=torch.float64)
        self._head = head
        self._module = GradSampleModule(head, loss_reduction="sum")

    def __call__(
        self,
        weights: FloatArray,
        features: npt.NDArray[np.float64],
        labels: npt.NDArray[np.int64],
    ) -> FloatArray:
        """Return `(person, feature, label)`: each one's cross-entropy gradient, summed."""
        parameter: Any = self._head.weight  # Opacus adds `grad_sample` to it
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(weights.T.copy()))
        parameter.grad_sample = None
        # The full backward hook warns, and may be skipped, unless an input needs a gradient.
        inputs = torch.from_numpy(features).requires_grad_()
        scores = self._module(inputs)
        loss = functional.cross_entropy(
            scores.flatten(0, 1),
            torch.from_numpy(labels).flatten(),
            ignore_index=_NO_LABEL,
            reduction="sum",
        )
        torch.autograd.backward(loss)
        sample: torch.Tensor = parameter.grad_sample
        return np.asarray(sample.numpy().transpose(0, 2, 1))


def _rows(
    inverse: npt.NDArray[np.intp], *, people: int, max_turns: int, padding: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return where each one's turns are, and how many: `(person + 1, turn)`, `(person + 1,)`.

    A row holds the first `max_turns` turns of a person, then padding; the last row is nobody.
    """
    order = np.argsort(inverse, kind="stable")
    sizes = np.bincount(inverse, minlength=people)
    place = np.arange(len(inverse)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = place < max_turns
    width = int(min(max_turns, sizes.max(initial=1)))
    rows = np.full((people + 1, width), padding, dtype=np.intp)
    rows[inverse[order][kept], place[kept]] = order[kept]
    return rows, np.append(np.minimum(sizes, max_turns), 0)


def _check_fit(weights: npt.NDArray[np.floating[Any]], bags: Bags, *, labels: int) -> None:
    """Raise unless the public weights are finite and fit the features and labels."""
    expected = (bags.features.shape[1], labels)
    if weights.shape != expected:
        raise TrainingInvalid(f"weights of shape {expected} are needed, got {weights.shape}")
    if not np.isfinite(weights).all():
        raise TrainingInvalid("the round's starting weights are not finite: refuse its terms")
