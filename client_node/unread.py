"""Why a text is not read for a cue: it is not a customer's speech, or not in a language read here.

A release would read all of it, and often surely: it finds joy in a command to answer "joy". The
encoder follows no instructions, so none can move a rule, a consent or a use; what it can spoil is
the reading, and what is learned from it. The words are data (`unread.toml`); how seldom a real
customer's turn is taken for any of this is measured (docs/bad-input.md).
"""

from __future__ import annotations

import html
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from models.language import Languages
from policies.folding import disguises
from policies.redacted import Unread

_UNITS = dict.fromkeys(map(ord, "\u03bc\u03a9"))
"""Greek letters that are honest among Latin ones: micro and ohm."""
_NAMED = re.compile(r"<<(\w+)>>")
_MARK = re.compile(r"<[A-Z_]+>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Tells a customer's speech from what is none: by its markup, its orders, its letters."""

    languages: Languages
    _markup: re.Pattern[str]
    _instructions: re.Pattern[str]

    @classmethod
    def load(cls, languages: Languages) -> Speech:
        """Compile the shipped signs; call once for each process."""
        told = (files("client_node") / "unread.toml").read_text(encoding="utf-8")
        data: dict[str, Any] = tomllib.loads(told)
        elements = "|".join(data["markup"]["elements"].split())
        tag = rf"</?(?:{elements})(?:[\s/][^<>]{{0,2000}})?>"
        return cls(
            languages=languages,
            _markup=_any_of([tag, *data["markup"]["expressions"]], {}),
            _instructions=_any_of(data["instructions"]["expressions"], data["words"]),
        )

    def why_unread(self, text: str) -> Unread | None:
        """Return why raw words, in NFKC and without invisible characters, are not read.

        None where they are. The language is asked last, because it alone is a guess.
        """
        if self._markup.search(html.unescape(text)):
            return Unread.MARKUP
        if self._instructions.search(text):
            return Unread.INSTRUCTIONS
        if not text.isascii() and _disguised(text):
            return Unread.DISGUISED
        return self.languages.unread(text)


def wordless(redacted: str) -> bool:
    """Return whether no letter is left beside the marks of what was removed."""
    return not any(map(str.isalpha, _MARK.sub("", redacted)))


def _disguised(text: str) -> bool:
    """Return whether a word has letters of several alphabets, as no honest writer types it."""
    return next(disguises(text.translate(_UNITS)), None) is not None


def _any_of(expressions: list[str], words: Mapping[str, str]) -> re.Pattern[str]:
    """Return one pattern of all expressions; of words the longest first, so that no prefix wins."""

    def alternatives(named: re.Match[str]) -> str:
        listed = {unicodedata.normalize("NFKC", word) for word in words[named[1]].split()}
        return "|".join(sorted(map(re.escape, listed), key=lambda word: (-len(word), word)))

    filled = (_NAMED.sub(alternatives, expression) for expression in expressions)
    return re.compile("|".join(filled), re.IGNORECASE | re.MULTILINE)
