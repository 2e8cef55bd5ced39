"""Claims about the training of the public base, on a handful of made-up comments."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from models.adapter_training import train_adapter
from models.encoder_files import find_encoder
from models.goemotions import KEPT_APART, Comments, gathered, read
from models.head_fitting import best_thresholds, fit_head
from models.label_sets import GOEMOTIONS, label_sets
from models.pretrained import adapted
from models.train_base import main

NAMES = label_sets()[GOEMOTIONS].names
MADE_UP = {
    "gratitude": "Thanks a lot, that was kind of you number {}.",
    "anger": "This makes me so angry, for the {}th time!",
    "neutral": "The shop is at number {} in the high street.",
}


def comments(count: int) -> Comments:
    """Return made-up comments with their labels."""
    texts: list[str] = []
    labels = np.zeros((count * len(MADE_UP), len(NAMES)), np.float32)
    for number in range(count):
        for label, text in MADE_UP.items():
            labels[len(texts), NAMES.index(label)] = 1
            texts.append(text.format(number))
    return Comments(texts=tuple(texts), labels=np.clip(labels, 1e-3, 1 - 1e-3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of PEFT's use
def test_adapter_fits_the_encoder_and_moves_it() -> None:
    """A few steps give matrices for every layer, which change the weights they belong to."""
    adapter = train_adapter(comments(64), comments(8), seed=1, epochs=1)
    assert len(adapter) == 2 * 6 * 6
    assert {value.dtype for value in adapter.values()} == {np.dtype(np.float16)}
    weights = load((find_encoder() / "model.safetensors").read_bytes())
    merged = adapted(weights, adapter)
    name = "encoder.layer.5.output.dense.weight"
    assert merged[name].shape == weights[name].shape
    assert not np.array_equal(merged[name], weights[name])
    assert np.array_equal(
        merged["encoder.layer.5.output.dense.bias"], weights["encoder.layer.5.output.dense.bias"]
    )


def test_read_keeps_a_tenth_of_train_apart(tmp_path: Path) -> None:
    """Which comments are apart depends on their text alone, and dev is never among them."""
    path = tmp_path / "comments.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "labels", "split"])
        writer.writeheader()
        for number in range(600):
            split = "dev" if number % 6 == 0 else "train"
            writer.writerow({"text": f"comment\n{number}", "labels": "joy;love", "split": split})
    parts = read(path)
    assert {name: len(part.texts) for name, part in parts.items()} | {"apart": 0, "train": 0} == {
        "train": 0,
        "apart": 0,
        "dev": 100,
    }
    assert len(parts["apart"].texts) == pytest.approx(500 * KEPT_APART, abs=20)
    assert not set(parts["apart"].texts) & set(parts["train"].texts)
    assert parts["dev"].texts[0] == "comment 0"
    assert parts["dev"].labels.sum() == 200


def test_head_learns_what_can_be_told_apart() -> None:
    """Separable labels are told apart, whether or not they exclude each other."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(400, 5)).astype(np.float32)
    truth = rows[:, :3].argmax(axis=1)
    targets = np.eye(3, dtype=np.float32)[truth]
    for exclusive in (True, False):
        weights = fit_head(rows, targets, penalty=1e-5, exclusive=exclusive)
        assert ((rows @ weights).argmax(axis=1) == truth).mean() > 0.9


def test_threshold_lies_where_the_expected_f1_is_largest() -> None:
    """For honest probabilities the best threshold is half the best F1 (Lipton et al. 2014)."""
    random = np.random.default_rng(4)
    logits = random.normal(-2, 2, size=(20_000, 1))
    likely = 1 / (1 + np.exp(-logits))
    truth = (random.random(logits.shape) < likely).astype(np.float32)
    threshold = float(best_thresholds(logits, truth)[0])
    said = logits[:, 0] > threshold
    right = truth[:, 0] > 0
    f1 = 2 * (said & right).sum() / (said.sum() + right.sum())
    assert 1 / (1 + np.exp(-threshold)) == pytest.approx(f1 / 2, abs=0.03)


def test_gathered_gives_the_one_label_or_none() -> None:
    """A comment in one gathering has its place; in two, none."""
    labels = np.zeros((3, len(NAMES)), np.float32)
    labels[0, [NAMES.index("anger"), NAMES.index("annoyance")]] = 1
    labels[1, [NAMES.index("anger"), NAMES.index("joy")]] = 1
    labels[2, NAMES.index("gratitude")] = 1
    sentiment = label_sets()["sentiment"]
    assert gathered(labels, sentiment).tolist() == [0, -1, 2]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, "cannot be read"),
        ("text,split\nhello,train\n", "labels"),
        ("text,labels\nhello,joy\n", "split"),
        ("text,labels,split\nhello,joy,test\n", "test"),
        ("text,labels,split\nhello,bliss,train\n", "bliss"),
        ("text,labels,split\n", "no comments"),
    ],
)
def test_data_that_is_no_goemotions_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    written: str | None,
    said: str,
) -> None:
    """What is missing is named, exit 1, and no text of the data is repeated."""
    path = tmp_path / "data.csv.gz"
    if written is not None:
        path.write_bytes(gzip.compress(written.encode()))
    monkeypatch.setattr("sys.argv", ["train_base", "--data", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert "hello" not in err
