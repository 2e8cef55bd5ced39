"""A low-rank adapter of the very encoder, by Opacus' hooks: whole people, summed and then clipped.

No plan trains one at a node (ADR 0019). That the engine could is measured on the published weights,
on a few short made-up texts.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.adapter_training import low_rank_network
from models.features import WIDTH
from models.module_gradients import ModuleGradients
from models.person_gradients import SLACK

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # of PEFT's use
    # Pieces are whole numbers, so that no gradient goes to the input; Opacus needs none there.
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
]
TEXTS = (
    "you lost my bag again",
    "thank you so much",
    "when do you open",
    "I am furious",
    "what a lovely surprise",
)
LABELS = (0, 1, 2, 0, 1)
PARAMETERS = 6 * (4 * 2 * 384 * 16 + 2 * (384 + 1536) * 16)
"""Of A and B beside the six matrices of each of six layers, at rank 16."""


class Reader(torch.nn.Module):
    """The published encoder with its adapter, its mean of pieces, and a fixed head."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = torch.nn.Parameter(torch.randn(WIDTH, 3) * 5, requires_grad=False)

    def forward(self, pieces: torch.Tensor) -> torch.Tensor:
        """Return scores `(text, 3)` of word pieces `(text, piece)`, filled up with zeros."""
        real = (pieces > 0).long()
        found = self.network(input_ids=pieces, attention_mask=real).last_hidden_state
        mean = (found * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        scores: torch.Tensor = torch.nn.functional.normalize(mean, dim=1) @ self.head
        return scores


def summed_loss(scores: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the sum of the turns' cross-entropies."""
    return torch.nn.functional.cross_entropy(scores, truth, reduction="sum")


@cache
def made() -> tuple[Any, Reader, ModuleGradients]:
    """Return the texts' pieces, the reader, and its hooks; the adapter is not at its start."""
    torch.manual_seed(0)
    tokenizer, network = low_rank_network()
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)  # B begins at zero: A would have no gradient
    reader = Reader(network).train()  # without dropout; Opacus looks only at what trains
    pieces = tokenizer(list(TEXTS), padding=True, return_tensors="pt")["input_ids"]
    return pieces, reader, ModuleGradients(reader, summed_loss)


def clipped_sum(rows: list[int], owners: list[int], *, clip: float) -> npt.NDArray[np.float64]:
    """Return the clipped sum over people of their gradients of the adapter."""
    pieces, _, gradients = made()
    truth = torch.tensor([LABELS[row] for row in rows])
    return gradients.clipped_sum(pieces[rows], truth, np.array(owners), clip=clip)


def test_copies_in_a_bag_move_the_encoders_sum_by_at_most_the_clip() -> None:
    """A thousand copies of a turn move the sum of the adapter's gradients by at most the clip."""
    held, people = [1, 2, 3, 4], [0, 0, 1, 1]
    without = clipped_sum(held, people, clip=0.01)
    for copies in (1, 1000):
        more = clipped_sum([*held, *[0] * copies], [*people, *[9] * copies], clip=0.01)
        moved = float(np.linalg.norm(more - without))
        assert moved <= 0.01
        assert moved == pytest.approx(0.01, rel=1e-4)


def test_a_persons_gradient_of_the_encoder_is_autograds() -> None:
    """With no clip to speak of, a person's is autograd's of the sum of their turns' losses."""
    pieces, reader, gradients = made()
    rows = [0, 1, 2]
    trained = [p for p in reader.parameters() if p.requires_grad]
    loss = summed_loss(reader(pieces[rows]), torch.tensor([LABELS[row] for row in rows]))
    whole = torch.cat([part.flatten() for part in torch.autograd.grad(loss, trained)]).numpy()
    assert gradients.size == len(whole) == PARAMETERS
    found = clipped_sum(rows, [5, 5, 5], clip=1e6)
    assert np.linalg.norm(whole) > 0.1
    assert np.linalg.norm(found - whole) <= 1e-3 * np.linalg.norm(whole)
    short = clipped_sum(rows, [5, 5, 5], clip=0.5)
    assert np.linalg.norm(short) == pytest.approx(0.5 * (1 - SLACK))


def test_turns_of_one_person_are_summed_before_the_clip() -> None:
    """As one person two turns share one clip; as two people they have one each."""
    together = clipped_sum([0, 1], [7, 7], clip=0.01)
    apart = clipped_sum([0, 1], [7, 8], clip=0.01)
    each = [clipped_sum([row], [7], clip=1e6) for row in (0, 1)]
    bound = 0.01 * (1 - SLACK)
    both = each[0] + each[1]
    assert together == pytest.approx(both * bound / np.linalg.norm(both), rel=1e-3, abs=1e-7)
    lengths = sum(one * bound / np.linalg.norm(one) for one in each)
    assert apart == pytest.approx(lengths, rel=1e-3, abs=1e-7)
