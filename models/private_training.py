"""One node's part of a round: private steps of a head over whole people.

What this module promises, whatever the data holds:

- one person moves a step's sum by at most `clip`, with one turn or with a thousand, and as
  computed, not only on paper (`models.person_gradients`, `models.noise`);
- no private number divides anything: the divisor is `sample_rate * nominal_people`;
- a clip that follows a quantile reads a noisy count of each step, which the plan pays for;
- a linear head is trained by the closed form, one with a hidden layer by Opacus' hooks, on the
  same people, with the same noise and at the same price;
- no bag makes a round fail, stop early or take another shape: what cannot be learnt from
  adds zero, since a refusal would tell. Only public values, or records of the wrong shape,
  raise.

It keeps no ledger and no clock: the caller spends the budget before it opens the bags, and
replies at the deadline, so that neither time nor padding is seen outside.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.bags import Bags
from models.basis import basis_of
from models.errors import TrainingInvalid
from models.fusion import Layout, fused
from models.heads import shape_of
from models.noise import SYSTEM_NOISE, Noise, with_noise
from models.person_gradients import FloatArray, People
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.terms import Mechanism
from policies.vocabulary import Action, Purpose

CLIP_RATE = 0.2
"""How fast a clip follows its quantile; the value of Andrew et al. 2021."""
CLIP_RANGE = math.log(64)
"""A clip may become 64 times larger or smaller than its plan's, whatever the noise says."""


class Gradients(Protocol):
    """The people of a round, whatever part of the network their gradients are of."""

    count: int

    def clipped(
        self, weights: FloatArray, sampled: npt.NDArray[np.bool_], *, clip: float
    ) -> tuple[FloatArray, float]:
        """Return the sum over the sampled of each one's clipped gradient, and who needed no clip.

        The second is their number less the others', halved: one person is half a unit of it.
        """
        ...


def train_round(
    weights: npt.NDArray[np.floating[Any]],
    bags: Bags,
    *,
    mechanism: Mechanism,
    labels: int,
    permit: Permit,
    now: float,
    width: int = 0,
    modalities: Layout = (),
    noise: Noise = SYSTEM_NOISE,
) -> npt.NDArray[np.float32]:
    """Return the node's weights after a round's private steps, in the shape they came in.

    `width` is how many hidden units the head has (`models.heads`); 0 is a linear head. With
    `modalities` the bags hold rows of a fusion (`models.fusion`).

    The order protects people; the numbers are repeated beside the steps.
    (1) the permit covers this training now; (2) each step samples people, not turns;
    (3) a person's gradients are summed, then clipped; (4) noise is added to the sum of the
    clipped; (5) only then is anything divided, by a public number.

    Raises:
        PermitInvalid: The permit is for something else, is over, or names fewer people than
            the bags hold.
        TrainingInvalid: Weights and bags differ in features, the weights in labels or width, or
            the weights, which are public, are not finite.
    """
    permit.cover(action=Action.TRAIN, purpose=Purpose.TRAINING, subject=None, now=now)  # (1)
    if modalities:
        bags = replace(bags, features=fused(modalities, bags.features))
    _check_fit(weights, bags, labels=labels, width=width)
    basis = basis_of(mechanism.basis)
    people = _people(bags, labels=labels, max_turns=mechanism.max_turns, width=width, basis=basis)
    if people.count > len(permit.subjects):
        raise PermitInvalid(
            f"permit {permit.decision_id} names fewer people than the bags hold: "
            "open only bags of people whom the gate allowed"
        )
    current, clip, velocity = weights.astype(np.float64), mechanism.clip, np.zeros(())
    for _ in range(mechanism.steps):
        sampled = noise.poisson_sample(people.count, rate=mechanism.sample_rate)  # (2)
        clipped, within = people.clipped(current, sampled, clip=clip)  # (3)
        total = with_noise(  # (4)
            clipped, sensitivity=clip, multiplier=mechanism.noise_multiplier, noise=noise
        )
        step = total / (mechanism.sample_rate * mechanism.nominal_people)  # (5)
        velocity = mechanism.momentum * velocity + step
        moved = velocity if basis is None else basis @ velocity
        current = current - mechanism.learning_rate * moved
        clip = next_clip(clip, within, mechanism=mechanism, noise=noise)  # (4), (5)
    return current.astype(np.float32)


def next_clip(clip: float, within: float, *, mechanism: Mechanism, noise: Noise) -> float:
    """Return the clip of the next step: the same, where the plan names no quantile.

    Else it moves, by a factor, as the noisy share of people who need no clip differs from the one
    asked for (Andrew et al. 2021, algorithm 1). `within` is of `Gradients.clipped`.
    """
    if not mechanism.clip_quantile:
        return clip
    count = with_noise(  # (4)
        np.array([within]), sensitivity=0.5, multiplier=2 * mechanism.quantile_noise, noise=noise
    )
    share = 0.5 + float(count[0]) / (mechanism.sample_rate * mechanism.nominal_people)  # (5)
    moved = math.log(clip / mechanism.clip) - CLIP_RATE * (share - mechanism.clip_quantile)
    return mechanism.clip * math.exp(min(max(moved, -CLIP_RANGE), CLIP_RANGE))


def _people(
    bags: Bags, *, labels: int, max_turns: int, width: int, basis: FloatArray | None
) -> Gradients:
    """Return who can be sampled, by the engine of the part that is trained."""
    if width == 0:
        return People(bags, labels=labels, max_turns=max_turns, basis=basis)
    from models.hidden_gradients import HiddenPeople  # noqa: PLC0415 (loads torch and Opacus)

    return HiddenPeople(bags, labels=labels, max_turns=max_turns, width=width)


def _check_fit(
    weights: npt.NDArray[np.floating[Any]], bags: Bags, *, labels: int, width: int
) -> None:
    """Raise unless the public weights are finite and fit features, labels and width."""
    expected = shape_of(features=bags.features.shape[1], labels=labels, width=width)
    if weights.shape != expected:
        raise TrainingInvalid(f"weights of shape {expected} are needed, got {weights.shape}")
    if not np.isfinite(weights).all():
        raise TrainingInvalid("the round's starting weights are not finite: refuse its terms")
