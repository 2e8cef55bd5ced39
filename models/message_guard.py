"""The guard of generated messages (rules 19, 20, 21): lexicon and head together, failing closed.

    1 size      what is longer than the guard reads is blocked, unread
    2 language  what is in letters or a language that it does not read is blocked, unread
    3 lexicon   expressions that name their pattern, on the text with its disguises undone
    4 head      a small classifier on the word pieces of the published encoder's first layers
    5 verdict   anything found blocks; a failure on the way is something found

The only maker of `CheckedMessage`. The head is taught by `models.train_message_guard` on examples
written for it; `base_model/message_guard.json` says how much it finds. A prompt cannot talk the
guard round: it follows no instructions, and each part of a message is judged where it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.features import MESSAGE_GUARD_DIGEST
from models.language import Languages
from models.pretrained import FOLDER, load_tensors
from models.token_classifier import PieceReader, Window
from policies.errors import MessageBlocked
from policies.folding import as_read
from policies.lexicon import Lexicon, load_lexicon
from policies.messages import (
    Audience,
    CheckedMessage,
    Finding,
    FoundBy,
    Pattern,
    Verdict,
    merge,
)

FILE = "message_guard.safetensors"
MAX_CHARACTERS = 2_000
"""Longer than any message to a customer; the time that the guard takes is bounded by it."""
LANGUAGES = ("en", "de", "fr")
"""The lexicon's languages."""
READ_BY_HEAD = ("en",)
"""A text that is too short to tell counts as English."""
KINDS = tuple(p for p in Pattern if p not in {Pattern.DISGUISED, Pattern.UNREAD})
"""What the head tells apart, in the order of its outputs."""
PHRASE = 3
"""Neighbouring pieces whose mean makes a phrase: one odd word is none."""
FOR_AGENTS = frozenset({Pattern.CLOSING})
_WORD = re.compile(r"[^\W\d_]+")

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """The likeliest manipulation of a window: pattern, probability, range of characters."""

    pattern: Pattern
    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GuardHead:
    """A hidden layer on the vectors of word pieces, and the probability from which it blocks."""

    inner: FloatArray
    inner_bias: FloatArray
    outer: FloatArray
    outer_bias: FloatArray
    threshold: float

    @classmethod
    def load(cls) -> GuardHead:
        """Load the shipped head.

        Raises:
            EncoderRejected: The file is not the one that was shipped.
        """
        tensors = load_tensors(FOLDER / FILE, MESSAGE_GUARD_DIGEST)
        values = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        return cls(threshold=float(values.pop("threshold")[0]), **values)

    def likeliest(self, window: Window, audience: Audience) -> Phrase:
        """Return the likeliest manipulation of a window that has pieces, however unlikely.

        The score is the probability that it is any of the patterns.
        """
        inner = np.maximum(window.vectors @ self.inner + self.inner_bias, 0)
        logits = smoothed(inner @ self.outer + self.outer_bias)
        if audience is not Audience.AGENT:
            logits[:, [KINDS.index(kind) for kind in FOR_AGENTS]] = -np.inf
        most = logits.max(axis=0)
        kind = int(most.argmax())
        start, end = _around(logits[:, kind])
        return Phrase(
            pattern=KINDS[kind],
            score=float(1 - np.exp(-np.logaddexp.reduce([0.0, *most.astype(np.float64)]))),
            start=window.offsets[start][0],
            end=window.offsets[min(end, len(window.offsets)) - 1][1],
        )


def smoothed(logits: FloatArray) -> FloatArray:
    """Return the means of `PHRASE` neighbouring rows of `(piece, kind)`; of all where fewer."""
    width = min(PHRASE, len(logits))
    sums = np.cumsum(np.vstack([np.zeros_like(logits[:1]), logits]), axis=0, dtype=np.float64)
    means: FloatArray = ((sums[width:] - sums[:-width]) / width).astype(np.float32)
    return means


def _around(scores: FloatArray) -> tuple[int, int]:
    """Return the pieces of the run of likely phrases around the likeliest."""
    start = end = int(scores.argmax())
    while start > 0 and scores[start - 1] > 0:
        start -= 1
    while end < len(scores) - 1 and scores[end + 1] > 0:
        end += 1
    return start, end + PHRASE


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageGuard:
    """Lexicon, reader and head; safe to share between threads.

    Without a head only the lexicon judges, to compare with; no branch uses it so.
    """

    lexicon: Lexicon
    languages: Languages
    reader: PieceReader
    head: GuardHead | None

    @classmethod
    def load(cls, path: Path | None = None) -> MessageGuard:
        """Load the lexicon, the encoder's first layers and the shipped head.

        Raises:
            PolicyInvalid: The lexicon is damaged.
            EncoderRejected: A file is not there, or not the one that was published or shipped.
        """
        return cls(
            lexicon=load_lexicon(),
            languages=Languages.load(),
            reader=PieceReader.load(path),
            head=GuardHead.load(),
        )

    def check(self, text: str, audience: Audience = Audience.CUSTOMER) -> CheckedMessage:
        """Return the message as one that may be sent.

        Raises:
            MessageBlocked: Something was found, or the guard could not judge it.
        """
        verdict = self.read(text, audience)
        if verdict.blocked:
            raise MessageBlocked(verdict)
        return CheckedMessage(text=text, audience=audience)

    def read(self, text: str, audience: Audience = Audience.CUSTOMER) -> Verdict:
        """Return all that was found; whatever fails on the way blocks the message."""
        try:
            found = merge(self._findings(text, audience))
        except Exception:  # noqa: BLE001 (fails closed, whatever it was; its cause may hold text)
            found = (self._unread(0, len(text)),)
        return Verdict(text=text, audience=audience, findings=found)  # 5

    def _findings(self, text: str, audience: Audience) -> Iterator[Finding]:
        if len(text) > MAX_CHARACTERS:  # 1
            yield self._unread(MAX_CHARACTERS, len(text))
            return
        yield from (self._unread(*span) for span in foreign(text))  # 2
        if not self.languages.within(text, LANGUAGES):
            yield self._unread(0, len(text))
        yield from self.lexicon.find(text, audience)  # 3
        if self.head is not None and self.languages.within(text, READ_BY_HEAD):
            yield from self._by_head(self.head, text, audience)  # 4

    def _by_head(self, head: GuardHead, text: str, audience: Audience) -> Iterator[Finding]:
        view = as_read(text)
        windows, reach = self.reader.read(view.text)
        if view.text[reach:].strip():
            yield self._unread(*view.original(reach, len(view.text)))
        for phrase in phrases(head, windows, audience):
            if not phrase.score < head.threshold:  # what is not a number blocks too
                span = view.original(phrase.start, phrase.end)
                yield self.lexicon.notes[phrase.pattern].finding(*span, FoundBy.HEAD)

    def _unread(self, start: int, end: int) -> Finding:
        return self.lexicon.notes[Pattern.UNREAD].finding(start, end, FoundBy.GUARD)


def phrases(head: GuardHead, windows: Sequence[Window], audience: Audience) -> list[Phrase]:
    """Return the likeliest phrase of each window that has pieces."""
    return [head.likeliest(window, audience) for window in windows if window.offsets]


def foreign(text: str) -> Iterator[tuple[int, int]]:
    """Yield the words without a Latin letter: neither lexicon nor head reads them."""
    for word in _WORD.finditer(text):
        if not word[0].isascii() and not any(map(_is_latin, word[0])):
            yield word.span()


def _is_latin(letter: str) -> bool:
    return "LATIN" in unicodedata.name(unicodedata.normalize("NFKC", letter)[:1], "")
