"""Removes personal data from a turn before anything is encoded or stored (promise 2).

The only module that builds `RedactedText`. `client_node.presidio` chooses Presidio's own
recognisers; `client_node.personal_patterns` adds names, addresses and references that show by
their form, `models.token_classifier` those that show by what stands around them. Redaction is
not perfect: its recall is measured and stated, which is why what it yields is still sealed. What
no part of it read does not pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from client_node.errors import RedactionUnavailable
from client_node.personal_patterns import PersonalPattern, load_patterns
from client_node.presidio import (
    LANGUAGE,
    LOWEST_SCORE,
    MODEL,
    EntityRecognizer,
    RecognizerResult,
    analyzer_of,
)
from client_node.unread import Speech, wordless
from models.language import Languages
from models.token_classifier import KINDS, TokenClassifier
from policies.redacted import RedactedText, Unread

if TYPE_CHECKING:
    from client_node.presidio import AnalyzerEngine, NlpArtifacts

INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point: nobody sees them, and they would split what is found."""
UNBROKEN = re.compile(r"\S{120,}")
"""No word: a token, a payload, or a text made to slow the patterns down; removed unread."""
UNREAD = "UNREAD"
"""What lies beyond the token classifier's reach, removed as a whole."""
RENAMED = {"PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "US_SSN": "NATIONAL_ID"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One piece of personal data, as a half-open character range of the normalised text."""

    start: int
    end: int
    kind: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """The text without its personal data, and where that was."""

    text: RedactedText
    spans: tuple[Span, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many pieces of each kind were removed."""
        return dict(Counter(self.text.kinds))


class Redacts(Protocol):
    """Anything that removes personal data; `Redactor` is the one that ships."""

    def redact(self, text: str) -> Redaction:
        """Return the text without personal data."""
        ...


@dataclass(frozen=True, slots=True)
class Redactor:
    """Find personal data with Presidio and replace each piece by `<KIND>`."""

    _analyzer: AnalyzerEngine
    _speech: Speech

    @classmethod
    def load(cls, encoder_path: Path | None = None, *, graphs: Path | None = None) -> Redactor:
        """Build the analyzer once, with a classifier of its own; half a second, no connection.

        Args:
            encoder_path: The encoder's folder; None looks in the usual places.
            graphs: Where the classifier's graph is kept between starts.

        Raises:
            RedactionUnavailable: Presidio or spaCy cannot be set up.
            EncoderRejected: The encoder or the token classifier is not the published one.
        """
        return cls.joined(lambda: TokenClassifier.load(encoder_path, graphs=graphs))

    @classmethod
    def joined(
        cls,
        classifier: Callable[[], TokenClassifier],
        languages: Callable[[], Languages] = Languages.load,
    ) -> Redactor:
        """Build the analyzer around what may still be loading, and is waited for last.

        Raises:
            RedactionUnavailable: Presidio or spaCy cannot be set up.
            EncoderRejected: The encoder or the token classifier is not the published one.
        """
        patterns = _PatternRecognizer(load_patterns())
        ours = [patterns, _ContextRecognizer(classifier())]
        return cls(analyzer_of(ours=ours, model=MODEL), Speech.load(languages()))

    @classmethod
    def presidio_alone(cls) -> Redactor:
        """Build one with Presidio's own recognisers, to compare with; no branch uses it.

        Raises:
            RedactionUnavailable: Presidio or spaCy cannot be set up.
        """
        return cls(analyzer_of(model=None), Speech.load(Languages.load()))

    def redact(self, text: str) -> Redaction:
        """Return the text without personal data; offsets are those of the NFKC text.

        Raises:
            RedactionUnavailable: The analyzer failed; nothing of the text is kept or named.
        """
        plain = INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        blobs = [_blob(match) for match in UNBROKEN.finditer(plain)]
        readable = UNBROKEN.sub(lambda match: " " * len(match[0]), plain)
        try:
            results = self._analyzer.analyze(readable, language=LANGUAGE)
        except Exception as error:  # noqa: BLE001 (its cause may hold the text: keep only the type)
            raise RedactionUnavailable(f"redaction failed ({type(error).__name__})") from None
        spans = merge([*blobs, *map(_span, results)])
        left = _replace(plain, spans)
        unread = self._speech.why_unread(plain)
        if unread is None and wordless(left):
            unread = Unread.WORDLESS
        kinds = tuple(span.kind for span in spans)
        return Redaction(text=RedactedText(text=left, kinds=kinds, unread=unread), spans=spans)


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Join overlapping spans, so that nothing any of them covers is left; in order.

    A joined span has the kind and score of its surest part, the longest among equals.
    """
    merged: list[list[Span]] = []
    reach = -1
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if span.start < reach:
            merged[-1].append(span)
        else:
            merged.append([span])
        reach = max(reach, span.end)
    return tuple(_join(group) for group in merged)


def _span(found: RecognizerResult) -> Span:
    kind = RENAMED.get(found.entity_type, found.entity_type)
    return Span(start=found.start, end=found.end, kind=kind, score=found.score)


def _blob(match: re.Match[str]) -> Span:
    return Span(start=match.start(), end=match.end(), kind="BLOB", score=1.0)


def _join(group: Sequence[Span]) -> Span:
    surest = max(group, key=lambda s: (s.score, s.end - s.start))
    return Span(
        start=min(s.start for s in group),
        end=max(s.end for s in group),
        kind=surest.kind,
        score=surest.score,
    )


def _replace(text: str, spans: Sequence[Span]) -> str:
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], f"<{span.kind}>"]
        at = span.end
    return "".join([*pieces, text[at:]])


class _PatternRecognizer(EntityRecognizer):  # type: ignore[misc]  # untyped library
    """Our own patterns as one Presidio recogniser."""

    def __init__(self, patterns: Sequence[PersonalPattern]) -> None:
        self._patterns = patterns
        super().__init__(
            supported_entities=sorted({p.kind for p in patterns}),
            name="UndertonePatterns",
            supported_language=LANGUAGE,
        )

    def load(self) -> None:
        """Do nothing: the patterns are compiled already."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Return every value that a pattern of a wanted kind finds."""
        del nlp_artifacts  # patterns need the characters only
        return [
            RecognizerResult(p.kind, start, end, p.score)
            for p in self._patterns
            if p.kind in entities
            for start, end in p.find(text)
        ]


class _ContextRecognizer(EntityRecognizer):  # type: ignore[misc]  # untyped library
    """The token classifier as a Presidio recogniser."""

    def __init__(self, classifier: TokenClassifier) -> None:
        self._classifier = classifier
        super().__init__(
            supported_entities=[*KINDS, UNREAD],
            name="UndertoneTokens",
            supported_language=LANGUAGE,
        )

    def load(self) -> None:
        """Do nothing: the classifier is loaded already."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Return every word that is likely personal data, and all that was not read."""
        del entities, nlp_artifacts  # it has its own pieces, and finds all kinds at once
        found, reach = self._classifier.find(text)
        results = [
            RecognizerResult(f.kind, f.start, f.end, max(f.score, LOWEST_SCORE)) for f in found
        ]
        if text[reach:].strip():
            results.append(RecognizerResult(UNREAD, reach, len(text), 1.0))
        return results
