"""How a head does, measured at many nodes: what one node answers, and what the centre reads off.

A node answers with one table of noisy counts by group and label (`models.private_counts`); its
true counts leave in nothing. The centre adds the tables up. Macro-F1, calibration, class weights
and the decision to stop early are arithmetic on that sum, and cost nothing more.

Intervals are of the noise alone, and hold for all labels together in 95 of 100 evaluations; what
the people themselves vary by is not in them. Counts are of people's voices: someone who said
much counts little more than someone who said little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bags import Bags
from models.errors import EvaluationInvalid
from models.heads import Head
from models.noise import SYSTEM_NOISE, Noise
from models.private_counts import ALL_ROWS, GUESSED, RIGHT, SURE, TOLD, TRUTH, noisy_counts
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.terms import Evaluation, Grouping, Plan
from policies.vocabulary import Action, Purpose

FloatArray = npt.NDArray[np.float64]

GROUPS: dict[Grouping, tuple[str, ...]] = {
    Grouping.NONE: ("everyone",),
    Grouping.TURNS: ("one turn", "two to four turns", "five turns or more"),
}
"""The public names of the groups of each grouping, in the order of a table."""
_FEWEST_TURNS = (2, 5)
_MISSED = 0.05
_RAREST = 0.01


def table_shape(plan: Plan) -> tuple[int, int]:
    """Return the shape `(group * row, label)` in which a plan's tables travel."""
    if plan.evaluation is None:
        raise EvaluationInvalid(f"plan {plan.name} has no evaluation")
    return len(GROUPS[plan.evaluation.groups]) * ALL_ROWS, len(plan.labels)


def evaluate_round(
    weights: npt.NDArray[np.floating[Any]] | Head,
    bags: Bags,
    *,
    evaluation: Evaluation,
    max_turns: int,
    permit: Permit,
    now: float,
    noise: Noise = SYSTEM_NOISE,
) -> npt.NDArray[np.float32]:
    """Return a node's noisy table `(group * row, label)`.

    Raises:
        PermitInvalid: The permit is for something else, is over, or names fewer people than
            the bags hold.
        EvaluationInvalid: Weights and bags do not fit together.
    """
    permit.cover(action=Action.TRAIN, purpose=Purpose.TRAINING, subject=None, now=now)
    if len(np.unique(bags.owners)) > len(permit.subjects):
        raise PermitInvalid(
            f"permit {permit.decision_id} names fewer people than the bags hold: "
            "open only bags of people whom the gate allowed"
        )
    table = noisy_counts(
        weights,
        bags,
        max_turns=max_turns,
        std=evaluation.noise,
        groups=groups_of(bags, evaluation.groups),
        n_groups=len(GROUPS[evaluation.groups]),
        rows=ALL_ROWS,
        noise=noise,
    )
    return table.reshape(-1, table.shape[2]).astype(np.float32)


def groups_of(bags: Bags, grouping: Grouping) -> npt.NDArray[np.int64]:
    """Return the group `(turn,)` of each turn's person, which their own turns alone decide."""
    if grouping is Grouping.NONE:
        return np.zeros(len(bags.owners), np.int64)
    _, person, turns = np.unique(bags.owners, return_inverse=True, return_counts=True)
    return np.asarray(np.searchsorted(_FEWEST_TURNS, turns[person], side="right"))


def added(tables: Sequence[npt.NDArray[np.floating[Any]]]) -> FloatArray:
    """Return the sum `(group, row, label)` of nodes' tables.

    Raises:
        EvaluationInvalid: There are none, or their shapes differ.
    """
    if not tables or len({table.shape for table in tables}) != 1:
        raise EvaluationInvalid(f"{len(tables)} tables cannot be added: none, or other shapes")
    summed = np.sum(np.stack(tables), axis=0, dtype=np.float64)
    return np.asarray(summed.reshape(-1, ALL_ROWS, summed.shape[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A figure read off noisy counts, and between which two numbers it lies without the noise."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """One label: its share of what people meant, what a class weight would be, and how it does.

    `oversure` is the certainty with which it was told less how often that was right: 0 is
    calibrated, above 0 too sure. `told_share` is the mean probability given to it; calibrated in
    the large, it is `share`.
    """

    label: str
    share: float
    told_share: float
    class_weight: float
    recall: Bounds
    precision: Bounds
    f1: Bounds
    oversure: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How a head does over all nodes that answered, and in each group of a grouping."""

    macro_f1: Bounds
    labels: tuple[LabelFigures, ...]
    groups: dict[str, Bounds]


def figures_of(table: FloatArray, plan: Plan, *, nodes: int) -> Figures:
    """Return what the sum `(group, row, label)` of `nodes` tables of a plan says.

    Raises:
        EvaluationInvalid: The plan has no evaluation, or the table another shape.
    """
    shape = table_shape(plan)
    if plan.evaluation is None or table.reshape(-1, table.shape[-1]).shape != shape:
        raise EvaluationInvalid(f"a table of plan {plan.name} is {shape}, got {table.shape}")
    std, names = plan.evaluation.noise * math.sqrt(nodes), GROUPS[plan.evaluation.groups]
    total, spread = table.sum(axis=0), std * math.sqrt(len(names))
    labels = tuple(name for name, _ in plan.labels)
    apart = {n: macro_f1(part, std=std) for n, part in zip(names, table, strict=True)}
    return Figures(
        macro_f1=macro_f1(total, std=spread),
        labels=_label_figures(total, labels, std=spread),
        groups=apart if len(names) > 1 else {},
    )


def macro_f1(table: FloatArray, *, std: float) -> Bounds:
    """Return the mean F1 over labels of a table `(row, label)` whose noise is `std`."""
    return _mean([_f1(table, label, std=std) for label in range(table.shape[1])])


def stalled(values: Sequence[float], *, patience: int) -> bool:
    """Tell whether the last `patience` values were none better than the best before them."""
    if patience == 0 or len(values) <= patience:
        return False
    return max(values[-patience:]) <= max(values[:-patience])


def _label_figures(
    table: FloatArray, labels: tuple[str, ...], *, std: float
) -> tuple[LabelFigures, ...]:
    share, told = _shares(table[TRUTH]), _shares(table[TOLD])
    z, found = _quantile(table), []
    for place, name in enumerate(labels):
        truth, guessed = table[TRUTH, place], table[GUESSED, place]
        right, sure = table[RIGHT, place], table[SURE, place]
        found.append(
            LabelFigures(
                label=name,
                share=float(share[place]),
                told_share=float(told[place]),
                class_weight=float(1 / (len(labels) * share[place])),
                recall=_ratio(right, truth, z * std, z * std),
                precision=_ratio(right, guessed, z * std, z * std),
                f1=_f1(table, place, std=std),
                oversure=_ratio(sure - right, guessed, z * std * math.sqrt(2), z * std, least=-1),
            )
        )
    return tuple(found)


def _f1(table: FloatArray, label: int, *, std: float) -> Bounds:
    """Return the F1 of a label: twice its hits over those who have it and those told it."""
    both, reach = table[TRUTH, label] + table[GUESSED, label], _quantile(table) * std
    return _ratio(2 * table[RIGHT, label], both, 2 * reach, reach * math.sqrt(2))


def _ratio(
    above: float, below: float, above_reach: float, below_reach: float, *, least: float = 0.0
) -> Bounds:
    """Return a ratio between `least` and 1 of two noisy numbers that are so far off at most."""

    def kept(ratio: float) -> float:
        return float(min(1.0, max(least, ratio)))

    value = kept(above / below) if below > 0 else 0.0
    if below <= below_reach:  # there may be nothing at all: it can be anything
        return Bounds(low=least, value=value, high=1.0)
    corners = [
        (above + up * above_reach) / (below + down * below_reach)
        for up in (-1, 1)
        for down in (-1, 1)
    ]
    return Bounds(low=kept(min(corners)), value=value, high=kept(max(corners)))


def _mean(bounds: Sequence[Bounds]) -> Bounds:
    return Bounds(
        low=float(np.mean([b.low for b in bounds])),
        value=float(np.mean([b.value for b in bounds])),
        high=float(np.mean([b.high for b in bounds])),
    )


def _quantile(table: FloatArray) -> float:
    """Return how many deviations the two numbers of every label keep within, all at once."""
    return NormalDist().inv_cdf(1 - _MISSED / (4 * table.shape[1]))


def _shares(counts: FloatArray) -> FloatArray:
    """Return noisy counts as shares that add up to one, none below the rarest believed."""
    kept = np.maximum(counts, 0.0)
    believed = np.maximum(kept / max(float(kept.sum()), 1.0), _RAREST)
    return np.asarray(believed / believed.sum())
