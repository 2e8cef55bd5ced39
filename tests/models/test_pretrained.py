"""Claims about the shipped base: these very files, small, and as good as their card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.base_card import README, figures, for_people
from models.encoder import Encoder
from models.errors import EncoderRejected
from models.features import ADAPTER_DIGEST, FEATURES, HEADS_DIGEST
from models.goemotions import read
from models.head_fitting import Fitted
from models.heads import softmax
from models.label_sets import GOEMOTIONS, label_sets
from models.pretrained import (
    ADAPTER,
    CARD,
    FOLDER,
    HEADS,
    adapted,
    load_adapter,
    load_tensors,
    public_head,
)
from models.train_base import features_of
from policies.redacted import RedactedText
from policies.vocabulary import Digest

SENTIMENT = label_sets()["sentiment"].names


def card() -> dict[str, Any]:
    """Return the shipped card."""
    found: dict[str, Any] = json.loads((FOLDER / CARD).read_text())
    return found


def test_base_is_small_enough_for_a_shop() -> None:
    """All that ships is at most 2 MB together."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000


def test_card_names_every_file_that_ships() -> None:
    """Nothing ships without a word on what it is, and the card for people is made of the other."""
    shipped = {path.name for path in FOLDER.iterdir()} - {CARD, README}
    assert set(card()["files"]) == shipped
    assert (FOLDER / README).read_text(encoding="utf-8") == for_people(card())


def test_card_states_what_the_base_is_for() -> None:
    """Data, licence, figures by label and known failures are on the card, and the aims are met."""
    said = card()
    assert "Apache-2.0" in said["licence"]
    assert said["known_failures"]
    stated = said["figures"]
    assert set(stated) == set(label_sets())
    assert stated[GOEMOTIONS]["macro_f1"] >= 0.53
    for name in ("ekman", "service", "sentiment"):
        assert stated[name]["calibration_error"] <= 0.05
        assert stated[name]["error_at_80_percent"] <= stated[name]["error"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_shipped_files_give_the_figures_of_the_card(shared: Path) -> None:
    """Every figure of the card comes out again, from the shipped files and dev."""
    comments = {"dev": read(shared / "data" / "text" / "goemotions.csv.gz")["dev"]}
    features = {"dev": features_of(comments["dev"].texts, load_adapter())}
    again = figures(features, comments, shipped_heads())
    stated = card()["figures"]
    for name, found in again.items():
        for figure, value in found.items():
            if isinstance(value, float) and figure != "penalty":
                assert value == pytest.approx(stated[name][figure], abs=0.004), (name, figure)


def shipped_heads() -> dict[str, Fitted]:
    """Return the shipped heads as the training has them."""
    tensors = load_file(FOLDER / HEADS)
    found = {}
    for name in label_sets():
        sure, cuts = tensors.get(f"{name}.abstain_below"), tensors.get(f"{name}.thresholds")
        found[name] = Fitted(
            weights=tensors[name].astype(np.float64),
            penalty=0.0,
            abstain_below=None if sure is None else float(sure[0]),
            thresholds=None if cuts is None else cuts.astype(np.float64),
        )
    return found


def test_public_head_reads_plain_cases() -> None:
    """Thanks is positive, anger is negative, a question is neither."""
    head = public_head(SENTIMENT)
    assert head is not None
    texts = ["Thank you so much, you saved my day!", "This is awful, I am furious with you."]
    texts += ["What time does the office in the high street open?"]
    rows = Encoder.load().encode([RedactedText(text=text) for text in texts])
    said = [
        SENTIMENT[place]
        for place in softmax((rows @ head.weights).astype(np.float64)).argmax(axis=1)
    ]
    assert said == ["positive", "negative", "neutral"]


def test_public_head_follows_the_order_of_the_labels() -> None:
    """Columns stand as they are asked for; labels that no set has get no head."""
    forward, backward = public_head(SENTIMENT), public_head(SENTIMENT[::-1])
    assert forward is not None
    assert backward is not None
    assert forward.weights.shape == (FEATURES, 3)
    assert np.array_equal(forward.weights, backward.weights[:, ::-1])
    assert public_head(("happy", "sad")) is None
    assert public_head(SENTIMENT[:2]) is None


def test_adapter_that_does_not_fit_is_refused() -> None:
    """A matrix for no layer, or of another width, is no adapter of this encoder."""
    weights = {"encoder.layer.0.output.dense.weight": np.zeros((4, 4), np.float32)}
    low = np.ones((2, 4), np.float16)
    good = {"encoder.layer.0.output.dense.A": low, "encoder.layer.0.output.dense.B": low.T}
    merged = adapted(weights, good)
    assert np.array_equal(merged["encoder.layer.0.output.dense.weight"], np.full((4, 4), 4.0))
    for wrong in (
        {"other.A": low, "other.B": low.T},
        {"encoder.layer.0.output.dense.B": low.T},
        good | {"encoder.layer.0.output.dense.A": low[:, :3]},
    ):
        with pytest.raises(EncoderRejected, match="does not fit"):
            adapted(weights, wrong)


@pytest.mark.parametrize(("name", "expected"), [(ADAPTER, ADAPTER_DIGEST), (HEADS, HEADS_DIGEST)])
def test_changed_base_is_refused(tmp_path: Path, name: str, expected: Digest) -> None:
    """One flipped bit, or no file, and nothing is loaded; the line names both hashes."""
    data = bytearray((FOLDER / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(EncoderRejected, match=f"expected sha256 {expected}, got [0-9a-f]+"):
        load_tensors(tmp_path / name, expected)
    with pytest.raises(EncoderRejected, match="cannot read"):
        load_tensors(tmp_path / "none", expected)
