"""Trains the public base: `python -m models.train_base --data goemotions.csv.gz`.

    1 read       GoEmotions; a tenth of train is kept apart, for every choice made afterwards
    2 adapter    low-rank matrices in the encoder (PEFT), by binary cross-entropy on 28 labels
    3 features   of all comments, by the 8-bit encoder that nodes run
    4 heads      one linear head for each label set; penalty chosen on the tenth
    5 thresholds for the 28 labels, on the tenth; temperatures for the other heads, there too
    6 card       every figure on dev, which nothing was chosen on

It needs the extra `train` and, on two cores without a GPU, about an hour. `--adapter` goes on
from step 3 with an adapter that is there already.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import f1_score

from models.calibration import (
    best_temperature,
    error_at_coverage,
    expected_calibration_error,
    threshold_at_coverage,
)
from models.encoder import Encoder, find_encoder
from models.encoder_graph import WIDTH
from models.errors import TrainingInvalid
from models.heads import softmax
from models.label_sets import GOEMOTIONS, LabelSet, label_sets
from models.pretrained import ADAPTER, CARD, FOLDER, HEADS, SCALE, Tensors
from policies.errors import UndertoneError
from policies.redacted import PublicText

RANK = 16
EPOCHS, BATCH = 3, 64
ADAPTER_RATE, HEAD_RATE = 8e-4, 2e-3
SHARPNESS = 20.0
"""What multiplies a unit vector before the head, so that its weights need not grow for it."""
HIDDEN_WORDS, HIDDEN_FEATURES = 0.07, 0.1
"""Shares of word pieces and of features that training hides: dropout where it is cheap."""
REMEMBERED = 0.998
"""Share of the running mean of the adapter that a step keeps; the mean is what ships."""
KEPT_APART = 0.1
LONGEST = 64
_FIRST_WORD = 110  # pieces below are marks of the vocabulary, or letters that stand for nothing

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
COVERAGE = 0.8
ABOUT = {
    "data": "GoEmotions (Demszky et al. 2020), Reddit comments, 28 labels",
    "licence": "Apache-2.0: the data, the encoder, and what was made of them",
    "method": "low-rank adaptation of all-MiniLM-L6-v2, 8-bit features, linear heads",
    "choices": "penalty, thresholds, temperature and abstention on a tenth of train kept apart",
    "figures_are_of": "dev, on which nothing was fitted; two ways to find thresholds were compared",
    "known_failures": [
        "English only; irony, and coarse but friendly words, are read by their surface.",
        "Raters disagree on GoEmotions: its labels are one person's guess at another's words.",
        "Reddit is not a service desk: requests are rarer there, thanks and complaints franker.",
        "grief, relief, pride and nervousness were taught by fewer than two hundred texts each.",
    ],
}

FloatArray = npt.NDArray[np.float64]
Features = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comments:
    """Texts with their labels `(text, 28)`, 0 or 1."""

    texts: tuple[str, ...]
    labels: npt.NDArray[np.float32]


def read(path: Path) -> dict[str, Comments]:
    """Return train, apart (of train) and dev, of a gzipped CSV with text, labels and split.

    Raises:
        TrainingInvalid: The file cannot be read, lacks a column or a part, or has a label that
            GoEmotions has not; says which.
    """
    parts: dict[str, list[dict[str, str]]] = {"train": [], "apart": [], "dev": []}
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                apart = row["split"] == "train" and _draw(row["text"]) < KEPT_APART
                parts["apart" if apart else row["split"]].append(row)
        return {name: _comments(rows) for name, rows in parts.items()}
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingInvalid(f"{path} cannot be read: {type(error).__name__}") from error
    except KeyError as error:
        raise TrainingInvalid(
            f"{path} has no {error}: columns are text, labels, split; splits are train and dev"
        ) from error


def _draw(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _comments(rows: Sequence[Mapping[str, str]]) -> Comments:
    places = {name: place for place, name in enumerate(label_sets()[GOEMOTIONS].names)}
    labels = np.zeros((len(rows), len(places)), np.float32)
    if not rows:
        raise TrainingInvalid("no comments in one of the parts: train and dev are needed")
    for number, row in enumerate(rows):
        for label in row["labels"].split(";"):
            labels[number, places[label]] = 1
    return Comments(texts=tuple(" ".join(row["text"].split()) for row in rows), labels=labels)


# -- 2 the adapter ------------------------------------------------------------------------


def train_adapter(
    comments: Comments, apart: Comments, *, seed: int, epochs: int
) -> dict[str, npt.NDArray[Any]]:
    """Return A and B for each matrix of the encoder, in 16 bits.

    They are the running mean over the steps, as it stood after the epoch that made the labels of
    the comments apart likeliest.
    """
    torch.manual_seed(seed)
    tokenizer, network = _network()
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


def _network() -> tuple[Any, Any]:
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


# -- 3 to 5 features, heads, thresholds ---------------------------------------------------


def features_of(texts: Sequence[str], adapter: Tensors) -> npt.NDArray[np.float32]:
    """Return the features of the texts as a node with this adapter has them."""
    encoder, size = Encoder.load(adapter=adapter), 256
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        rows = pool.map(lambda part: encoder.encode([PublicText(text=t) for t in part]), parts)
        return np.concatenate(list(rows))


def fit_head(
    features: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
    *,
    penalty: float,
    exclusive: bool,
) -> FloatArray:
    """Return weights `(feature, label)` by L-BFGS: softmax where labels exclude each other.

    Exclusive labels weigh by the inverse root of how often they come, so that the rare ones are
    not unlearnt; the penalty is on the mean square of the weights.
    """
    rows, wanted = torch.tensor(features), torch.tensor(targets)
    weights = torch.zeros(rows.shape[1], wanted.shape[1], requires_grad=True)
    share = wanted.mean(0).clamp_min(1e-4).rsqrt()
    importance = (wanted * share).sum(1)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = rows @ weights
        if exclusive:
            each = -(wanted * logits.log_softmax(1)).sum(1)
            value = (each * importance).sum() / importance.sum()
        else:
            value = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        value = value + penalty * weights.square().mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy().astype(np.float64)


def best_thresholds(logits: FloatArray, labels: npt.NDArray[np.float32]) -> FloatArray:
    """Return for each label the logit at which the expected F1 is largest.

    Expected under probabilities that were made honest on these comments (Lipton, Elkan,
    Naryanaswamy 2014): a rare label has too few of them for its counted F1 to say much.
    """
    columns = zip(logits.T, labels.T, strict=True)
    return np.array([_best_threshold(column, truth) for column, truth in columns])


def _best_threshold(logits: FloatArray, truth: npt.NDArray[np.float32]) -> float:
    slope, shift = _platt(logits, truth)
    order = np.argsort(-logits)
    likely = expit(slope * logits[order] + shift)
    answered = np.arange(1, len(logits) + 1)
    expected = 2 * np.cumsum(likely) / (answered + likely.sum())
    last = int(expected.argmax())
    return float(logits[order][last : last + 2].mean())


def _platt(logits: FloatArray, truth: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return slope and shift of the likeliest logistic curve, drawn a little to (1, 0)."""

    def surprise(curve: FloatArray) -> float:
        drawn = curve[0] * logits + curve[1]
        prior = 4 * (curve[0] - 1) ** 2 + curve[1] ** 2
        return float(np.logaddexp(0, drawn).sum() - (truth * drawn).sum() + prior)

    slope, shift = minimize(surprise, np.array([1.0, 0.0])).x
    return float(slope), float(shift)


def gathered(labels: npt.NDArray[np.float32], wanted: LabelSet) -> npt.NDArray[np.int64]:
    """Return for each comment the place of its one label in the set, -1 where there is none."""
    names = np.array(label_sets()[GOEMOTIONS].names)
    found = [wanted.gather(frozenset(names[row > 0])) for row in labels]
    return np.array([-1 if name is None else wanted.names.index(name) for name in found])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A head `(feature, label)`, and the confidence below which it had better abstain."""

    weights: FloatArray
    penalty: float
    abstain_below: float | None = None
    thresholds: FloatArray | None = None


def fit_many(features: Features, comments: dict[str, Comments]) -> Fitted:
    """Return the head for the 28 labels, several of which may hold at once."""
    apart = comments["apart"].labels
    tried = {}
    for penalty in PENALTIES:
        weights = fit_head(
            features["train"], comments["train"].labels, penalty=penalty, exclusive=False
        )
        logits = features["apart"] @ weights
        likely = np.logaddexp(0, logits) - apart * logits
        tried[penalty] = (float(likely.mean()), weights, logits)
    best = min(tried, key=lambda penalty: tried[penalty][0])
    _, weights, logits = tried[best]
    return Fitted(weights=weights, penalty=best, thresholds=best_thresholds(logits, apart))


def fit_one(features: Features, comments: dict[str, Comments], wanted: LabelSet) -> Fitted:
    """Return the head for a set whose labels exclude each other, its confidence made honest."""
    truth = {name: gathered(part.labels, wanted) for name, part in comments.items()}
    known = {name: places >= 0 for name, places in truth.items()}
    one_of = np.eye(len(wanted.labels), dtype=np.float32)
    rows, right = features["train"][known["train"]], one_of[truth["train"][known["train"]]]
    apart, wanted_apart = features["apart"][known["apart"]], truth["apart"][known["apart"]]
    tried = {}
    for penalty in PENALTIES:
        weights = fit_head(rows, right, penalty=penalty, exclusive=True)
        said = (apart @ weights).argmax(axis=1)
        tried[penalty] = (f1_score(wanted_apart, said, average="macro"), weights)
    best = max(tried, key=lambda penalty: tried[penalty][0])
    logits = (apart @ tried[best][1]).astype(np.float64)
    weights = tried[best][1] / best_temperature(logits, wanted_apart)
    sure = threshold_at_coverage(softmax(apart @ weights), COVERAGE)
    return Fitted(weights=weights, penalty=best, abstain_below=sure)


# -- 6 the card ---------------------------------------------------------------------------


def figures(
    features: Features, comments: dict[str, Comments], heads: dict[str, Fitted]
) -> dict[str, Any]:
    """Return what the card says, all of it from dev."""
    dev, found = comments["dev"], dict[str, Any]()
    for name, wanted in label_sets().items():
        head = heads[name]
        logits = features["dev"] @ head.weights
        if head.thresholds is not None:
            found[name] = _many_figures(logits > head.thresholds, dev.labels, wanted)
        else:
            truth = gathered(dev.labels, wanted)
            found[name] = _one_figures(softmax(logits)[truth >= 0], truth[truth >= 0], wanted)
            found[name]["abstain_below"] = round(head.abstain_below or 0.0, 4)
        found[name]["penalty"] = head.penalty
    return found


def _many_figures(said: Any, labels: npt.NDArray[np.float32], wanted: LabelSet) -> dict[str, Any]:
    by_label = f1_score(labels, said, average=None, zero_division=0)
    return {
        "texts": len(labels),
        "macro_f1": round(float(by_label.mean()), 4),
        "micro_f1": round(float(f1_score(labels, said, average="micro")), 4),
        "by_label": _table(wanted, by_label, labels.sum(0)),
    }


def _one_figures(
    probabilities: FloatArray, truth: npt.NDArray[np.int64], wanted: LabelSet
) -> dict[str, Any]:
    by_label = f1_score(truth, probabilities.argmax(axis=1), average=None, zero_division=0)
    counts = np.bincount(truth, minlength=len(wanted.labels))
    return {
        "texts": len(truth),
        "macro_f1": round(float(by_label.mean()), 4),
        "calibration_error": round(expected_calibration_error(probabilities, truth), 4),
        "error": round(error_at_coverage(probabilities, truth, 1.0), 4),
        "error_at_80_percent": round(error_at_coverage(probabilities, truth, COVERAGE), 4),
        "by_label": _table(wanted, by_label, counts),
    }


def _table(wanted: LabelSet, scores: Any, counts: Any) -> dict[str, dict[str, float]]:
    rows = zip(wanted.names, scores, counts, strict=True)
    return {name: {"f1": round(float(f1), 4), "texts": int(n)} for name, f1, n in rows}


def write(folder: Path, heads: dict[str, Fitted], card: dict[str, Any]) -> None:
    """Write heads and card; the adapter is there already."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, head in heads.items():
        tensors[name] = head.weights.astype(np.float16)
        if head.thresholds is not None:
            tensors[f"{name}.thresholds"] = head.thresholds.astype(np.float32)
        if head.abstain_below is not None:
            tensors[f"{name}.abstain_below"] = np.array([head.abstain_below], np.float32)
    save_file(tensors, folder / HEADS)
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(_for_people(card), encoding="utf-8")


def _for_people(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    stated = ("data", "licence", "method", "choices", "figures_are_of", "seed")
    lines = ["# Card of the public base", ""]
    lines += [f"- **{name.replace('_', ' ')}**: {card[name]}" for name in stated]
    lines += ["", "## Known failures", "", *(f"- {line}" for line in card["known_failures"])]
    for name, found in card["figures"].items():
        lines += ["", f"## {name}", ""]
        lines += [f"- {key}: {value}" for key, value in found.items() if key != "by_label"]
        lines += ["", "| label | F1 | texts |", "|---|---|---|"]
        lines += [f"| {k} | {v['f1']:.3f} | {v['texts']} |" for k, v in found["by_label"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, measure, write; say which digests go into `models.features`."""
    parser = argparse.ArgumentParser(prog="python -m models.train_base", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="GoEmotions, CSV.GZ")
    parser.add_argument("--out", default=FOLDER, type=Path, help="folder for the base")
    parser.add_argument("--epochs", default=EPOCHS, type=int)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--adapter", type=Path, help="go on with an adapter that is there")
    asked = parser.parse_args()
    try:
        _make(asked)
    except (UndertoneError, ModuleNotFoundError, OSError) as error:
        sys.stderr.write(f"train_base: {error}\n")
        sys.exit(1)


def _make(asked: argparse.Namespace) -> None:
    comments = read(asked.data)  # 1
    if asked.adapter is None:
        adapter = train_adapter(  # 2
            comments["train"], comments["apart"], seed=asked.seed, epochs=asked.epochs
        )
        save_file(adapter, asked.out / ADAPTER)
    else:
        adapter = load_file(asked.adapter)
    features = {name: features_of(part.texts, adapter) for name, part in comments.items()}  # 3
    heads = {
        name: fit_many(features, comments)
        if name == GOEMOTIONS
        else fit_one(features, comments, wanted)
        for name, wanted in label_sets().items()
    }  # 4, 5
    card = {"figures": figures(features, comments, heads), "seed": asked.seed, **ABOUT}  # 6
    write(asked.out, heads, card)
    for name in (ADAPTER, HEADS):
        digest = hashlib.sha256((asked.out / name).read_bytes()).hexdigest()
        sys.stdout.write(f"{name} {digest}\n")


def _tell(line: str, started: float, done: float) -> None:
    left = (time.monotonic() - started) * (1 / done - 1)
    end = "\n" if done >= 1 else "\r"
    sys.stderr.write(f"{line}, about {left / 60:.0f} min left   {end}")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
