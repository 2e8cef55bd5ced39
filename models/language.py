"""Which language a text is in: readings are in English alone, and anything else abstains.

py3langid (Lui & Baldwin 2012, a naive Bayes over byte sequences of 97 languages; BSD). A text of
few letters is in no language for sure, so it is not judged: its reading abstains by confidence.
It is asked of raw words, in memory: what redaction leaves of a foreign text is no language.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

SUPPORTED = ("en",)
FEWEST_LETTERS = 20
LEAST_LIKELY = 0.02
"""Fixed on MAIA's German and Portuguese, its English, GoEmotions and MultiDoGO (train parts)."""

_LONGEST = 2_000  # characters looked at
_LOADING = Lock()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Languages:
    """The loaded model, safe to share between threads."""

    _identifier: Any

    @classmethod
    def load(cls) -> Languages:
        """Load the model that comes with the library, once a process; a third of a second."""
        with _LOADING:  # a cache alone lets two who ask at once both read the file
            return cls(_identifier=_identifier())

    def supports(self, text: str) -> bool:
        """Return False where the text is long enough to tell, and in no supported language."""
        return self.within(text, SUPPORTED)

    def within(self, text: str, among: Iterable[str]) -> bool:
        """Return False where the text is long enough to tell, and in none of the languages."""
        plain = text[:_LONGEST]
        if sum(map(str.isalpha, plain)) < FEWEST_LETTERS:
            return True
        likely = dict(self._identifier.rank(plain))
        return sum(float(likely[language]) for language in among) >= LEAST_LIKELY


def import_library() -> Any:
    """Return the library; who loads on a thread imports it before."""
    from py3langid import langid  # noqa: PLC0415 (only who reads pays for it)

    return langid


@cache
def _identifier() -> Any:
    langid = import_library()
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
