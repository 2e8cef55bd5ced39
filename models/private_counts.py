"""How a head does at a node, told in noisy counts: for evaluation, calibration and class balance.

Whatever is computed from people's data and leaves a node costs privacy: accuracy, a class
weight, the decision to stop. Those can be read off one table, by group
and label: how many turns have the label, how sure the head was of it in all, and how often it
was right. So the table is asked for once, charged once (`counts_curve`), and everything else
is arithmetic on what left already.

A person's table is shrunk to L2 norm 1, however much they said: it counts people's voices more
than turns. This module keeps no ledger; the caller spends before it opens the bags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.accounting import RdpCurve, gaussian_curve
from models.bags import Bags
from models.errors import EvaluationInvalid
from models.heads import Head, as_head
from models.noise import SYSTEM_NOISE, Noise, with_noise
from models.person_gradients import SLACK, first_turns, usable_turns

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]

TRUTH, TOLD, RIGHT, GUESSED, SURE = range(5)
"""Rows of a table, by label: turns that have it, probability given to it, turns that have it and
were told so, turns that were told it, and the probability with which they were."""
LEAST_ROWS, ALL_ROWS = 3, 5
"""The first three rows suffice to shift and balance a head; precision and certainty need all."""
_NORMAL_95 = 1.96
_RAREST = 0.01
"""No label is taken for rarer than this share: noise must not make one infinitely likely."""


def counts_curve(std: float) -> RdpCurve:
    """Return what one noisy table costs a person."""
    return gaussian_curve(noise_multiplier=std, sample_rate=1.0, steps=1)


def noisy_counts(
    weights: npt.NDArray[np.floating[Any]] | Head,
    bags: Bags,
    *,
    max_turns: int,
    std: float,
    groups: IntArray | None = None,
    n_groups: int = 1,
    rows: int = LEAST_ROWS,
    noise: Noise = SYSTEM_NOISE,
) -> FloatArray:
    """Return the table `(group, row, label)` of the head on these people, with Gaussian noise.

    Args:
        weights: The head, or the weights `(feature, label)` of a linear one.
        bags: Everybody's turns; those after a person's first `max_turns` are not read.
        max_turns: As in training.
        std: Standard deviation of the noise; one person moves the table by at most 1.
        groups: The group `(turn,)` of each turn's person, in [0, n_groups); None is one group.
        n_groups: How many groups there are, publicly.
        rows: How many of the rows are asked for; more of them are each less exact.
        noise: Where the noise comes from.

    Raises:
        EvaluationInvalid: Head and bags differ in features, or groups in length.
    """
    head = as_head(weights)
    if head.features != bags.features.shape[1] or not head.finite:
        raise EvaluationInvalid("the head does not fit the features, or is not finite")
    if groups is not None and groups.shape != bags.owners.shape:
        raise EvaluationInvalid(f"groups are {groups.shape}, turns {bags.owners.shape}")
    tables = _tables(head, bags, max_turns=max_turns, rows=rows)
    table = _by_group(tables, bags, groups=groups, n_groups=n_groups)
    return with_noise(table, sensitivity=1.0, multiplier=std, noise=noise)


def shifted(weights: npt.NDArray[np.floating[Any]], table: FloatArray) -> npt.NDArray[np.float32]:
    """Return a head that says each label as often as it is there: a start for a run.

    `table` is that of this very head. Moving its constants to these people's shares (Saerens et
    al. 2002) leaves the private rounds the rest to learn.
    """
    counts = table.sum(axis=0)
    return _moved(weights, np.log(_shares(counts[TRUTH])) - np.log(_shares(counts[TOLD])))


def balanced(weights: npt.NDArray[np.floating[Any]], table: FloatArray) -> npt.NDArray[np.float32]:
    """Return the head with its labels made equally likely beforehand, for balanced recall.

    Each label's score loses the logarithm of its share (Menon et al. 2021).
    """
    return _moved(weights, -np.log(_shares(table.sum(axis=0)[TRUTH])))


def _shares(counts: FloatArray) -> FloatArray:
    """Return noisy counts as shares, none below the rarest that is believed."""
    kept = np.maximum(counts, 0.0)
    return np.maximum(kept / max(float(kept.sum()), 1.0), _RAREST)


def _moved(weights: npt.NDArray[np.floating[Any]], by: FloatArray) -> npt.NDArray[np.float32]:
    """Return the head with that much added to each label's score."""
    moved = weights.astype(np.float64)
    moved[-1] += by * np.sqrt(2)  # the last feature is constant, 1 / sqrt(2)
    return np.asarray(moved, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share read off noisy counts, and half the width of its 95 % interval."""

    value: float
    margin: float


def recall_estimates(table: FloatArray, *, std: float) -> tuple[Estimate | None, ...]:
    """Return each label's recall from a table `(3, label)`; None where too few are there to tell.

    The interval is of the noise alone: what the people themselves vary by is not in it.
    `std` is that of the table: for a sum over n nodes the root of n times one node's.
    """
    found: list[Estimate | None] = []
    for truth, right in zip(table[TRUTH], table[RIGHT], strict=True):
        if truth <= 3 * std:
            found.append(None)
            continue
        share = min(1.0, max(0.0, float(right / truth)))
        margin = _NORMAL_95 * std * np.sqrt(1 + share**2) / truth
        found.append(Estimate(value=share, margin=float(margin)))
    return tuple(found)


def _tables(head: Head, bags: Bags, *, max_turns: int, rows: int) -> FloatArray:
    """Return people's tables `(person, row, label)`, each of norm at most 1 less the slack."""
    labels = len(head.labels)
    owners, person = np.unique(bags.owners, return_inverse=True)
    read = first_turns(person, max_turns)
    turns = read[usable_turns(bags.features[read], bags.labels[read], labels=labels)]
    with np.errstate(over="ignore", invalid="ignore"):
        told = head.probabilities(bags.features[turns])
    told = np.where(np.isfinite(told), told, 0.0)
    truth, guessed = np.eye(labels)[bags.labels[turns]], np.eye(labels)[told.argmax(axis=1)]
    all_rows = (truth, told, truth * guessed, guessed, told * guessed)
    tables = np.zeros((len(owners), rows, labels))
    np.add.at(tables, person[turns], np.stack(all_rows[:rows], axis=1))
    norms = np.sqrt(np.einsum("prl,prl->p", tables, tables))
    tables *= ((1 - SLACK) / np.maximum(norms, 1.0))[:, None, None]
    return tables


def _by_group(
    tables: FloatArray, bags: Bags, *, groups: IntArray | None, n_groups: int
) -> FloatArray:
    """Return the sum over people, each in the one group of their first turn."""
    _, person = np.unique(bags.owners, return_inverse=True)
    group = np.zeros(len(tables), dtype=np.int64)
    if groups is not None:
        group[person[::-1]] = np.clip(groups[::-1], 0, n_groups - 1)
    summed = np.zeros((n_groups, *tables.shape[1:]))
    np.add.at(summed, group, tables)
    return summed
