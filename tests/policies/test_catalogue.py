"""Every rule has its plain words and its source, and every word in a rule exists."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from pathlib import Path

import pytest

from policies.catalogue import CATALOGUE, DUTIES, Duty, Rule, explain, parse_catalogue, parse_duties
from policies.engine import PolicyEngine
from policies.errors import PolicyInvalid
from policies.law import LAW, parse_law
from policies.rulebook import RuleBook
from policies.vocabulary import (
    Action,
    AgeBand,
    Channel,
    Emotion,
    Modality,
    Objective,
    Purpose,
    Role,
    RuleId,
    Setting,
    Use,
    Vulnerability,
)
from tests.policies.rule_table import TABLE

OF_THE_ENGINE = {"r04-no-standing", "r27-no-governance"}
"""Decided before any rule is asked: `test_engine` holds these two."""

ROOT = Path(__file__).parents[2]

WORDS: tuple[type[StrEnum], ...] = (
    Action,
    AgeBand,
    Channel,
    Emotion,
    Modality,
    Objective,
    Purpose,
    Role,
    Setting,
    Use,
    Vulnerability,
)


def test_every_rule_has_its_words_and_none_is_orphaned() -> None:
    """Rules and catalogue name each other, the engine's own refusals (r00 and two) aside."""
    own = {"r00-other-person", "r00-names-a-person", "r00-engine-error", "r00-no-permission"}
    own |= {"r04-no-standing", "r27-no-governance"}
    assert set(CATALOGUE) == PolicyEngine.load().rule_ids | own


def test_every_rule_has_a_source_and_a_date() -> None:
    """No rule is without a sentence, a statute and the day since when it applies."""
    for rule in CATALOGUE.values():
        assert rule.sentence.endswith(".")
        assert "Article" in rule.statute
        assert rule.applies_from is not None
        assert rule.number == (int(rule.rule_id[1:3]) if rule.rule_id[0] == "r" else 0)


def test_every_number_of_the_list_is_a_rule_or_a_duty() -> None:
    """Of the 27 none is forgotten: each is decided by a rule, or asked of a named part."""
    decided = {rule.number for rule in CATALOGUE.values() if rule.number}
    assert decided | {duty.number for duty in DUTIES.values()} == set(range(1, 28))


@pytest.mark.parametrize("number", range(1, 28))
def test_each_of_the_27_has_sentence_source_date_and_tests(number: int) -> None:
    """Walked one by one: what decides or is asked says why and since when, and is tested."""
    rules = [rule for rule in CATALOGUE.values() if rule.number == number]
    duties = [duty for duty in DUTIES.values() if duty.number == number]
    everything: list[Rule | Duty] = [*rules, *duties]
    assert everything
    for said in everything:
        assert said.sentence.endswith(".")
        assert "Article" in said.statute
        assert said.applies_from is not None
    for rule in rules:
        sides = TABLE.get(rule.rule_id)
        assert rule.rule_id in OF_THE_ENGINE if sides is None else sides.allow and sides.deny
    assert all(duty.tests for duty in duties)


def test_every_duty_names_tests_that_exist() -> None:
    """Each duty has a test of that name to hold somebody to it."""
    for duty in DUTIES.values():
        for test in duty.tests:
            file, _, name = test.partition("::")
            assert f"def {name}" in Path(ROOT, file).read_text("utf-8"), duty.duty_id


def test_duty_without_a_test_is_refused() -> None:
    """A duty that nothing holds anybody to is no duty."""
    text = "[duty.d99-x]\nnumber = 9\nsentence = 'X.'\nsources = ['gdpr-5']\ntests = []"
    with pytest.raises(PolicyInvalid, match="d99-x"):
        parse_duties(text, LAW)


def test_rules_speak_the_vocabulary() -> None:
    """Every quoted word in a rule is one of the vocabulary, so that no typo sleeps in it."""
    known = {word.value for closed in WORDS for word in closed} | {"none", ""}
    text = re.sub(r'@id\("[^"]*"\)|//.*', "", RuleBook.shipped().policies)
    assert set(re.findall(r'"([^"]*)"', text)) <= known


def test_schema_knows_every_action_and_use() -> None:
    """The schema's actions are the vocabulary's, none more and none less."""
    quoted = set(re.findall(r'"([a-z_]+)"', RuleBook.shipped().schema.split("action", 1)[1]))
    assert quoted == {*Action, *Use}


def test_explain_gives_the_sentence_or_says_whose_rule_it_is() -> None:
    """A shipped rule is explained in its words, an added one as the organisation's own."""
    assert explain(RuleId("r06-erased")) == "The person has asked to be forgotten, and is."
    assert "x01-ours" in explain(RuleId("x01-ours"))


def test_dates_are_data() -> None:
    """Dates that were still moving are marked, and the clocks come from the file."""
    assert LAW.provisions["ai-act-50-3"].applies_from == date(2026, 8, 2)
    assert LAW.provisions["ai-act-annex-iii-1-c"].to_confirm
    assert LAW.clocks.breach_notice_hours == 72


@pytest.mark.parametrize(
    "text",
    ["not toml", "[clocks]\nclock_skew_s = 5", "[clocks]\nunknown = 1\n[provision.a]\ntitle = 'A'"],
)
def test_damaged_law_is_rejected(text: str) -> None:
    """A law file that lacks a clock, or knows one too many, is refused as a whole."""
    with pytest.raises(PolicyInvalid, match=r"law\.toml"):
        parse_law(text)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[rule.r06-erased]\nsentence = 'Gone.'",
        "[rule.r06-erased]\nsentence = 'Gone.'\nsources = ['no-such-law']\nabsolute = true",
    ],
)
def test_damaged_catalogue_is_rejected(text: str) -> None:
    """A rule without words, or with a source that the law does not know, is refused."""
    with pytest.raises(PolicyInvalid, match=r"catalogue\.toml"):
        parse_catalogue(text, LAW)
