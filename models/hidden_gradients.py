"""The clipped sum of people's gradients of a head with a hidden layer, by Opacus' hooks.

Takes the place of `models.person_gradients.People` in a round whose plan trains such a head, and
promises the same: a person's gradients are summed before they are clipped, what one person adds
depends on no other, and what cannot be learnt from adds zero. Loads torch and Opacus.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.bags import Bags
from models.heads import packed, unpacked
from models.module_gradients import ModuleGradients
from models.person_gradients import FloatArray, first_turns, usable_turns


class HiddenPeople:
    """Everybody's turns, each person's together, for a head with a hidden layer."""

    def __init__(self, bags: Bags, *, labels: int, max_turns: int, width: int) -> None:
        """Keep the first `max_turns` turns of each person; the rest is not read."""
        owners, person = np.unique(bags.owners, return_inverse=True)
        self.count = len(owners)
        read = first_turns(person, max_turns)
        turns = read[usable_turns(bags.features[read], bags.labels[read], labels=labels)]
        with np.errstate(over="ignore"):  # what is too large for float32 makes its person zero
            features = bags.features[turns].astype(np.float32)
        self._features = torch.from_numpy(features)
        self._truth = torch.from_numpy(bags.labels[turns].astype(np.int64))
        self._person = person[turns]
        self._labels, self._width = labels, width
        self._head: Any = torch.nn.Sequential(
            torch.nn.Linear(bags.features.shape[1], width, bias=False),
            torch.nn.Tanh(),
            torch.nn.Linear(width, labels),
        )
        loss = torch.nn.CrossEntropyLoss(reduction="sum")
        self._gradients = ModuleGradients(self._head, loss)

    def clipped_sum(
        self, weights: FloatArray, sampled: npt.NDArray[np.bool_], *, clip: float
    ) -> FloatArray:
        """Return the sum `(number, 1)` over the sampled of each one's clipped gradient."""
        return self.clipped(weights, sampled, clip=clip)[0]

    def clipped(
        self, weights: FloatArray, sampled: npt.NDArray[np.bool_], *, clip: float
    ) -> tuple[FloatArray, float]:
        """Return that sum, and half of how many more needed no clip than did."""
        self._load(weights)
        rows = np.flatnonzero(sampled[self._person])
        some = torch.from_numpy(rows)
        flat, within = self._gradients.clipped(
            self._features[some], self._truth[some], self._person[rows], clip=clip
        )
        return self._packed(flat), within

    def _load(self, weights: FloatArray) -> None:
        """Put the weights into the module, whose layers hold them the other way round."""
        first, second = unpacked(weights, width=self._width, labels=self._labels)
        layers: tuple[tuple[Any, npt.NDArray[Any]], ...] = (
            (self._head[0].weight, first.T),
            (self._head[2].weight, second[:-1].T),
            (self._head[2].bias, second[-1]),
        )
        with torch.no_grad():
            for parameter, values in layers:
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))

    def _packed(self, flat: FloatArray) -> FloatArray:
        """Return a gradient in the module's order as a head's column."""
        ends = np.cumsum([self._head[0].weight.numel(), self._head[2].weight.numel()])
        first, second, constants = np.split(flat, ends)
        layer = np.vstack([second.reshape(self._labels, self._width).T, constants[None]])
        return np.asarray(packed(first.reshape(self._width, -1).T, layer))
