"""Text as a reader sees it: disguises undone, each character remembering where it came from.

Whoever hides a word from a filter writes it in other letters, spaces it out, puts invisible
characters or tags into it, or digits in the place of letters. Folding undoes that in views:

    plain    one alphabet, lower case, no accents, no invisible characters, single spaces
    untagged the same without HTML tags and with its entities resolved, where there are any
    unleeted words with digits among their letters read as letters
    joined   runs of single letters read as one word

A view never decides; `policies.lexicon` looks for its patterns in each.
"""

from __future__ import annotations

import html
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

_TAG = re.compile(r"<!--.*?-->|</?([a-zA-Z][\w-]{0,30})[^<>]{0,2000}>", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});?")
_INLINE = frozenset({"a", "b", "i", "u", "s", "em", "strong", "span", "font", "small", "mark"})
_SPACED = re.compile(r"(?<!\w)\w(?:[ ._*|~-]{1,3}\w(?!\w)){3,}")
_WORD = re.compile(r"[a-z0-9@$!|+]*[a-z][a-z0-9@$!|+]*")
_DIGIT_LETTERS = str.maketrans("0345789@$!|+", "oeastbgasilt")
_LATIN_LETTER = re.compile(r"LETTER ([A-Z])(?: WITH .*)?$")
_QUOTES = dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4`\u2032", "'")
_DASHES = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
_SOFT = "\u00ad"
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Folded text; `origins[i]` is the place in the original of its character i."""

    text: str
    origins: tuple[int, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the original that folded to `start:end`, which is not empty."""
        return self.origins[start], self.origins[end - 1] + 1


def views(text: str) -> tuple[View, ...]:
    """Return the different ways to read the text, the plainest first."""
    found = [_folded((character, place) for place, character in enumerate(text))]
    if _TAG.search(text) or _ENTITY.search(text):
        found.append(as_read(text))
    for view in tuple(found):
        found += [_unleeted(view, one) for one in "il"]
    distinct: dict[str, View] = {}
    for view in found:
        distinct.setdefault(view.text, view)
    return tuple(distinct.values())


def as_read(text: str) -> View:
    """Return the view nearest to what a reader sees: without tags, entities resolved."""
    return _folded(_untagged(text))


def joined(view: View) -> tuple[View, ...]:
    """Return each run of four or more single letters of the view, without what stands between."""
    runs = []
    for run in _SPACED.finditer(view.text):
        kept = [place for place in range(run.start(), run.end()) if view.text[place].isalnum()]
        letters = "".join(view.text[place] for place in kept)
        if any(letter.isalpha() for letter in letters):
            runs.append(View(text=letters, origins=tuple(view.origins[place] for place in kept)))
    return tuple(runs)


def disguises(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of words that no honest writer types: mixed alphabets, hidden characters.

    A soft hyphen, and joiners within other scripts and between pictures, are honest.
    """
    for word in re.finditer(r"\S+", text):
        letters = [c for c in word[0] if c.isalpha()]
        alphabets = {_alphabet(c) for c in letters} - {""}
        hidden = any(
            _hidden(character)
            and character != _SOFT
            and f"{before}{after}".isascii()
            and before.isalpha()
            for before, character, after in zip(word[0], word[0][1:], word[0][2:], strict=False)
        )
        if len(alphabets) > 1 or hidden:
            yield word.span()


def _folded(characters: Iterable[tuple[str, int]]) -> View:
    """Return the folded view of some characters with their places."""
    letters, origins = list[str](), list[int]()
    for character, place in characters:
        for seen in _seen(character):
            if seen == " " and (not letters or letters[-1] == " "):
                continue
            letters.append(seen)
            origins.append(place)
    return View(text="".join(letters), origins=tuple(origins))


@cache
def _lookalikes() -> dict[str, str]:
    data = resources.files("policies").joinpath("manipulation.toml").read_text("utf-8")
    table = tomllib.loads(data)["letters"]
    return {other: letter for letter, others in table.items() for other in others}


def _seen(character: str) -> str:
    """Return what a reader sees of the character: nothing, a space, or plain lower-case letters."""
    if character.isascii() and character.isprintable():
        return character.lower()
    return _seen_rarely(character)


@lru_cache(4096)
def _seen_rarely(character: str) -> str:
    if character.isspace():
        return " "
    if character in _QUOTES or character in _DASHES:
        return _QUOTES.get(character) or _DASHES[character]
    parts = "".join(part.casefold() for part in unicodedata.normalize("NFKD", character))
    return "".join(
        " " if part.isspace() else _latin(part)
        for part in parts
        if not unicodedata.combining(part) and not _hidden(part)
    )


def _latin(letter: str) -> str:
    if letter.isascii():
        return letter
    if letter in _lookalikes():
        return _lookalikes()[letter]
    name = unicodedata.name(letter, "")
    named = _LATIN_LETTER.search(name) if "LATIN" in name or "SYMBOL" in name else None
    return named[1].lower() if named else letter


def _hidden(character: str) -> bool:
    """Return whether it takes no room: format characters, controls, variation selectors."""
    return unicodedata.category(character) in {"Cf", "Cc", "Cs", "Co"} or (
        "\ufe00" <= character <= "\ufe0f" or character in "\u034f\u115f\u1160\u3164\uffa0"
    )


@lru_cache(4096)
def _alphabet(letter: str) -> str:
    name = unicodedata.name(letter, "")
    return next((alphabet for alphabet in _ALPHABETS if name.startswith(alphabet)), "")


def _untagged(text: str) -> Iterator[tuple[str, int]]:
    """Yield characters with their places, tags left out and entities resolved."""
    at = 0
    while at < len(text):
        if text[at] == "<" and (tag := _TAG.match(text, at)):
            if tag[1] and tag[1].lower() not in _INLINE:
                yield " ", at
            at = tag.end()
        elif text[at] == "&" and (entity := _ENTITY.match(text, at)):
            for character in html.unescape(entity[0]):
                yield character, at
            at = entity.end()
        else:
            yield text[at], at
            at += 1


def _unleeted(view: View, one: str) -> View:
    """Return the view with digits and signs inside words read as letters; 1 reads as `one`."""

    def letters(word: re.Match[str]) -> str:
        end = word[0].rstrip("!|+")
        mixed = any(not c.isalpha() for c in end)
        return (
            end.replace("1", one).translate(_DIGIT_LETTERS) + word[0][len(end) :]
            if mixed
            else word[0]
        )

    return View(text=_WORD.sub(letters, view.text), origins=view.origins)
