"""Claims about people's clipped gradients: right, bounded, and nobody's but their own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.bags import Bags
from models.module_gradients import ModuleGradients, clip_people
from models.person_gradients import SLACK, People
from tests.models.fakes import bags, joined, one_person

FloatArray = npt.NDArray[np.float64]
WEIGHTS = np.linspace(-2, 2, 18).reshape(6, 3)
LABELS = 3


def closed(held: Bags, *, clip: float, weights: FloatArray = WEIGHTS) -> FloatArray:
    """Return the closed form's sum over everybody."""
    people = People(held, labels=weights.shape[1], max_turns=10_000)
    return people.clipped_sum(weights, np.ones(people.count, dtype=np.bool_), clip=clip)


def summed_loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of the turns' cross-entropies."""
    return functional.cross_entropy(outputs, labels, reduction="sum")


def by_opacus(
    module: torch.nn.Module, held: Bags, *, clip: float, dtype: torch.dtype = torch.float64
) -> FloatArray:
    """Return the sum over everybody by Opacus' hooks, flat."""
    return ModuleGradients(module, summed_loss).clipped_sum(
        torch.from_numpy(held.features).to(dtype),
        torch.from_numpy(held.labels),
        held.owners,
        clip=clip,
    )


def linear(weights: FloatArray) -> torch.nn.Linear:
    """Return the linear head as torch has it."""
    head = torch.nn.Linear(weights.shape[0], weights.shape[1], bias=False, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights.T.copy()))
    return head


@pytest.mark.parametrize("people", [1, 7, 63, 64, 65, 300])
@pytest.mark.parametrize("clip", [1e-3, 0.6, 1e3])
def test_closed_form_is_what_opacus_computes(people: int, clip: float) -> None:
    """Both give the same sum to within float error, clipped, half clipped and not clipped."""
    held = bags(people=people)
    ours = closed(held, clip=clip)
    theirs = by_opacus(linear(WEIGHTS), held, clip=clip).reshape(LABELS, -1).T
    assert np.abs(ours - theirs).max() <= 1e-13 * max(1.0, np.abs(theirs).max()) * people


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.floats(1e-3, 10))
def test_what_one_person_adds_depends_on_nobody_else(seed: int, people: int, clip: float) -> None:
    """Alone or in any company, a person adds the same gradient, to the last bit."""
    random = np.random.default_rng(seed)
    held = bags(people=people, seed=seed, features=385, labels=7)
    weights = random.normal(size=(385, 7)) * 3
    mixed = People(held, labels=7, max_turns=8)
    for person in random.integers(0, people, 3):
        mine = held.owners == np.unique(held.owners)[person]
        alone = People(
            Bags(features=held.features[mine], labels=held.labels[mine], owners=held.owners[mine]),
            labels=7,
            max_turns=8,
        )
        sampled = np.zeros(people, dtype=np.bool_)
        sampled[person] = True
        together = mixed.clipped_sum(weights, sampled, clip=clip)
        lone = alone.clipped_sum(weights, np.ones(1, dtype=np.bool_), clip=clip)
        assert together.tobytes() == lone.tobytes()


def test_scores_do_not_depend_on_the_place_in_a_block() -> None:
    """A product rounds each row alike wherever it stands, which the claim above rests on."""
    random = np.random.default_rng(1)
    weights = random.normal(size=(385, 7)) * 3
    held = Bags(
        features=random.normal(size=(500, 385)) / 20,
        labels=random.integers(0, 7, 500),
        owners=np.arange(500),
    )
    people = People(held, labels=7, max_turns=1)
    _, straight = people._errors(weights, np.arange(500))
    for _ in range(5):
        order = random.permutation(500)[: random.integers(1, 500)]
        _, mixed = people._errors(weights, order)
        assert mixed.tobytes() == straight[order].tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e3), st.integers(1, 30), st.floats(1e-30, 1e30))
def test_one_more_person_moves_the_computed_sum_by_at_most_the_clip(
    seed: int, clip: float, turns: int, scale: float
) -> None:
    """Sensitivity as computed, rounding included: never above the clip, at any scale."""
    random = np.random.default_rng(seed)
    held = bags(people=40, seed=seed)
    person = Bags(
        features=random.normal(scale=scale, size=(turns, 6)),
        labels=random.integers(0, 3, turns),
        owners=np.full(turns, 999),
    )
    weights = random.normal(size=(6, 3)) * random.choice([1.0, 1e3, 1e6])
    moved = closed(joined(held, person), clip=clip, weights=weights) - closed(
        held, clip=clip, weights=weights
    )
    assert np.linalg.norm(moved) <= clip


@pytest.mark.parametrize("copies", [1, 1000, 10_000])
def test_copies_in_a_bag_move_the_sum_by_at_most_the_clip(copies: int) -> None:
    """A person's ten thousand records count for no more than the clip, and for nearly that."""
    held = bags(people=20)
    more = joined(held, one_person(turns=copies, owner=99))
    moved = np.linalg.norm(closed(more, clip=0.3) - closed(held, clip=0.3))
    assert 0.3 * (1 - 2 * SLACK) <= moved <= 0.3


def test_turns_that_contradict_each_other_cancel_before_the_clip() -> None:
    """Summed, then clipped: opposite turns leave little; clipped one by one they would not."""
    turns = Bags(
        features=np.array([[1.0, 0.0], [1.0, 0.0]]) * 1e20,
        labels=np.array([0, 1]),
        owners=np.array([5, 5]),
    )
    assert not closed(turns, clip=1.0, weights=np.zeros((2, 2))).any()


class Adapted(torch.nn.Module):
    """A frozen layer with a low-rank adapter, then a head: as LoRA of an encoder has it."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.Linear(6, 8, dtype=torch.float64).requires_grad_(False)  # noqa: FBT003
        self.down = torch.nn.Linear(6, 2, bias=False, dtype=torch.float64)
        self.up = torch.nn.Linear(2, 8, bias=False, dtype=torch.float64)
        self.head = torch.nn.Linear(8, 3, dtype=torch.float64)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return scores `(turn, label)`."""
        hidden = torch.tanh(self.frozen(inputs) + self.up(self.down(inputs)))
        scores: torch.Tensor = self.head(hidden)
        return scores


@pytest.mark.parametrize("copies", [1, 1000])
def test_copies_in_a_bag_move_an_adapters_sum_by_at_most_the_clip(copies: int) -> None:
    """By person for any module: a thousand copies of a turn move the sum by at most the clip."""
    torch.manual_seed(0)
    gradients = ModuleGradients(Adapted(), summed_loss)
    held = bags(people=5)
    more = joined(held, one_person(turns=copies, owner=99, value=3.0))
    with_person, without = (
        gradients.clipped_sum(
            torch.from_numpy(some.features).double(),
            torch.from_numpy(some.labels),
            some.owners,
            clip=0.01,
        )
        for some in (more, held)
    )
    assert gradients.size == 2 * 6 + 8 * 2 + 8 * 3 + 3
    assert np.linalg.norm(with_person - without) == pytest.approx(0.01, rel=1e-4)
    assert np.linalg.norm(with_person - without) <= 0.01


def test_a_modules_person_gradient_is_autograds() -> None:
    """With no clip to speak of, the sum over people is the gradient of the whole loss."""
    torch.manual_seed(0)
    module, held = Adapted(), bags(people=6)
    summed_loss(
        module(torch.from_numpy(held.features).double()), torch.from_numpy(held.labels)
    ).backward()  # type: ignore[no-untyped-call]
    whole = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    assert by_opacus(module, held, clip=1e6) == pytest.approx(
        whole.numpy() * (1 - SLACK), rel=1e-4, abs=1e-9
    )


def test_a_module_that_mixes_turns_is_refused() -> None:
    """Batch normalisation has no gradient of one person, and is an error, not a guess."""
    with pytest.raises(NotImplementedError):
        ModuleGradients(torch.nn.Sequential(torch.nn.BatchNorm1d(6)), summed_loss)


def test_clipping_keeps_small_gradients_and_shortens_large_ones() -> None:
    """Below the clip nothing changes; above it the length becomes the clip, less the slack."""
    gradients = np.stack([np.full((2, 2), 0.1), np.full((2, 2), 3.0), np.zeros((2, 2))])
    clipped = clip_people(gradients, clip=0.5)
    assert (clipped[0] == gradients[0]).all()
    assert np.linalg.norm(clipped[1]) == pytest.approx(0.5 * (1 - SLACK))
    assert not clipped[2].any()
