"""Presidio as this node uses it: its recognisers chosen one by one, and nothing from the web.

The only door to Presidio and to spaCy. A spaCy model is used where one is installed. Elsewhere
Presidio is given no words: a blank pipeline has no lemmas, so its words raised no score, and
importing spaCy for them took a fifth of a node's start. Engines and recognisers of Presidio that
no node asks for are not imported either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib import metadata
from types import SimpleNamespace
from typing import Any

from client_node.errors import RedactionUnavailable
from client_node.lean_import import with_empty, with_value, without

__all__ = ["AnalyzerEngine", "EntityRecognizer", "NlpArtifacts", "RecognizerResult", "analyzer_of"]

MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
"""spaCy models in order of preference."""


def _installed() -> str | None:
    """Return the first model that is installed, as spaCy itself would find it."""
    for name in MODELS:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    return None


MODEL = _installed()
_WEB = {"requests": ["Session"], "requests_file": ["FileAdapter"], "filelock": ["FileLock"]}
"""What tldextract fetches lists with, and there is none to fetch."""
_NO_SESSION: Any = object()
_ENGINES = "presidio_analyzer.nlp_engine"
_RECOGNIZERS = "presidio_analyzer.predefined_recognizers"
_UNUSED_ENGINES = {
    f"{_ENGINES}.no_op_nlp_engine": ["NoOpNlpEngine"],
    f"{_ENGINES}.slim_spacy_nlp_engine": ["SlimSpacyNlpEngine"],
    f"{_ENGINES}.stanza_nlp_engine": ["StanzaNlpEngine"],
    f"{_ENGINES}.transformers_nlp_engine": ["TransformersNlpEngine"],
}
_UNUSED_WITHOUT_MODEL = {
    "spacy": [],
    "spacy.tokens": ["Doc", "Span"],
    f"{_ENGINES}.spacy_nlp_engine": ["SpacyNlpEngine"],
}
_SPACYS_COMMANDS = {"spacy.cli": [], "spacy.cli.info": ["info"]}
_ALL_RECOGNIZERS = {
    _RECOGNIZERS: ["SpacyRecognizer", "StanzaRecognizer", "TransformersRecognizer"],
    f"{_RECOGNIZERS}.generic": [],
    f"{_RECOGNIZERS}.country_specific": [],
    f"{_RECOGNIZERS}.country_specific.us": [],
    f"{_RECOGNIZERS}.nlp_engine_recognizers": [],
}

_NOT_TRIED = SimpleNamespace(compile=lambda _: None, error=ValueError)
"""Compiles nothing: Presidio compiles a pattern to see that it can, and again for its first use."""

with ExitStack() as lean:
    lean.enter_context(without("torch", "transformers"))
    lean.enter_context(with_empty(_SPACYS_COMMANDS if MODEL else _UNUSED_WITHOUT_MODEL))
    if MODEL:
        import spacy
    lean.enter_context(with_empty(_WEB | _UNUSED_ENGINES | _ALL_RECOGNIZERS))
    import tldextract
    from presidio_analyzer import (
        AnalyzerEngine,
        EntityRecognizer,
        RecognizerRegistry,
        RecognizerResult,
    )
    from presidio_analyzer.nlp_engine import (
        NerModelConfiguration,
        NlpArtifacts,
        NlpEngine,
        SpacyNlpEngine,
    )

    lean.enter_context(with_value("presidio_analyzer.pattern", "re", _NOT_TRIED))
    from presidio_analyzer.predefined_recognizers.country_specific.us.us_ssn_recognizer import (
        UsSsnRecognizer,
    )
    from presidio_analyzer.predefined_recognizers.generic.credit_card_recognizer import (
        CreditCardRecognizer,
    )
    from presidio_analyzer.predefined_recognizers.generic.email_recognizer import EmailRecognizer
    from presidio_analyzer.predefined_recognizers.generic.iban_recognizer import IbanRecognizer
    from presidio_analyzer.predefined_recognizers.generic.ip_recognizer import IpRecognizer
    from presidio_analyzer.predefined_recognizers.generic.phone_recognizer import PhoneRecognizer
    from presidio_analyzer.predefined_recognizers.generic.url_recognizer import UrlRecognizer

    if MODEL:
        from presidio_analyzer.predefined_recognizers.nlp_engine_recognizers import (
            spacy_recognizer,
        )

LANGUAGE = "en"
PHONE_REGIONS = ("US", "GB", "DE", "FR", "IN")
LOWEST_SCORE = 0.35
NER_KINDS = {
    "PERSON": "NAME",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "ADDRESS",
    "NORP": "NRP",
    "ORG": "ORGANIZATION",
}


def analyzer_of(*, ours: Iterable[EntityRecognizer] = (), model: str | None) -> AnalyzerEngine:
    """Return Presidio with the recognisers chosen for a node, and ours; no connection is made.

    Raises:
        RedactionUnavailable: Presidio or spaCy cannot be set up.
    """
    try:
        analyzer = AnalyzerEngine(
            registry=RecognizerRegistry(
                recognizers=[*_chosen(with_model=model is not None), *ours],
                supported_languages=[LANGUAGE],
            ),
            nlp_engine=_Wordless() if model is None else _installed_engine(model),
            supported_languages=[LANGUAGE],
            default_score_threshold=LOWEST_SCORE,
        )
    except (ValueError, OSError, TypeError) as error:
        raise RedactionUnavailable(
            f"Presidio cannot be set up ({type(error).__name__}): reinstall presidio-analyzer"
        ) from error
    # compiles, and reads the public suffixes: not during a person's turn
    analyzer.analyze("ada@example.com", language=LANGUAGE)
    return analyzer


def _chosen(*, with_model: bool) -> list[EntityRecognizer]:
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
        kinds = sorted(set(NER_KINDS.values()))
        chosen.append(spacy_recognizer.SpacyRecognizer(supported_entities=kinds))
    return chosen


class _Wordless(NlpEngine):  # type: ignore[misc]  # untyped library
    """No pipeline: every recogniser of a node reads the characters themselves."""

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    def is_loaded(self) -> bool:
        """Return True."""
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        """Return no words and no entities of any text."""
        del text
        return NlpArtifacts(
            entities=[],
            tokens=[],
            tokens_indices=[],
            lemmas=[],
            nlp_engine=self,
            language=language,
        )

    def process_batch(
        self, texts: Iterable[str], language: str, **settings: object
    ) -> Iterator[tuple[str, NlpArtifacts]]:
        """Yield each text with no words."""
        del settings
        return ((text, self.process_text(text, language)) for text in texts)

    def is_stopword(self, word: str, language: str) -> bool:
        """Return False: no word is known."""
        del word, language
        return False

    def is_punct(self, word: str, language: str) -> bool:
        """Return False: no word is known."""
        del word, language
        return False

    def get_supported_entities(self) -> list[str]:
        """Return none."""
        return []

    def get_supported_languages(self) -> list[str]:
        """Return the one language of the recognisers."""
        return [LANGUAGE]


def _installed_engine(model: str) -> NlpEngine:
    """Return the pipeline of an installed model; the original downloads one that is missing."""
    engine = SpacyNlpEngine(
        models=[{"lang_code": LANGUAGE, "model_name": model}],
        ner_model_configuration=NerModelConfiguration(
            model_to_presidio_entity_mapping=NER_KINDS,
            labels_to_ignore=["CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"],
        ),
    )
    engine.nlp = {LANGUAGE: spacy.load(model)}  # loaded: its own `load` is not called
    return engine


class _OfflineEmail(EmailRecognizer):  # type: ignore[misc]  # untyped library
    """Presidio's e-mail recogniser without its look-up of the public suffix list on the web."""

    _suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the shipped snapshot

    def validate_result(self, pattern_text: str) -> bool | None:
        """Keep every match; a known suffix makes it certain, an unknown one stays likely."""
        return True if self._suffixes(pattern_text, session=_NO_SESSION).suffix else None
