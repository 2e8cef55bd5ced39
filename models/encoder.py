"""The frozen public text encoder: redacted or published text in, features of norm one out.

all-MiniLM-L6-v2 (Reimers & Gurevych; Apache-2.0), mean of the word pieces, unit length, then a
constant: `[embedding, 1] / sqrt(2)`. The constant stands in for a bias, and the fixed norm
keeps the gradient of every turn bounded, so that clipping bites little.

The weights are the published ones (`models.encoder_files`), made 8-bit (`models.encoder_graph`)
and run by ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.encoder_files import find_encoder, load_tokenizer, load_weights, start_session
from models.errors import TextRejected
from models.features import FEATURES, FEATURES_DIGEST, GRAPH_DIGEST, LONGEST
from models.graph_cache import kept_graph
from models.pretrained import Tensors, adapted, load_adapter
from policies.redacted import PublicText, RedactedText
from policies.vocabulary import Digest

MAX_PIECES = LONGEST
"""Word pieces read of a text, ends included; the rest is cut off."""

_MAX_CHARACTERS = 100 * MAX_PIECES  # a word of more than 100 characters is one unknown piece
_ENDS = 2
_MASK = "[MASK]"


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
        cls,
        path: Path | None = None,
        *,
        threads: int = 1,
        adapter: Tensors | None = None,
        graphs: Path | None = None,
    ) -> Encoder:
        """Load the encoder from `find_encoder(path)` and check its bytes.

        Args:
            path: The folder; None looks in the usual places.
            threads: How many a text may use.
            adapter: Another adapter than the shipped one, to train or compare: its features
                have a name of their own, which no release takes.
            graphs: Where the made graph is kept between starts (`models.graph_cache`).

        Raises:
            EncoderRejected: It is not there, its bytes are not the published ones, or its
                other files do not fit.
        """
        folder = find_encoder(path)
        tokenizer = load_tokenizer(folder)
        tokenizer.enable_truncation(MAX_PIECES)
        if adapter is None:
            graph = kept_graph(graphs, GRAPH_DIGEST, lambda: _made(folder, load_adapter()))
        else:
            graph = _made(folder, adapter)
        return cls(
            digest=FEATURES_DIGEST if adapter is None else Digest("other"),
            _tokenizer=tokenizer,
            _session=start_session(graph, threads=threads),
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


def _made(folder: Path, adapter: Tensors) -> bytes:
    from models.encoder_graph import encoder_graph  # noqa: PLC0415 (none where one is kept)

    return encoder_graph(adapted(load_weights(folder), adapter))


def _clean(text: str) -> str:
    """Return the text with single spaces, bounded in length, and valid as UTF-8."""
    head = " ".join(text[: 4 * _MAX_CHARACTERS].split())[:_MAX_CHARACTERS]
    return head.encode("utf-8", "replace").decode("utf-8")
