"""Every rule speaks to officer and customer in three languages, and the numbers agree."""

from __future__ import annotations

import re
from typing import Any

import pytest

from policies.catalogue import CATALOGUE, DUTIES
from policies.errors import PolicyInvalid, RuleUnknown
from policies.law import LAW
from policies.rulebook import RuleBook
from policies.vocabulary import RuleId
from policies.words import (
    WORDS,
    WORDS_FILE,
    Language,
    Reader,
    parse_words,
    rule_page,
    rule_pages,
    say,
)

RULE = RuleId("r18-asked-again")
GOOD = """
[r18-asked-again]
officer = {en = "Less than {ask_again_days}.", de = "{ask_again_days}.", fr = "{ask_again_days}."}
customer = {de = "{ask_again_days} Tage.", fr = "{ask_again_days} jours."}
"""
EVERY = (*CATALOGUE, *DUTIES)
ENGLISH = {RULE: "No, for {ask_again_days} days."}


def test_every_rule_speaks_to_everybody_in_every_language() -> None:
    """No rule lacks a sentence for officer or customer in English, German or French."""
    assert set(WORDS) == {
        (rule, reader, language) for rule in EVERY for reader in Reader for language in Language
    }
    assert all(sentence.endswith(".") and "{" not in sentence for sentence in WORDS.values())


def test_no_sentence_stands_twice() -> None:
    """Each rule says something of its own, and nothing was left untranslated."""
    for reader in Reader:
        said = [WORDS[rule, reader, language] for rule in EVERY for language in Language]
        assert len(set(said)) == len(said)


def test_words_follow_the_laws_clocks() -> None:
    """A clock in a sentence is the law's number, the same in every language."""
    for reader in Reader:
        numbers = {tuple(re.findall(r"\d+", say(RULE, reader, language))) for language in Language}
        assert numbers == {(str(LAW.clocks.ask_again_days),)}
    assert "183 days" in CATALOGUE[RULE].sentence


def test_words_that_are_whole_are_read() -> None:
    """The smallest whole example is accepted, so that each damage below is the only one."""
    assert parse_words(GOOD, ENGLISH, LAW.clocks)[RULE, Reader.CUSTOMER, Language.GERMAN]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (', fr = "{ask_again_days} jours."', ""),
        ('fr = "{ask_again_days} jours."', 'fr = ""'),
        ('de = "{ask_again_days} Tage."', 'de = "183 Tage."'),
        ('de = "{ask_again_days} Tage."', 'de = "{ask_again_days"'),
        ("Less than {ask_again_days}", "Less than {clock_skew_s}"),
        ("{ask_again_days}", "{no_such_clock}"),
        ("[r18-asked-again]", "[r99-nothing]"),
        ("[r18-asked-again]", "[r18-asked-again"),
    ],
)
def test_damaged_words_are_rejected(right: str, wrong: str) -> None:
    """A missing language, a clock named in one language only, a rule too many: refused."""
    assert right in GOOD
    with pytest.raises(PolicyInvalid, match=r"words\.toml"):
        parse_words(GOOD.replace(right, wrong), ENGLISH, LAW.clocks)


def test_rule_of_the_organisations_own_is_named_as_such() -> None:
    """A rule that no catalogue knows is said to be the organisation's, in each language."""
    said = {say(RuleId("x01-ours"), Reader.CUSTOMER, language) for language in Language}
    assert len(said) == 3
    assert all("x01-ours" in sentence for sentence in said)


def test_catalogue_renders_every_rule_and_duty() -> None:
    """The pages hold each rule and duty once, with its source; an unknown one is refused."""
    pages: list[dict[str, Any]] = rule_pages()
    assert [page["rule"] for page in pages] == list(dict.fromkeys(p["rule"] for p in pages))
    assert {page["rule"] for page in pages} == {*CATALOGUE, *DUTIES}
    assert all(page["source"] and page["applies_from"] for page in pages)
    assert rule_page(RULE)["words"]["customer"]["en"] == CATALOGUE[RULE].sentence
    with pytest.raises(RuleUnknown, match="rules list"):
        rule_page(RuleId("r99-nothing"))


def test_words_are_part_of_the_rules_digest() -> None:
    """Changing how a rule is explained changes the digest in every decision."""
    assert RuleBook.shipped().files["words.toml"] == WORDS_FILE.read_text("utf-8")
