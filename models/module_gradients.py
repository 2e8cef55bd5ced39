"""The clipped sum of people's gradients of any torch module, by Opacus' hooks.

For heads of several layers, fusion, and low-rank adapters of the encoder; linear heads have a
closed form, four times as fast (`models.person_gradients`), which is tested against this one.
Opacus gives the gradient of each turn; those of one person are summed here before anything is
clipped, so that a thousand copies of a turn move the sum by no more than the clip. Opacus'
loaders and optimisers are not used: they clip turns, and their sampling rate is
1 / len(loader), which tells the node's size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from opacus import GradSampleModule

from models.person_gradients import SLACK, half_units

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes outputs and labels of some turns; returns the *sum* of their losses."""

_TURNS = 64
"""Turns whose gradients are held at once."""


class ModuleGradients:
    """Per-person gradients of a module's trainable parameters, as one row each."""

    def __init__(self, module: torch.nn.Module, loss: Loss) -> None:
        """Hook the module.

        Raises:
            NotImplementedError: Opacus has no per-turn gradient for one of its layers, or a
                layer mixes turns, as batch normalisation does.
        """
        self._module, self._loss = GradSampleModule(module, loss_reduction="sum"), loss
        self._trained: list[Any] = [p for p in module.parameters() if p.requires_grad]
        self.size = sum(parameter.numel() for parameter in self._trained)

    def clipped_sum(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        owners: npt.NDArray[np.integer[Any]],
        *,
        clip: float,
    ) -> npt.NDArray[np.float64]:
        """Return the sum `(parameter,)` over people of each one's gradient, clipped to `clip`.

        `inputs` `(turn, ...)` and `labels` `(turn,)` are of the people sampled for a step;
        `owners` `(turn,)` tells them apart.
        """
        return self.clipped(inputs, labels, owners, clip=clip)[0]

    def clipped(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        owners: npt.NDArray[np.integer[Any]],
        *,
        clip: float,
    ) -> tuple[npt.NDArray[np.float64], float]:
        """Return that sum, and half of how many more people needed no clip than did."""
        total, within = np.zeros(self.size), 0.0
        for owner in np.unique(owners):
            rows = np.flatnonzero(owners == owner)
            person = np.zeros((1, self.size))
            for start in range(0, len(rows), _TURNS):
                some = torch.from_numpy(rows[start : start + _TURNS])
                person += self._gradients(inputs[some], labels[some]).sum(axis=0)
            total += clip_people(person, clip=clip)[0]
            with np.errstate(over="ignore", invalid="ignore"):
                norms = np.sqrt(np.sum(person * person, axis=1))
            within += half_units(norms, clip * (1 - SLACK))
        return total, within

    def _gradients(self, inputs: torch.Tensor, labels: torch.Tensor) -> npt.NDArray[np.float64]:
        """Return `(turn, parameter)`."""
        for parameter in self._trained:
            parameter.grad_sample = None
        if inputs.is_floating_point():  # else the full backward hook warns and may be skipped
            inputs = inputs.detach().requires_grad_()
        torch.autograd.backward(self._loss(self._module(inputs), labels))
        parts = [parameter.grad_sample.flatten(1) for parameter in self._trained]
        return np.asarray(torch.cat(parts, dim=1).double().numpy())


def clip_people(gradients: npt.NDArray[np.float64], *, clip: float) -> npt.NDArray[np.float64]:
    """Return the gradients `(person, ...)`, each with L2 norm at most `clip * (1 - SLACK)`.

    A person whose gradient is not finite, or whose norm is not, contributes zero.
    """
    bound, rest = clip * (1 - SLACK), tuple(range(1, gradients.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.sum(gradients * gradients, axis=rest, keepdims=True))
    usable = np.isfinite(norms)
    shrinking = bound / np.maximum(np.where(usable, norms, 0), bound)
    return np.asarray(np.where(usable, gradients, 0) * shrinking)
