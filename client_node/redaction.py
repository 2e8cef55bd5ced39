"""Removes personal data from a turn before anything is encoded or stored (promise 2).

The only module that builds `RedactedText`, and the only door to Presidio. Presidio's own
recognisers are chosen one by one; `client_node.personal_patterns` adds names, addresses and
references that show by their form, `models.token_classifier` those that show by what stands
around them. A spaCy model is used where one is installed, a blank pipeline elsewhere, and
nothing is ever fetched from the web. Redaction is not perfect: its recall is measured and
stated, which is why what it yields is still sealed. What no part of it read does not pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from client_node.errors import RedactionUnavailable
from client_node.lean_import import with_empty, without
from client_node.personal_patterns import PersonalPattern, load_patterns
from models.language import Languages
from models.token_classifier import KINDS, Found, TokenClassifier
from policies.redacted import RedactedText

with without("torch", "transformers"), with_empty("spacy.cli.info", "info"):
    import spacy
    import tldextract
    from presidio_analyzer import (
        AnalyzerEngine,
        EntityRecognizer,
        RecognizerRegistry,
        RecognizerResult,
    )
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        IpRecognizer,
        PhoneRecognizer,
        SpacyRecognizer,
        UrlRecognizer,
        UsSsnRecognizer,
    )

if TYPE_CHECKING:
    from presidio_analyzer.nlp_engine import NlpArtifacts

LANGUAGE = "en"
MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
PHONE_REGIONS = ("US", "GB", "DE", "FR", "IN")
LOWEST_SCORE = 0.35
INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
UNBROKEN = re.compile(r"\S{120,}")
"""No word: a token, a payload, or a text made to slow the patterns down; removed unread."""
SUREST_BY_CONTEXT = 0.6
"""What a certain token classifier scores: most patterns know the kind better."""
UNREAD = "UNREAD"
"""What lies beyond the token classifier's reach, removed as a whole."""
NER_KINDS = {
    "PERSON": "NAME",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "ADDRESS",
    "NORP": "NRP",
    "ORG": "ORGANIZATION",
}
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
    _languages: Languages

    @classmethod
    def load(
        cls,
        encoder_path: Path | None = None,
        *,
        models: Sequence[str] = MODELS,
        graphs: Path | None = None,
    ) -> Redactor:
        """Build the analyzer once; about a second, and no connection.

        Args:
            encoder_path: The encoder's folder; None looks in the usual places.
            models: spaCy models in order of preference; the first installed one is used.
            graphs: Where the classifier's graph is kept between starts.

        Raises:
            RedactionUnavailable: Presidio or spaCy cannot be set up.
            EncoderRejected: The encoder or the token classifier is not the published one.
        """
        installed = next((name for name in models if spacy.util.is_package(name)), None)
        ours = [
            _PatternRecognizer(load_patterns()),
            _ContextRecognizer(TokenClassifier.load(encoder_path, graphs=graphs)),
        ]
        return cls._of([*_of_presidio(with_model=installed is not None), *ours], installed)

    @classmethod
    def presidio_alone(cls) -> Redactor:
        """Build one with Presidio's own recognisers, to compare with; no branch uses it.

        Raises:
            RedactionUnavailable: Presidio or spaCy cannot be set up.
        """
        return cls._of(_of_presidio(with_model=False), None)

    @classmethod
    def _of(cls, recognizers: list[EntityRecognizer], model: str | None) -> Redactor:
        try:
            analyzer = AnalyzerEngine(
                registry=RecognizerRegistry(
                    recognizers=recognizers, supported_languages=[LANGUAGE]
                ),
                nlp_engine=_OfflineEngine(model),
                supported_languages=[LANGUAGE],
                default_score_threshold=LOWEST_SCORE,
            )
        except (ValueError, OSError, TypeError) as error:
            raise RedactionUnavailable(
                f"Presidio cannot be set up ({type(error).__name__}): reinstall presidio-analyzer"
            ) from error
        analyzer.analyze("Ada Byron", language=LANGUAGE)  # compiles: not during a person's turn
        return cls(analyzer, Languages.load())

    def redact(self, text: str) -> Redaction:
        """Return the text without personal data; offsets are those of the NFKC text.

        Raises:
            RedactionUnavailable: The analyzer failed; nothing of the text is kept or named.
        """
        plain = unicodedata.normalize("NFKC", text).translate(INVISIBLE)
        blobs = [_blob(match) for match in UNBROKEN.finditer(plain)]
        readable = UNBROKEN.sub(lambda match: " " * len(match[0]), plain)
        try:
            results = self._analyzer.analyze(readable, language=LANGUAGE)
        except Exception as error:  # noqa: BLE001 (its cause may hold the text: keep only the type)
            raise RedactionUnavailable(f"redaction failed ({type(error).__name__})") from None
        spans = merge([*blobs, *map(_span, results)])
        kinds = tuple(span.kind for span in spans)
        left = RedactedText(
            text=_replace(plain, spans), kinds=kinds, foreign=not self._languages.supports(plain)
        )
        return Redaction(text=left, spans=spans)


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


def _of_presidio(*, with_model: bool) -> list[EntityRecognizer]:
    """Return Presidio's recognisers, chosen explicitly, without its look-ups on the web."""
    chosen: list[EntityRecognizer] = [
        _OfflineEmail(),
        PhoneRecognizer(supported_regions=PHONE_REGIONS),
        CreditCardRecognizer(),
        IbanRecognizer(),
        IpRecognizer(),
        UrlRecognizer(),
        UsSsnRecognizer(),
    ]
    if with_model:
        chosen.append(SpacyRecognizer(supported_entities=sorted(set(NER_KINDS.values()))))
    return chosen


class _OfflineEngine(SpacyNlpEngine):  # type: ignore[misc]  # untyped library
    """A spaCy pipeline that is installed, or blank; the original downloads a missing one."""

    def __init__(self, model: str | None) -> None:
        super().__init__(
            models=[{"lang_code": LANGUAGE, "model_name": model or "blank"}],
            ner_model_configuration=NerModelConfiguration(
                model_to_presidio_entity_mapping=NER_KINDS,
                labels_to_ignore=["CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"],
            ),
        )
        self._model = model

    def load(self) -> None:
        """Load the pipeline from disk only."""
        pipeline = spacy.load(self._model) if self._model else spacy.blank(LANGUAGE)
        self.nlp = {LANGUAGE: pipeline}


class _OfflineEmail(EmailRecognizer):  # type: ignore[misc]  # untyped library
    """Presidio's e-mail recogniser without its look-up of the public suffix list on the web."""

    _suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the shipped snapshot

    def validate_result(self, pattern_text: str) -> bool | None:
        """Keep every match; a known suffix makes it certain, an unknown one stays likely."""
        return True if self._suffixes(pattern_text).suffix else None


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


def _score(found: Found) -> float:
    return max(SUREST_BY_CONTEXT * found.score, LOWEST_SCORE)
