"""Several modalities of a turn read together, and each of them may be missing.

A fusion head has one layer for each modality, from its features to the same hidden units. What is
there is projected and averaged; what is missing is not read at all. A hyperbolic tangent and the
labels' layer follow. The first layers lie one under another, so that its weights are those of a
head with a hidden layer (`models.heads`) whose features are all modalities' side by side: the same
packing, the same gradients by Opacus' hooks, person by person (`models.hidden_gradients`).

A turn is one row: the features of each modality in the plan's order, then a mark for each, 1 where
it is there. The mark alone says so; without it the numbers are not looked at, whatever they are.
Encoders are elsewhere: this takes vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import TrainingInvalid, WeightsInvalid
from models.heads import Head, HiddenHead
from policies.terms import Plan
from policies.vocabulary import Modality

Layout = tuple[tuple[Modality, int], ...]
"""A plan's modalities, in the order of a row, each with how many features it has."""
FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]


def row_width(layout: Layout) -> int:
    """Return how many numbers a turn's row has: features and marks."""
    return sum(width for _, width in layout) + len(layout)


def rows_of(
    layout: Layout, given: Mapping[Modality, npt.NDArray[np.floating[Any]]], *, turns: int
) -> npt.NDArray[np.float32]:
    """Return `turns` rows that have these modalities' features `(turn, width)`, and no other's.

    Raises:
        TrainingInvalid: A modality is not of the layout, or its features are of another shape.
    """
    rows = np.zeros((turns, row_width(layout)), np.float32)
    left = dict(given)
    for place, (modality, begin, end) in enumerate(_blocks(layout)):
        if (features := left.pop(modality, None)) is None:
            continue
        if features.shape != (turns, end - begin):
            raise TrainingInvalid(
                f"{modality} has features {(turns, end - begin)} in the plan, got {features.shape}"
            )
        rows[:, begin:end] = features
        rows[:, place - len(layout)] = 1.0
    if left:
        raise TrainingInvalid(f"the plan does not name {', '.join(sorted(left))}")
    return rows


def fused(layout: Layout, rows: Rows) -> FloatArray:
    """Return what a hidden head reads of rows `(turn, row_width)`: `(turn, feature)`.

    What is missing is zero, what is there is divided by how much is there. A turn of which nothing
    is there is not a number, so that training leaves it out.

    Raises:
        TrainingInvalid: The rows are not of the layout.
    """
    if rows.ndim != 2 or rows.shape[1] != row_width(layout):  # noqa: PLR2004
        raise TrainingInvalid(f"rows have {row_width(layout)} numbers, got {rows.shape}")
    there: npt.NDArray[np.bool_] = np.equal(rows[:, -len(layout) :], 1.0)
    found = np.zeros((len(rows), row_width(layout) - len(layout)))
    for place, (_, begin, end) in enumerate(_blocks(layout)):
        mine = there[:, place]
        found[mine, begin:end] = rows[mine, begin:end]
    count = there.sum(axis=1, keepdims=True)
    found /= np.maximum(count, 1)
    found[count[:, 0] == 0] = np.nan
    return found


def reading(layout: Layout, head: HiddenHead, modality: Modality) -> HiddenHead:
    """Return the head as it reads turns of which this modality alone is there.

    Raises:
        WeightsInvalid: The head is not of the layout, or the layout has no such modality.
    """
    if head.features != sum(width for _, width in layout):
        raise WeightsInvalid(f"a head of {head.features} features does not fit {layout}")
    for name, begin, end in _blocks(layout):
        if name is modality:
            return HiddenHead(labels=head.labels, first=head.first[begin:end], second=head.second)
    raise WeightsInvalid(f"the head was not taught {modality}")


def text_head(head: Head, layout: Layout) -> Head:
    """Return the head as it reads a text: the whole of it, where it is no fusion.

    Raises:
        WeightsInvalid: As in `reading`.
    """
    if not layout:
        return head
    if not isinstance(head, HiddenHead):
        raise WeightsInvalid("a fusion has hidden units: a linear head reads one modality")
    return reading(layout, head, Modality.TEXT)


def text_features(plan: Plan) -> int:
    """Return how many features a plan reads of a text; 0 where it reads none."""
    return dict(plan.modalities).get(Modality.TEXT, 0) if plan.modalities else plan.features


def probabilities(layout: Layout, head: HiddenHead, rows: Rows) -> FloatArray:
    """Return `(turn, label)` for whatever is there of each turn; evenly likely where nothing is.

    Raises:
        TrainingInvalid: The rows are not of the layout.
    """
    given = fused(layout, rows)
    nothing = np.asarray(np.isnan(given).any(axis=1))
    told = head.probabilities(np.where(nothing[:, None], 0.0, given))
    told[nothing] = 1 / len(head.labels)
    return told


def _blocks(layout: Layout) -> list[tuple[Modality, int, int]]:
    """Return each modality with where its features begin and end in a row."""
    found, begin = [], 0
    for modality, width in layout:
        found.append((modality, begin, begin + width))
        begin += width
    return found
