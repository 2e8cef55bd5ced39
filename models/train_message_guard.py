"""Trains the head of the message guard: `python -m models.train_message_guard --service … `.

    1 read       the examples that ship with the project
    2 vectors    of every word piece, by the layers that nodes run
    3 head       one hidden layer; a message is what its likeliest phrase is, by cross-entropy
    4 threshold  the lowest that takes few enough of the service messages of the tuning half
    5 card       by cross-validation: each kind of company by a head that was not taught it

Only the threshold has seen a service message; no weight has. It needs about a minute.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file

from models.errors import TrainingInvalid
from models.features import WIDTH
from models.guard_examples import HONEST, Example, read_examples
from models.message_guard import FILE, KINDS, PHRASE, GuardHead, phrases
from models.pretrained import FOLDER
from models.token_classifier import PieceReader, Window
from policies.errors import UndertoneError
from policies.folding import as_read
from policies.messages import Audience, Pattern

CARD = "message_guard.json"
INNER, EPOCHS, BATCH, RATE, DECAY, KEPT = 32, 15, 64, 2e-3, 1e-2, 0.7
"""Hidden units, runs over the examples, their number a step, step size, decay, share kept."""
FALSE_ALARMS = 0.003
"""Of service messages; the lexicon and the language have their own."""

ABOUT = {
    "data": "guard_examples.jsonl: messages written for this project, none from a data set",
    "licence": "Apache-2.0: the examples, the encoder, and what was made of them",
    "method": f"{INNER} hidden units on three layers of all-MiniLM-L6-v2, 8-bit, piece by piece; "
    "the largest mean over three neighbouring pieces",
    "choices": "the threshold on the tuning half of service_messages; the lexicon's words with the "
    "tuning halves of both sets in view, after a first look at a sample of all of them",
    "figures_are_of": "the head alone, without the lexicon; `python -m tests.bench.message_guard` "
    "measures both",
    "known_failures": [
        "The head reads English only; German and French are left to the lexicon.",
        "Ordinary selling ('customers may also like', 'add for better results') is mostly let by.",
        "What is true and pressing reads like pressure: safety notices may need a person.",
        "Guilt, fear and nagging in new words are seldom found: there is only the lexicon.",
    ],
}

TorchBatch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """An example and what the network made of it."""

    example: Example
    window: Window


def main() -> None:
    """Train, measure, write; say which digest goes into `models.features`."""
    parser = argparse.ArgumentParser(prog="python -m models.train_message_guard")
    parser.add_argument("--service", required=True, type=Path, help="service messages, CSV.GZ")
    parser.add_argument("--out", default=FOLDER, type=Path, help="folder for the head")
    parser.add_argument("--seed", default=0, type=int)
    asked = parser.parse_args()
    try:
        _make(asked)
    except (UndertoneError, OSError) as error:
        sys.stderr.write(f"train_message_guard: {error}\n")
        sys.exit(1)


def _make(asked: argparse.Namespace) -> None:
    examples = read_examples()  # 1
    honest = [text for text in service_messages(asked.service) if is_tuning(text)]
    reader = PieceReader.load()
    read = read_all(reader, examples)  # 2
    whole = fit(read, seed=asked.seed)  # 3
    head = replace(whole, threshold=threshold(whole, reader, honest))  # 4
    figures = cross_validated(read, head.threshold, seed=asked.seed)  # 5
    save_file(_tensors(head), asked.out / FILE)
    counts = Counter(e.pattern or HONEST for e in examples)
    card = {
        "examples": dict(sorted(counts.items())),
        "figures": {"each kind of company unseen": figures},
        "seed": asked.seed,
        "threshold": head.threshold,
        **ABOUT,
    }
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    (asked.out / CARD).write_text(text, encoding="utf-8")
    digest = hashlib.sha256((asked.out / FILE).read_bytes()).hexdigest()
    sys.stdout.write(f"{FILE} {digest}\n")


# -- 1 and 2: what is read ----------------------------------------------------------------


def is_tuning(key: str) -> bool:
    """Return whether a text, or a page, is of the half that choices may be made on."""
    return hashlib.sha256(key.encode()).digest()[0] % 2 == 0


def service_messages(path: Path) -> list[str]:
    """Return the texts of the table, each once, in order.

    Raises:
        TrainingInvalid: It cannot be read, or has no column `text`.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            return list(dict.fromkeys(row["text"] for row in csv.DictReader(lines)))
    except KeyError as error:
        raise TrainingInvalid(f"{path} has no column text") from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingInvalid(f"{path} cannot be read: {type(error).__name__}") from error


def read_all(reader: PieceReader, examples: Sequence[Example]) -> list[Read]:
    """Return the examples with the vectors of their word pieces, read as a node would."""
    return [
        Read(example=example, window=reader.read(as_read(example.text).text)[0][0])
        for example in examples
    ]


# -- 3 and 4: the head --------------------------------------------------------------------


class _Network(torch.nn.Module):
    """Hidden layer on each piece, mean over neighbours, the largest over the message."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3 * WIDTH, INNER)
        self.outer = torch.nn.Linear(INNER, len(KINDS))
        self.dropped = torch.nn.Dropout(1 - KEPT)

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits `(message, 1 + kind)` of vectors `(message, piece, 3 x 384)`."""
        each = self.outer(torch.relu(self.inner(self.dropped(vectors))))
        # a message of fewer pieces than a phrase is the mean of those that it has
        there = torch.arange(each.shape[1])[None] < lengths[:, None]
        sums = (each * there[..., None]).unfold(1, PHRASE, 1).sum(-1)
        means = sums / lengths.clamp_max(PHRASE)[:, None, None]
        whole = torch.arange(sums.shape[1])[None] < (lengths - PHRASE + 1).clamp_min(1)[:, None]
        most = means.masked_fill(~whole[..., None], -torch.inf).max(1).values
        return torch.cat([torch.zeros(len(most), 1), most], dim=1)


def fit(read: Sequence[Read], *, seed: int) -> GuardHead:
    """Return the head that was taught these examples, its threshold still at a half."""
    torch.manual_seed(seed)
    network = _Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    labels = torch.tensor([_label(r.example.pattern) for r in read])
    for _ in range(EPOCHS):
        for places in torch.split(torch.randperm(len(read)), BATCH):
            logits = network(*_padded([read[place].window for place in places]))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, labels[places]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    inner, inner_bias, outer, outer_bias = map(_shipped, network.parameters())
    return GuardHead(
        inner=inner.T, inner_bias=inner_bias, outer=outer.T, outer_bias=outer_bias, threshold=0.5
    )


def threshold(head: GuardHead, reader: PieceReader, honest: Sequence[str]) -> float:
    """Return the least probability that takes few enough honest messages."""
    scores = [score(head, reader.read(as_read(text).text)[0]) for text in honest]
    return round(float(np.quantile(scores, 1 - FALSE_ALARMS)), 4)


def score(head: GuardHead, windows: Sequence[Window]) -> float:
    """Return the probability of the likeliest phrase of a message to a customer."""
    return max((p.score for p in phrases(head, windows, Audience.CUSTOMER)), default=0.0)


def _padded(windows: Sequence[Window]) -> TorchBatch:
    lengths = torch.tensor([len(window.offsets) for window in windows])
    longest = max(PHRASE, int(lengths.max()))
    vectors = torch.zeros(len(windows), longest, 3 * WIDTH)
    for place, window in enumerate(windows):
        vectors[place, : len(window.offsets)] = torch.from_numpy(window.vectors)
    return vectors, lengths


def _label(pattern: Pattern | None) -> int:
    return 0 if pattern is None else 1 + KINDS.index(pattern)


def _shipped(value: torch.Tensor) -> npt.NDArray[np.float32]:
    """Return the value as it will be read back from 16 bits, so that figures are of the file."""
    kept: npt.NDArray[np.float32] = value.detach().numpy().astype(np.float16).astype(np.float32)
    return kept


def _tensors(head: GuardHead) -> dict[str, npt.NDArray[Any]]:
    names = ("inner", "inner_bias", "outer", "outer_bias")
    halved = {name: np.ascontiguousarray(getattr(head, name), np.float16) for name in names}
    return {**halved, "threshold": np.array([head.threshold], np.float32)}


# -- 5: what it finds ---------------------------------------------------------------------


def cross_validated(read: Sequence[Read], sure: float, *, seed: int) -> dict[str, Any]:
    """Return, for each pattern and for honest messages, the share taken by heads new to them."""
    taken, there = Counter[str](), Counter[str]()
    for domain in sorted({r.example.domain for r in read}):
        sys.stderr.write(f"without {domain}\n")
        head = fit([r for r in read if r.example.domain != domain], seed=seed)
        for r in read:
            if r.example.domain == domain:
                name = r.example.pattern or HONEST
                (found,) = phrases(head, [r.window], Audience.AGENT)
                there[name] += 1
                taken[name] += found.score >= sure
    return {name: round(taken[name] / count, 3) for name, count in sorted(there.items())}


if __name__ == "__main__":
    main()
