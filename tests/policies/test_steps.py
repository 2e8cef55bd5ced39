"""What would make a use allowed is said in three languages, whole."""

from __future__ import annotations

import pytest

from policies.errors import PolicyInvalid
from policies.steps import STEPS_FILE, WORDS, Step, parse_steps, say_ways
from policies.words import Language


def test_every_step_is_said_in_every_language_in_its_own_words() -> None:
    """No step lacks words, none stands twice, and none was left untranslated."""
    said = [WORDS[language][step.name.lower()] for language in Language for step in Step]
    assert len(set(said)) == len(Language) * len(Step)


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        (
            Language.ENGLISH,
            "a named person approves it and nothing leaves the node",
            ", or what leaves is protected, within its plan",
        ),
        (
            Language.GERMAN,
            "eine namentlich bekannte Person genehmigt es und nichts verlässt den Knoten",
            ", oder was hinausgeht, ist im Rahmen seines Plans geschützt",
        ),
        (
            Language.FRENCH,
            "rien ne quitte le nœud et une personne nommée l'approuve",
            ", ou ce qui sort est protégé, dans le cadre de son plan",
        ),
    ],
)
def test_ways_are_said_in_the_readers_language(language: Language, one: str, other: str) -> None:
    """Steps of one way are joined, ways are told apart, and that there is none is said."""
    ways = [frozenset({Step.STAY, Step.APPROVE}), frozenset({Step.PROTECT})]
    assert say_ways(ways, language) == one + other
    assert say_ways([], language) == WORDS[language]["no_way"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('stay = "rien ne quitte le nœud"\n', ""),
        ('stay = "rien ne quitte le nœud"', 'stay = " "'),
        ("[fr]", "[it]"),
        ("[fr]", "[fr"),
        ("[de]", '[de]\nfly = "fliegen"'),
    ],
)
def test_damaged_steps_are_rejected(right: str, wrong: str) -> None:
    """A word that is missing, empty or one too many is refused at load."""
    text = STEPS_FILE.read_text("utf-8")
    assert right in text
    with pytest.raises(PolicyInvalid, match=r"steps\.toml"):
        parse_steps(text.replace(right, wrong))
