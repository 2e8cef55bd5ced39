"""Claims about the 8-bit graph: it is the published network, nearly, and the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load
from transformers import AutoConfig, AutoModel

from models.base_card import figures
from models.encoder import Encoder
from models.encoder_files import find_encoder
from models.encoder_graph import encoder_graph, quantised
from models.features import FEATURES
from models.goemotions import read
from models.pretrained import Tensors, adapted, load_adapter
from models.train_base import features_of
from policies.redacted import RedactedText
from tests.models.test_pretrained import shipped_heads

TEXTS = (
    "I have been waiting for an hour and nobody answers!",
    "Thank you, that is all I needed.",
    "my card was charged twice, please check the order <REFERENCE> again",
    "ok",
    "Could you tell me where the nearest shop is, and whether it is open on Sunday? " * 3,
)


def network(adapter: Tensors) -> torch.nn.Module:
    """Return the network in 32 bits, as the authors' library runs it, with the adapter added."""
    folder = find_encoder()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    found: torch.nn.Module = AutoModel.from_config(config)
    published = dict(load((folder / "model.safetensors").read_bytes()))
    published.pop("embeddings.position_ids")
    found.load_state_dict({k: torch.tensor(v) for k, v in adapted(published, adapter).items()})
    return found.eval()


@pytest.mark.parametrize("adapter", [{}, load_adapter()], ids=["published", "adapted"])
def test_graph_is_nearly_the_network_in_32_bits(adapter: Tensors) -> None:
    """Its vectors point where those in 32 bits do, a little less so for the shortest texts."""
    encoder, reference = Encoder.load(adapter=adapter), network(adapter)
    rows = encoder.encode([RedactedText(text=text) for text in TEXTS])[:, :-1] * 2**0.5
    for text, row in zip(TEXTS, rows, strict=True):
        pieces = torch.tensor([encoder._tokenizer.encode(text).ids])
        with torch.inference_mode():
            hidden = reference(input_ids=pieces).last_hidden_state[0].mean(0)
        assert row @ (hidden / hidden.norm()).numpy() > 0.96


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_8_bits_cost_at_most_half_a_point_of_f1(shared: Path) -> None:
    """The shipped heads name comments of dev as well on the graph as on the network in 32 bits."""
    comments = {"dev": read(shared / "data" / "text" / "goemotions.csv.gz")["dev"]}
    texts, adapter = comments["dev"].texts, load_adapter()
    exact = figures({"dev": in_32_bits(texts, adapter)}, comments, shipped_heads())
    quick = figures({"dev": features_of(texts, adapter)}, comments, shipped_heads())
    lost = {name: found["macro_f1"] - quick[name]["macro_f1"] for name, found in exact.items()}
    assert max(lost.values()) <= 0.005


def in_32_bits(texts: Sequence[str], adapter: Tensors) -> npt.NDArray[np.float32]:
    """Return the features `(text, 385)` of the network in 32 bits."""
    reference, tokenizer = network(adapter), Encoder.load(adapter=adapter)._tokenizer
    rows = np.ones((len(texts), FEATURES), np.float32)
    for row, text in enumerate(texts):
        pieces = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            hidden = reference(input_ids=pieces).last_hidden_state[0].mean(0)
        rows[row, :-1] = (hidden / hidden.norm()).numpy()
    return rows / np.float32(2**0.5)


def test_graph_is_the_same_bytes_each_time() -> None:
    """Nothing of this machine, day or order is in it, so that two nodes run one network."""
    weights = load((find_encoder() / "model.safetensors").read_bytes())
    backwards = dict(reversed(weights.items()))
    first, second = (hashlib.sha256(encoder_graph(w)).digest() for w in (weights, backwards))
    assert first == second


def test_graph_of_incomplete_weights_is_refused() -> None:
    """A tensor that is missing is named."""
    weights = load((find_encoder() / "model.safetensors").read_bytes())
    del weights["encoder.layer.3.output.dense.bias"]
    with pytest.raises(KeyError, match=r"layer\.3\.output\.dense\.bias"):
        encoder_graph(weights)


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-1e3, 1e3, width=32),
    )
)
def test_quantised_rows_are_within_half_a_step_in_seven_bits(matrix: np.ndarray) -> None:
    """Every weight is within half a step of its row, and no integer needs the eighth bit."""
    integers, scales = quantised(matrix)
    assert integers.dtype == np.int8
    assert np.abs(integers).max() <= 63
    back = integers * scales[:, None].astype(np.float64)
    assert (np.abs(back - matrix) <= scales[:, None] * 0.501).all()
