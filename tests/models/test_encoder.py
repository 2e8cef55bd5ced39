"""Claims about the frozen encoder: only the published bytes run, and rows have norm one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.encoder import MAX_PIECES, Encoder
from models.encoder_files import find_encoder, load_weights
from models.errors import EncoderRejected, TextRejected
from models.features import ENCODER_DIGEST, FEATURES, FEATURES_DIGEST
from policies.redacted import RedactedText

HUB = "models--sentence-transformers--all-MiniLM-L6-v2"
CALM = "Thank you, that is all I needed."
ANGRY = "I have been waiting for an hour and nobody answers!"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Load the encoder once."""
    return Encoder.load()


def said(*texts: str) -> list[RedactedText]:
    """Return the texts as redaction would leave them."""
    return [RedactedText(text=text) for text in texts]


def test_encoder_gives_rows_of_norm_one(encoder: Encoder) -> None:
    """Each row is 384 numbers and a constant, together of norm one."""
    rows = encoder.encode(said(ANGRY, CALM))
    assert rows.shape == (2, FEATURES)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1])
    assert rows[:, -1] == pytest.approx([0.5**0.5] * 2)
    assert encoder.digest == FEATURES_DIGEST


def test_encoder_does_not_mix_texts_in_a_batch(encoder: Encoder) -> None:
    """A text has the same row alone, among others, and in another order."""
    texts = said(*(f"{CALM} {'again ' * (n % 7)}" for n in range(36)), ANGRY)
    together, backwards = encoder.encode(texts), encoder.encode(texts[::-1])
    assert np.array_equal(together, backwards[::-1])
    assert np.array_equal(together[-1], encoder.encode(said(ANGRY))[0])


def test_encoder_tells_meanings_apart(encoder: Encoder) -> None:
    """Two complaints are nearer to each other than to thanks: the network runs, not chance."""
    angry, calm, other = encoder.encode(said(ANGRY, CALM, "I waited for hours, no answer at all."))
    assert angry @ other > angry @ calm + 0.1


def test_encoder_cuts_long_texts(encoder: Encoder) -> None:
    """What lies beyond the last word piece changes nothing, and costs nothing."""
    head = "late " * MAX_PIECES
    rows = encoder.encode(said(head + CALM * 100_000, head, "x" * 1_000_000))
    assert np.abs(rows[0] - rows[1]).max() < 1e-6
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("text", ["\ud800 hello", "\x00", "😀", "Ünïcödé 東京", "[MASK]", "a\n\tb"])
def test_encoder_survives_strange_texts(encoder: Encoder, text: str) -> None:
    """Lone surrogates, control characters and other scripts give a row or a clean refusal."""
    try:
        row = encoder.encode(said(text))[0]
    except TextRejected:
        return
    assert np.linalg.norm(row) == pytest.approx(1)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b"])
def test_encoder_refuses_a_text_without_words(encoder: Encoder, text: str) -> None:
    """An empty text has no features; the message names its place and none of the words."""
    with pytest.raises(TextRejected, match="text 1 of 2") as caught:
        encoder.encode(said("Anna is angry", text))
    assert "Anna" not in str(caught.value)


def test_encoder_of_no_texts_is_empty(encoder: Encoder) -> None:
    """No turns give no rows."""
    assert encoder.encode([]).shape == (0, FEATURES)


def test_encoder_masks_spans(encoder: Encoder) -> None:
    """Masking a word moves the row, and masking the only word is no error."""
    text = said(ANGRY)[0]
    rows = encoder.encode_without(text, [(0, 1), (len(ANGRY) - 8, len(ANGRY))])
    assert np.abs(rows - encoder.encode([text])).max(axis=1).min() > 1e-3
    assert encoder.encode_without(said("angry")[0], [(0, 5)]).shape == (1, FEATURES)


def test_encoder_refuses_changed_bytes(tmp_path: Path) -> None:
    """One flipped bit in the weights, and nothing is loaded; expected and got are named."""
    folder = tmp_path / "encoder"
    shutil.copytree(find_encoder(None), folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(EncoderRejected, match=f"expected sha256 {ENCODER_DIGEST}, got [0-9a-f]+"):
        Encoder.load(folder)


def test_weights_are_shared_while_held_and_checked_again_after(tmp_path: Path) -> None:
    """Two parts that load together read the file once; who comes later sees what it is then."""
    shutil.copy(find_encoder(None) / "model.safetensors", tmp_path)
    first = load_weights(tmp_path)
    assert load_weights(tmp_path) is first
    del first
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(EncoderRejected, match=f"expected sha256 {ENCODER_DIGEST}"):
        load_weights(tmp_path)


def test_encoder_refuses_another_tokenizer_beside_it(tmp_path: Path) -> None:
    """Weights without the files that belong to them are refused."""
    shutil.copy(find_encoder(None) / "model.safetensors", tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderRejected, match="cannot be read"):
        Encoder.load(tmp_path)


def test_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A configured path without weights is refused, never silently replaced by another."""
    with pytest.raises(EncoderRejected, match=str(tmp_path)):
        find_encoder(tmp_path)


def test_encoder_is_found_in_the_cache_before_the_wheel(tmp_path: Path) -> None:
    """A snapshot in the Hugging Face cache is found by the cache's documented layout."""
    snapshot = tmp_path / "hub" / HUB / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    assert find_encoder(None, environ={"HF_HOME": str(tmp_path)}) == snapshot
    assert find_encoder(None, environ={"HF_HUB_CACHE": str(tmp_path / "hub")}) == snapshot
    assert find_encoder(None, environ={"HF_HOME": str(tmp_path / "none")}).name == "model"
