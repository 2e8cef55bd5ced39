"""Finds personal data in a customer's words by what stands around it: a small token classifier.

Three layers of the published encoder, without the adapter, give each word piece a vector that
knows its neighbours; the vectors of a piece and of the two beside it go through one hidden layer
to a kind of personal data, or to none. Taught by `models.train_token_classifier` on openly
licensed sentences; `base_model/token_classifier.json` says how much it finds.

It reads raw words because that is how they become redacted ones: `client_node.redaction` alone
may call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.encoder_files import find_encoder, load_tokenizer, load_weights, start_session
from models.features import LONGEST, TOKEN_CLASSIFIER_DIGEST, TOKEN_GRAPH_DIGEST, WIDTH
from models.graph_cache import kept_graph
from models.pretrained import FOLDER, load_tensors

KINDS = (
    "NAME",
    "ADDRESS",
    "LOCATION",
    "POSTCODE",
    "EMAIL_ADDRESS",
    "PHONE",
    "CREDIT_CARD",
    "ACCOUNT",
    "NATIONAL_ID",
    "REFERENCE",
    "PASSWORD",
    "USERNAME",
    "DATE",
    "AGE",
    "NRP",
    "ORGANIZATION",
    "TITLE",
)
"""What it tells apart, in the order of its outputs; output 0 stands before them: none."""
FILE = "token_classifier.safetensors"
LAYERS = 3
MAX_WINDOWS = 4
"""Runs of the network for one text; what lies beyond was not read, and is said not to be."""
OVERLAP = 16
"""Word pieces that two windows share, so that each has something around it in one of them."""

_WORD = re.compile(r"\w+(?:[.@'\N{RIGHT SINGLE QUOTATION MARK}+-]+\w+)*")
_BETWEEN = re.compile(r"[^\w\n]{1,3}")

Offsets = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Personal data at a half-open range of characters, with the probability that it is some."""

    start: int
    end: int
    kind: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """A run of word pieces: their ranges of characters, and vectors `(piece, 3 x 384)`."""

    offsets: Offsets
    vectors: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PieceReader:
    """The first layers of the encoder, giving a vector for each word piece."""

    _tokenizer: Any
    _session: Any

    @classmethod
    def load(cls, path: Path | None = None, *, graphs: Path | None = None) -> PieceReader:
        """Load the encoder from `find_encoder(path)` and check its bytes, or those of its graph.

        Raises:
            EncoderRejected: It is not there, or not the published one.
        """
        folder = find_encoder(path)
        tokenizer = load_tokenizer(folder)
        tokenizer.enable_truncation(LONGEST, stride=OVERLAP)
        graph = kept_graph(graphs, TOKEN_GRAPH_DIGEST, lambda: _made(folder))
        return cls(_tokenizer=tokenizer, _session=start_session(graph, threads=1))

    def read(self, text: str) -> tuple[list[Window], int]:
        """Return at most `MAX_WINDOWS` windows, and the character up to which they reach."""
        first = self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8"))
        runs = [first, *first.overflowing]
        windows = [self._window(run) for run in runs[:MAX_WINDOWS]]
        whole = len(runs) <= MAX_WINDOWS
        return windows, len(text) if whole else windows[-1].offsets[-1][1]

    def _window(self, run: Any) -> Window:
        pieces = np.array(run.ids, dtype=np.int64)
        hidden = self._session.run(["hidden"], {"pieces": pieces})[0][1:-1]  # ends left out
        none = np.zeros((1, WIDTH), dtype=np.float32)
        before, after = np.vstack([none, hidden])[:-1], np.vstack([hidden, none])[1:]
        return Window(offsets=tuple(run.offsets[1:-1]), vectors=np.hstack([hidden, before, after]))


def _made(folder: Path) -> bytes:
    from models.encoder_graph import encoder_graph  # noqa: PLC0415 (none where one is kept)

    return encoder_graph(load_weights(folder), layers=LAYERS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenHead:
    """The classifier on the vectors, and the probability from which a word is personal data."""

    inner: npt.NDArray[np.float32]
    inner_bias: npt.NDArray[np.float32]
    outer: npt.NDArray[np.float32]
    outer_bias: npt.NDArray[np.float32]
    threshold: float

    def probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probability of none and of each kind, `(piece, 1 + kind)`."""
        inner = np.maximum(vectors @ self.inner + self.inner_bias, 0)
        logits = inner @ self.outer + self.outer_bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: npt.NDArray[np.float32] = shares / shares.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClassifier:
    """Reader and head together; safe to share between threads."""

    reader: PieceReader
    head: TokenHead

    @classmethod
    def load(cls, path: Path | None = None, *, graphs: Path | None = None) -> TokenClassifier:
        """Load the encoder's first layers and the shipped head.

        Raises:
            EncoderRejected: A file is not there, or not the one that was published or shipped.
        """
        tensors = load_tensors(FOLDER / FILE, TOKEN_CLASSIFIER_DIGEST)
        values = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        threshold = float(values.pop("threshold")[0])
        return cls(
            reader=PieceReader.load(path, graphs=graphs),
            head=TokenHead(threshold=threshold, **values),
        )

    def find(self, text: str) -> tuple[tuple[Found, ...], int]:
        """Return the personal data of a text in order, and the character up to which it read.

        A word goes whole when one of its pieces is likely enough.
        """
        windows, reach = self.reader.read(text)
        scored = word_scores(text, windows, self.head)
        sure = [found for found in scored if found.score >= self.head.threshold]
        return tuple(_joined(text, sure)), reach


def word_scores(text: str, windows: Sequence[Window], head: TokenHead) -> list[Found]:
    """Return every word that was read with its likeliest kind and its probability, in order.

    The probability is that of the likeliest piece, in whichever window it is likelier.
    """
    words = [match.span() for match in _WORD.finditer(text)]
    owner = np.full(len(text) + 1, -1)
    for number, (start, end) in enumerate(words):
        owner[start:end] = number
    scores, kinds = np.zeros(len(words)), np.zeros((len(words), len(KINDS)))
    for window in windows:
        if window.offsets:
            places = owner[[start for start, _ in window.offsets]]
            likely = head.probabilities(window.vectors)[places >= 0]
            np.maximum.at(scores, places[places >= 0], 1 - likely[:, 0])
            np.add.at(kinds, places[places >= 0], likely[:, 1:])
    return [
        Found(start=start, end=end, kind=KINDS[kind], score=float(score))
        for (start, end), kind, score in zip(words, kinds.argmax(axis=1), scores, strict=True)
    ]


def _joined(text: str, words: Sequence[Found]) -> Iterator[Found]:
    """Join neighbours of one kind, as the words of an address."""
    last: Found | None = None
    for word in words:
        if last and word.kind == last.kind and _BETWEEN.fullmatch(text, last.end, word.start):
            score = max(last.score, word.score)
            last = Found(start=last.start, end=word.end, kind=last.kind, score=score)
            continue
        if last:
            yield last
        last = word
    if last:
        yield last
