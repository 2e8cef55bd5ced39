"""Each rule in plain words, in three languages, for the officer and for the customer.

The words are data (`rules/words.toml`); the customer's English is the catalogue's sentence. A
name in braces is a clock of the law and is filled in from it, so that words follow the data.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Any

from policies.catalogue import CATALOGUE, CATALOGUE_FILE, DUTIES, Duty, Rule
from policies.errors import PolicyInvalid, RuleUnknown
from policies.law import LAW, Clocks
from policies.vocabulary import RuleId

WORDS_FILE = resources.files("policies").joinpath("rules", "words.toml")


class Language(StrEnum):
    """The languages in which every rule is explained."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"


NAMES = MappingProxyType(
    {Language.ENGLISH: "English", Language.GERMAN: "Deutsch", Language.FRENCH: "Français"}
)
"""Each language by its own name."""


class Reader(StrEnum):
    """For whom: what decided it, or what it means to the person."""

    OFFICER = "officer"
    CUSTOMER = "customer"


Words = Mapping[tuple[RuleId, Reader, Language], str]


def parse_words(text: str, sentences: Mapping[RuleId, str], clocks: Clocks) -> Words:
    """Read the words, one sentence for each rule, reader and language, clocks filled in.

    Args:
        text: TOML, as in `rules/words.toml`.
        sentences: The customer's English of every rule.
        clocks: What the braces name.

    Raises:
        PolicyInvalid: A sentence is missing or one too many, or names a clock that is none,
            or one that the same sentence in another language does not name.
    """
    try:
        rows = tomllib.loads(text)
    except ValueError as error:
        raise PolicyInvalid(f"words.toml: {error}") from error
    if odd := set(rows) ^ set(sentences):
        raise PolicyInvalid(f"words.toml and the catalogue differ in {', '.join(sorted(odd))}")
    known: dict[str, int] = asdict(clocks)
    words: dict[tuple[RuleId, Reader, Language], str] = {}
    for rule, sentence in sentences.items():
        row = rows[rule] | {"customer": {"en": sentence} | rows[rule].get("customer", {})}
        for reader in Reader:
            said = _said(rule, reader, row)
            _check_braces(rule, said, set(known))
            words |= {
                (rule, reader, language): sentence.format(**known)
                for language, sentence in said.items()
            }
    return MappingProxyType(words)


def _said(rule: RuleId, reader: Reader, row: Mapping[str, Any]) -> dict[Language, str]:
    given = row.get(reader.value, {})
    if set(given) != {language.value for language in Language} or not all(given.values()):
        raise PolicyInvalid(f"words.toml: {rule} needs the {reader}'s words in en, de and fr")
    return {language: given[language.value] for language in Language}


def _check_braces(rule: RuleId, said: Mapping[Language, str], known: set[str]) -> None:
    named = {language: braces(sentence) for language, sentence in said.items()}
    if len(set(named.values())) > 1 or not set().union(*named.values()) <= known:
        raise PolicyInvalid(f"words.toml: {rule} names other clocks in one language than another")


def braces(sentence: str) -> frozenset[str]:
    """Return the names in braces of a sentence.

    Raises:
        PolicyInvalid: A brace is left open.
    """
    try:
        return frozenset(name for _, name, _, _ in string.Formatter().parse(sentence) if name)
    except ValueError as error:
        raise PolicyInvalid(f"words.toml: {error}") from error


def _customers_english() -> dict[RuleId, str]:
    """Return the catalogue's sentences with their braces, as the file has them."""
    file = tomllib.loads(CATALOGUE_FILE.read_text("utf-8"))
    return {RuleId(name): row["sentence"] for name, row in (file["rule"] | file["duty"]).items()}


WORDS = parse_words(WORDS_FILE.read_text("utf-8"), _customers_english(), LAW.clocks)


def say(rule: RuleId, reader: Reader, language: Language) -> str:
    """Return a rule's sentence; a rule of the organisation's own is named as such."""
    return WORDS.get((rule, reader, language)) or _OWN[language].format(rule=rule)


_OWN = {
    Language.ENGLISH: "This organisation's own rule {rule} decides this.",
    Language.GERMAN: "Dies entscheidet die eigene Regel {rule} dieser Organisation.",
    Language.FRENCH: "La règle {rule}, propre à cette organisation, en décide.",
}


def rule_page(rule_id: RuleId) -> dict[str, Any]:
    """Return all that the catalogue says of a rule or a duty, as JSON values.

    Raises:
        RuleUnknown: There is none of that id.
    """
    if rule_id in CATALOGUE:
        rule = CATALOGUE[rule_id]
        kind = "permission" if rule_id.startswith("p") else "prohibition"
        return _page(rule_id, rule) | {"kind": kind, "absolute": rule.absolute}
    if rule_id in DUTIES:
        duty = DUTIES[rule_id]
        return _page(rule_id, duty) | {"kind": "duty", "tests": list(duty.tests)}
    raise RuleUnknown(f"no rule {str(rule_id)[:60]!r}: `rules list` has all of them")


def rule_pages() -> list[dict[str, Any]]:
    """Return every rule's and duty's page, in order of number; permissions last."""
    pages = [rule_page(rule) for rule in (*CATALOGUE, *DUTIES)]
    return sorted(pages, key=lambda page: (page["number"] or 99, page["rule"]))


def _page(rule_id: RuleId, said: Rule | Duty) -> dict[str, Any]:
    applies_from = said.applies_from
    return {
        "rule": rule_id,
        "number": said.number,
        "sentence": said.sentence,
        "source": said.statute,
        "applies_from": None if applies_from is None else applies_from.isoformat(),
        "to_confirm": said.to_confirm,
        "words": {
            reader.value: {lang.value: say(rule_id, reader, lang) for lang in Language}
            for reader in Reader
        },
    }
