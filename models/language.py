"""Which language a text is in: readings are in English alone, and anything else abstains.

py3langid (Lui & Baldwin 2012, a naive Bayes over byte sequences of 97 languages; BSD). A text of
few letters is in no language for sure, so it is not judged: its reading abstains by confidence.
It is asked of raw words, in memory: what redaction leaves of a foreign text is no language.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from threading import Lock
from typing import Any

from policies.redacted import Unread

SUPPORTED = ("en",)
FEWEST_LETTERS = 20
LEAST_LIKELY = 0.02
"""Fixed on MAIA's German and Portuguese, its English, GoEmotions and MultiDoGO (train parts)."""
SURELY_ANOTHER = 0.15
"""How likely some other language must be: of an address or a cry, none is. Fixed on the same."""
LETTERS_A_PIECE = 30
"""A text in several languages is judged in pieces of whole words, each as long as this at least."""

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

    def unread(self, text: str) -> Unread | None:
        """Return LANGUAGE where the text is in another, MIXED where most of its letters are.

        None where it is read, or too short to tell and mostly in Latin letters.
        """
        plain = text[:_LONGEST]
        letters = sum(map(str.isalpha, plain))
        strange = 0 if plain.isascii() else sum(c.isalpha() and not _latin(c) for c in plain)
        if 2 * strange > letters:
            return Unread.LANGUAGE
        if letters < FEWEST_LETTERS:
            return None
        if self._another(plain):
            return Unread.LANGUAGE
        for piece, size in _pieces(plain):
            strange += size if self._another(piece) else 0
        return Unread.MIXED if 2 * strange >= letters else None

    def _another(self, text: str) -> bool:
        """Return whether the text is in another language, and surely enough in one of them."""
        likely = dict(self._identifier.rank(text))
        return (
            sum(float(likely[language]) for language in SUPPORTED) < LEAST_LIKELY
            and max(likely.values()) >= SURELY_ANOTHER
        )

    def within(self, text: str, among: Iterable[str]) -> bool:
        """Return False where the text is long enough to tell, and in none of the languages."""
        plain = text[:_LONGEST]
        if sum(map(str.isalpha, plain)) < FEWEST_LETTERS:
            return True
        likely = dict(self._identifier.rank(plain))
        return sum(float(likely[language]) for language in among) >= LEAST_LIKELY


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """Yield runs of words in Latin letters, each with its number of letters; a short rest is left.

    A text that makes one piece alone was judged as a whole.
    """
    words, size, found = list[str](), 0, list[tuple[str, int]]()
    for word in text.split():
        letters = [character for character in word if character.isalpha()]
        if letters and all(map(_latin, letters)):
            words.append(word)
            size += len(letters)
        if size >= LETTERS_A_PIECE:
            found.append((" ".join(words), size))
            words, size = [], 0
    if len(found) > 1 or (found and words):
        yield from found


@lru_cache(4096)
def _latin(letter: str) -> bool:
    return letter.isascii() or "LATIN" in unicodedata.name(letter, "")


def import_library() -> Any:
    """Return the library; who loads on a thread imports it before."""
    from py3langid import langid  # noqa: PLC0415 (only who reads pays for it)

    return langid


@cache
def _identifier() -> Any:
    langid = import_library()
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
