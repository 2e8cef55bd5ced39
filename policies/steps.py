"""What somebody could do so that a use is allowed, in words for the officer, in three languages."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib import resources

from policies.errors import PolicyInvalid
from policies.words import Language

STEPS_FILE = resources.files("policies").joinpath("rules", "steps.toml")


class Step(StrEnum):
    """What somebody could do; each value is said to the officer as it stands."""

    CONSENT = "the person agrees, by a clear act, to this purpose and kind of data"
    INFORM = "the person is shown the notice before anything is read"
    HEAR = "the node hears from the trust service again"
    ASSESS = "the officer approves an impact assessment for this purpose"
    CITE_DPIA = "the request names the assessment of the safety reason"
    IDLE = "the conversation moves to idle or reserved capacity only"
    READ_AGAIN = "a fresh turn is read, and the reading is certain"
    RAISE = "the offer is worth at least what the emotion-blind rules would give"
    TEST_CALM = "the test over calm customers is run, and passes"
    DUE_ANYWAY = "the emotion-blind rules make this offer themselves"
    APPROVE = "a named person approves it"
    PROTECT = "what leaves is protected, within its plan"
    STAY = "nothing leaves the node"


_ENGLISH = {
    "no_way": "no step makes it so: it would go around a choice, a protection or a stop",
    "all_of": " and ",
    "one_of": ", or ",
}

Words = Mapping[Language, Mapping[str, str]]


def parse_steps(text: str) -> Words:
    """Read the words of every step in the languages beside English.

    Raises:
        PolicyInvalid: Not TOML, or a language or a word is missing or one too many.
    """
    english = {step.name.lower(): step.value for step in Step} | _ENGLISH
    try:
        words = {Language.ENGLISH: english} | {
            Language(name): dict(row) for name, row in tomllib.loads(text).items()
        }
    except (TypeError, ValueError) as error:
        raise PolicyInvalid(f"steps.toml: {type(error).__name__}: {error}") from error
    for language in Language:
        said = words.get(language, {})
        if set(said) != set(english) or not all(map(str.strip, said.values())):
            raise PolicyInvalid(f"steps.toml: a step has no words in {language}, or one too many")
    return words


WORDS = parse_steps(STEPS_FILE.read_text("utf-8"))


def say_steps(way: Iterable[Step], language: Language) -> list[str]:
    """Return the steps of one way to a yes in words, in alphabetical order."""
    words = WORDS[language]
    return sorted(words[step.name.lower()] for step in way)


def say_way(way: Iterable[Step], language: Language) -> str:
    """Return one way to a yes in one line."""
    return WORDS[language]["all_of"].join(say_steps(way, language))


def say_ways(ways: Iterable[Iterable[Step]], language: Language) -> str:
    """Return each way to a yes in one line; that there is none where there is none."""
    words = WORDS[language]
    return words["one_of"].join(say_way(way, language) for way in ways) or words["no_way"]
