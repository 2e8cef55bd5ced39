"""Trains the token classifier: `python -m models.train_token_classifier --customers … `.

    1 read       marked sentences of three sets; a tenth of each is kept apart, by group
    2 vectors    of every word piece, by the layers that nodes run
    3 head       one hidden layer, by cross-entropy, on the nine tenths
    4 threshold  the lowest that takes at most one word in a hundred of the comments kept apart in
                 which annotators marked nobody
    5 card       recall on MultiDoGO's dev, which nothing was chosen on; for Presidio's templates,
                 which have no dev, each fifth by a head that was not taught it

It needs about four minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file

from models.features import WIDTH
from models.personal_sentences import (
    FOLDS,
    FOUND_BY_PATTERNS,
    Sentence,
    comments,
    customers,
    templates,
    values,
)
from models.pretrained import FOLDER
from models.token_classifier import FILE, KINDS, PieceReader, TokenHead, Window, word_scores
from policies.errors import UndertoneError

CARD = "token_classifier.json"
INNER, EPOCHS, BATCH, RATE, SLOWER = 32, 6, 1024, 3e-3, 0.6
MISSED = 2.0
"""What a missed word costs, against a word taken for nothing."""
PLAIN_CUSTOMERS, COMMENTS = 8_000, 10_000
"""How many sentences without a mark are taught: enough to know how people talk."""
FALSE_ALARMS = 0.01
_LEFT_OUT = -100  # what torch's cross-entropy ignores

ABOUT = {
    "data": "MultiDoGO (customers), presidio-research (templates), GoEmotions (comments)",
    "licence": "CDLA-Permissive-1.0, MIT, Apache-2.0; the encoder Apache-2.0",
    "method": f"{INNER} hidden units on three layers of all-MiniLM-L6-v2, 8-bit, piece by piece",
    "choices": "threshold on a tenth kept apart; layers and width compared on a fifth of train",
    "figures_are_of": "this classifier alone, without Presidio's recognisers and our patterns",
    "known_failures": [
        "English only; other scripts are not read at all.",
        "Names that are ordinary words (Rose, Will) go by what stands around them.",
        "MultiDoGO's annotators left much unmarked: what it takes there is not all false.",
        "Organisations, titles and ages were taught by a few dozen templates.",
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """A sentence and what the network made of it."""

    sentence: Sentence
    windows: Sequence[Window]


def main() -> None:
    """Train, measure, write; say which digest goes into `models.features`."""
    parser = argparse.ArgumentParser(prog="python -m models.train_token_classifier")
    parser.add_argument("--customers", required=True, type=Path, help="MultiDoGO, CSV.GZ")
    parser.add_argument("--templates", required=True, type=Path, help="presidio-research, CSV.GZ")
    parser.add_argument("--comments", required=True, type=Path, help="GoEmotions, CSV.GZ")
    parser.add_argument("--out", default=FOLDER, type=Path, help="folder for the classifier")
    parser.add_argument("--seed", default=0, type=int)
    asked = parser.parse_args()
    try:
        _make(asked)
    except (UndertoneError, OSError) as error:
        sys.stderr.write(f"train_token_classifier: {error}\n")
        sys.exit(1)


def _make(asked: argparse.Namespace) -> None:
    taught, dev = gather(asked.customers, asked.templates, asked.comments, seed=asked.seed)  # 1
    sys.stderr.write(f"reading {len(taught) + len(dev)} sentences\n")
    read, unseen = read_all(taught), read_all(dev)  # 2
    whole = fit([r for r in read if not r.sentence.apart], seed=asked.seed)  # 3
    apart = [r for r in read if r.sentence.apart and r.sentence.source == "comments"]
    head = replace(whole, threshold=threshold(apart, whole))  # 4
    figures = {  # 5
        "customers, dev": recall(unseen, head),
        "templates, cross-validated": _cross_validated(read, head.threshold, seed=asked.seed),
        "words of comments taken for nothing": round(false_alarms(apart, head), 4),
    }
    save_file(_tensors(head), asked.out / FILE)
    card = {"figures": figures, "seed": asked.seed, "threshold": head.threshold, **ABOUT}
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    (asked.out / CARD).write_text(text, encoding="utf-8")
    digest = hashlib.sha256((asked.out / FILE).read_bytes()).hexdigest()
    sys.stdout.write(f"{FILE} {digest}\n")


# -- 1 and 2: what is taught --------------------------------------------------------------


def gather(
    customers_path: Path, templates_path: Path, comments_path: Path, *, seed: int
) -> tuple[list[Sentence], list[Sentence]]:
    """Return what is taught or kept apart, and MultiDoGO's marked sentences of dev.

    Raises:
        TrainingInvalid: A file cannot be read, lacks a column, or has an unknown kind.
    """
    draw = random.Random(seed)  # noqa: S311 (a sample of public sentences, not a secret)
    typed, made_up = customers(customers_path, "train"), templates(templates_path)
    talk = comments(comments_path, values(made_up, "NAME"), draw)
    plain = [s for s in typed if not s.spans]
    taught = [
        *(s for s in typed if s.spans),
        *draw.sample(plain, min(PLAIN_CUSTOMERS, len(plain))),
        *made_up,
        *draw.sample(talk, min(COMMENTS, len(talk))),
    ]
    return taught, [s for s in customers(customers_path, "dev") if s.spans]


def read_all(sentences: Sequence[Sentence]) -> list[Read]:
    """Return the sentences with their windows, read as a node would."""
    reader = PieceReader.load()
    with ThreadPoolExecutor(max_workers=2) as pool:
        windows = pool.map(lambda s: reader.read(s.text)[0], sentences)
        return [Read(sentence=s, windows=w) for s, w in zip(sentences, windows, strict=True)]


def _labels(sentence: Sentence, window: Window) -> npt.NDArray[np.int64]:
    labels = np.zeros(len(window.offsets), np.int64)
    for start, end, kind in sentence.spans:
        place = _LEFT_OUT if kind in FOUND_BY_PATTERNS else 1 + KINDS.index(kind)
        for number, (first, last) in enumerate(window.offsets):
            if first < end and start < last:
                labels[number] = place
    return labels


# -- 3 and 4: the head --------------------------------------------------------------------


def fit(read: Sequence[Read], *, seed: int) -> TokenHead:
    """Return the head that was taught these sentences, its threshold still at a half."""
    torch.manual_seed(seed)
    pairs = [(r, w) for r in read for w in r.windows]
    vectors = torch.tensor(np.concatenate([w.vectors.astype(np.float16) for _, w in pairs]))
    labels = torch.tensor(np.concatenate([_labels(r.sentence, w) for r, w in pairs]))
    weights = torch.tensor([r.sentence.weight for r, w in pairs for _ in w.offsets])
    network = torch.nn.Sequential(
        torch.nn.Linear(3 * WIDTH, INNER), torch.nn.ReLU(), torch.nn.Linear(INNER, 1 + len(KINDS))
    )
    cost = torch.full((1 + len(KINDS),), MISSED)
    cost[0] = 1.0
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, SLOWER)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(vectors)), BATCH):
            losses = torch.nn.functional.cross_entropy(
                network(vectors[batch].float()), labels[batch], weight=cost, reduction="none"
            )
            optimizer.zero_grad()
            (losses * weights[batch]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    inner, inner_bias, outer, outer_bias = map(_shipped, network.parameters())
    return TokenHead(
        inner=inner.T, inner_bias=inner_bias, outer=outer.T, outer_bias=outer_bias, threshold=0.5
    )


def threshold(read: Sequence[Read], head: TokenHead) -> float:
    """Return the least probability that takes few enough words where nobody was marked."""
    plain = [score for r in read if not r.sentence.spans for score in _scores(r, head)]
    return round(float(np.quantile(plain, 1 - FALSE_ALARMS)), 4)


def _shipped(value: torch.Tensor) -> npt.NDArray[np.float32]:
    """Return the value as it will be read back from 16 bits, so that figures are of the file."""
    kept: npt.NDArray[np.float32] = value.detach().numpy().astype(np.float16).astype(np.float32)
    return kept


def _tensors(head: TokenHead) -> dict[str, npt.NDArray[Any]]:
    names = ("inner", "inner_bias", "outer", "outer_bias")
    halved = {name: np.ascontiguousarray(getattr(head, name), np.float16) for name in names}
    return {**halved, "threshold": np.array([head.threshold], np.float32)}


# -- 5: what it finds ---------------------------------------------------------------------


def recall(read: Sequence[Read], head: TokenHead) -> dict[str, Any]:
    """Return how much of each kind, and of all, is found to its last letter."""
    return _table(*_counted(read, head))


def false_alarms(read: Sequence[Read], head: TokenHead) -> float:
    """Return the share of words taken in sentences in which nobody was marked."""
    plain = [score for r in read if not r.sentence.spans for score in _scores(r, head)]
    return float((np.array(plain) >= head.threshold).mean())


def _cross_validated(read: Sequence[Read], sure: float, *, seed: int) -> dict[str, Any]:
    found, marked = Counter[str](), Counter[str]()
    for fold in range(FOLDS):
        sys.stderr.write(f"fold {fold + 1} of {FOLDS}\n")
        held = [r for r in read if r.sentence.source == "templates" and r.sentence.fold == fold]
        names = {r.sentence.group for r in held}
        head = fit([r for r in read if r.sentence.group not in names], seed=seed)
        there, all_of_it = _counted(held, replace(head, threshold=sure))
        found, marked = found + there, marked + all_of_it
    return _table(found, marked)


def _counted(read: Sequence[Read], head: TokenHead) -> tuple[Counter[str], Counter[str]]:
    found, marked = Counter[str](), Counter[str]()
    for r in read:
        text = r.sentence.text
        words = word_scores(text, r.windows, head)
        taken = {i for w in words if w.score >= head.threshold for i in range(w.start, w.end)}
        for start, end, kind in r.sentence.spans:
            if kind not in FOUND_BY_PATTERNS:
                marked[kind] += 1
                found[kind] += {i for i in range(start, end) if text[i].isalnum()} <= taken
    return found, marked


def _scores(r: Read, head: TokenHead) -> list[float]:
    return [word.score for word in word_scores(r.sentence.text, r.windows, head)]


def _table(found: Counter[str], marked: Counter[str]) -> dict[str, Any]:
    kinds = {k: {"marked": n, "recall": round(found[k] / n, 4)} for k, n in sorted(marked.items())}
    everything = round(found.total() / marked.total(), 4)
    return {"by_kind": kinds, "marked": marked.total(), "recall": everything}


if __name__ == "__main__":
    main()
