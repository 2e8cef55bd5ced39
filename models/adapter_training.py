"""The training of the adapter: low-rank matrices in the encoder, taught 28 labels.

By binary cross-entropy, with PEFT; dropout only where it is cheap (ADR 0008). Needs the extra
`train`.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.encoder_files import find_encoder
from models.features import WIDTH
from models.goemotions import Comments
from models.pretrained import SCALE

RANK = 16
EPOCHS, BATCH = 3, 64
ADAPTER_RATE, HEAD_RATE = 8e-4, 2e-3
SHARPNESS = 20.0
"""What multiplies a unit vector before the head, so that its weights need not grow for it."""
HIDDEN_WORDS, HIDDEN_FEATURES = 0.07, 0.1
"""Shares of word pieces and of features that training hides: dropout where it is cheap."""
REMEMBERED = 0.998
"""Share of the running mean of the adapter that a step keeps; the mean is what ships."""
LONGEST = 64
_FIRST_WORD = 110  # pieces below are marks of the vocabulary, or letters that stand for nothing


def train_adapter(
    comments: Comments, apart: Comments, *, seed: int, epochs: int
) -> dict[str, npt.NDArray[Any]]:
    """Return A and B for each matrix of the encoder, in 16 bits.

    They are the running mean over the steps, as it stood after the epoch that made the labels of
    the comments apart likeliest.
    """
    torch.manual_seed(seed)
    tokenizer, network = low_rank_network()
    pieces, labels = _tokens(tokenizer, comments), torch.tensor(comments.labels)
    reader = _Reader(network, shares=labels.mean(0), mask=tokenizer.mask_token_id)
    averaged = torch.optim.swa_utils.AveragedModel(
        reader,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(REMEMBERED),  # type: ignore[no-untyped-call]
    )
    adapter = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": adapter, "lr": ADAPTER_RATE},
        {"params": reader.head.parameters(), "lr": HEAD_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = epochs * math.ceil(len(pieces) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [ADAPTER_RATE, HEAD_RATE], total_steps=steps + 1, pct_start=0.1
    )
    draw = random.Random(seed)  # noqa: S311 (an order, not a secret)
    started, done, kept = time.monotonic(), 0, list[tuple[float, dict[str, npt.NDArray[Any]]]]()
    for _ in range(epochs):
        for batch in _batches(pieces, draw):
            logits = reader.train()([pieces[place] for place in batch])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*adapter, *reader.head.parameters()], 1.0)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(reader)
            done += 1
            _tell(f"adapter: step {done} of {steps}, loss {loss.item():.4f}", started, done / steps)
        surprise = _surprise(averaged.module, _tokens(tokenizer, apart), apart.labels)
        kept.append((surprise, _low_rank(averaged.module)))
    return min(kept, key=lambda pair: pair[0])[1]


class _Reader(torch.nn.Module):
    """Network and head of the training: word pieces in, logits `(text, 28)` out."""

    def __init__(self, network: torch.nn.Module, *, shares: torch.Tensor, mask: int) -> None:
        """Begin with a head that says how often each label comes."""
        super().__init__()
        self.network, self._mask = network, mask
        self.head = torch.nn.Linear(WIDTH, len(shares))
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.copy_(torch.logit(shares))

    def forward(self, batch: Sequence[Sequence[int]]) -> torch.Tensor:
        width = max(map(len, batch))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch])
        real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        if self.training:
            hide = (torch.rand(ids.shape) < HIDDEN_WORDS) & (ids > _FIRST_WORD)
            ids = torch.where(hide, self._mask, ids)
        found = self.network(input_ids=ids, attention_mask=real).last_hidden_state
        weight = real[..., None].float()
        unit = torch.nn.functional.normalize((found * weight).sum(1) / weight.sum(1), dim=1)
        shown = torch.nn.functional.dropout(unit, HIDDEN_FEATURES, training=self.training)
        logits: torch.Tensor = SHARPNESS * (shown @ self.head.weight.T) + self.head.bias
        return logits


def _tokens(tokenizer: Any, comments: Comments) -> list[list[int]]:
    found = tokenizer(list(comments.texts), truncation=True, max_length=LONGEST)["input_ids"]
    return [list(row) for row in found]


def _surprise(
    reader: torch.nn.Module, pieces: Sequence[list[int]], labels: npt.NDArray[np.float32]
) -> float:
    """Return the mean cross-entropy of the labels."""
    reader.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(pieces), BATCH):
            wanted = torch.tensor(labels[start : start + BATCH])
            logits = reader(pieces[start : start + BATCH])
            each = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, wanted, reduction="sum"
            )
            total += each.item()
    return total / labels.size


def _low_rank(reader: torch.nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return the low-rank matrices under our names: the layer's own, then A or B."""
    found = {}
    for name, value in reader.state_dict().items():
        layer, mark, rest = name.partition(".lora_")
        if mark:
            plain = layer.removeprefix("network.base_model.model.")
            found[f"{plain}.{rest[0]}"] = value.numpy().astype(np.float16)
    return found


def low_rank_network() -> tuple[Any, Any]:
    """Return tokenizer and network with untrained low-rank matrices, without slow dropout."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 (the extra `train`)
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    folder = find_encoder()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network = AutoModel.from_pretrained(
        folder,
        local_files_only=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    low_rank = LoraConfig(
        r=RANK,
        lora_alpha=int(SCALE * RANK),
        target_modules=["query", "key", "value", "dense"],
        exclude_modules=r".*pooler.*",
    )
    return tokenizer, get_peft_model(network, low_rank).train()


def _batches(pieces: Sequence[Sequence[int]], draw: random.Random) -> list[list[int]]:
    """Return the places of comments, those of like length together, in random order."""
    order = list(range(len(pieces)))
    draw.shuffle(order)
    pools = [
        sorted(order[start : start + 50 * BATCH], key=lambda place: len(pieces[place]))
        for start in range(0, len(order), 50 * BATCH)
    ]
    batches = [
        pool[start : start + BATCH] for pool in pools for start in range(0, len(pool), BATCH)
    ]
    draw.shuffle(batches)
    return batches


def _tell(line: str, started: float, done: float) -> None:
    left = (time.monotonic() - started) * (1 / done - 1)
    end = "\n" if done >= 1 else "\r"
    sys.stderr.write(f"{line}, about {left / 60:.0f} min left   {end}")
    sys.stderr.flush()
