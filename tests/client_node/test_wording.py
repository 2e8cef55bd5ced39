"""Use 9, the arithmetic: a cohort without emotion, noisy counts, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_node.cohort import Attribute, Criterion, check_definition
from client_node.errors import CohortRefused
from client_node.wording import (
    Because,
    Choice,
    Counted,
    Tally,
    Tone,
    Wording,
    choose,
    tally,
    tone_of,
)
from models.noise import SYSTEM_NOISE
from policies.vocabulary import Emotion, Vulnerability
from tests.client_node.test_segments import FIBRE, NoNoise


@pytest.fixture(scope="module")
def happy_tally() -> Tally:
    """Return fifty people of whom forty are lively."""
    return Tally(people=50, tones=(0, 0, 10, 40), vulnerable=0, std=5.0)


def test_cohort_has_no_attribute_for_a_feeling() -> None:
    """The closed list names no emotion, no vulnerability, and nothing that a node reads."""
    closed = {*Emotion, *Vulnerability, "emotion", "valence", "trend", "risk", "satisfaction"}
    assert not {attribute.value for attribute in Attribute} & closed
    with pytest.raises(ValueError, match="anger"):
        Attribute("anger")


@pytest.mark.parametrize(
    "word",
    ["angry", "frustrated-2", "upset", "mood.low", "exhausted", "traurig"],
)
def test_cohort_is_not_cut_by_a_word_for_a_feeling(word: str) -> None:
    """A product or region that names a feeling is refused by rule 16, and not repeated."""
    with pytest.raises(CohortRefused, match="rule 16") as refused:
        check_definition([replace(FIBRE, is_one_of=frozenset({word}))])
    assert word not in str(refused.value)


@pytest.mark.parametrize("word", ["debt-help", "disabled", "widow", "crisis"])
def test_cohort_is_not_cut_by_a_vulnerability(word: str) -> None:
    """Nor one that names a situation that may not be exploited, by rule 8."""
    with pytest.raises(CohortRefused, match="rule 8"):
        check_definition([replace(FIBRE, is_one_of=frozenset({word}))])


@pytest.mark.parametrize(
    "criteria",
    [
        [],
        [FIBRE] * 9,
        [Criterion(attribute=Attribute.PRODUCT, at_least=1)],
        [Criterion(attribute=Attribute.PRODUCT)],
        [Criterion(attribute=Attribute.ORDERS_LAST_YEAR, is_one_of=frozenset({"a"}))],
        [Criterion(attribute=Attribute.ORDERS_LAST_YEAR)],
        [replace(FIBRE, is_one_of=frozenset({"with space"}))],
    ],
)
def test_cohort_needs_a_whole_definition(criteria: list[Criterion]) -> None:
    """Too few or many criteria, or a value of the other kind, are refused."""
    with pytest.raises(CohortRefused):
        check_definition(criteria)


def test_criterion_holds_for_what_is_known() -> None:
    """Words are met exactly, ranges with both ends, and what is not known meets nothing."""
    months = Criterion(attribute=Attribute.CONTRACT_MONTHS, at_least=3, at_most=6)
    held = [months.holds({Attribute.CONTRACT_MONTHS: n}) for n in (2, 3, 6, 7)]
    assert held == [False, True, True, False]
    assert not months.holds({})
    assert FIBRE.holds({Attribute.PRODUCT: "fibre"})
    assert not FIBRE.holds({Attribute.PRODUCT: "mobile"})


def test_tone_is_of_the_whole_day() -> None:
    """The mean of the turns tells, exhaustion needs two such turns, and unread turns tell none."""
    assert tone_of([(None, None)]) is None
    assert tone_of([(-0.5, Emotion.ANGER), (0.1, None)]) is Tone.STRAINED
    assert tone_of([(0.6, Emotion.JOY)]) is Tone.LIVELY
    assert tone_of([(0.0, Emotion.NEUTRAL)]) is Tone.EVEN
    assert tone_of([(-0.5, Emotion.SADNESS)]) is Tone.STRAINED
    assert tone_of([(-0.5, Emotion.SADNESS), (-0.4, Emotion.DISTRESS)]) is Tone.EXHAUSTED


@given(
    st.lists(st.tuples(st.sampled_from([*Tone, None]), st.booleans()), max_size=20),
    st.tuples(st.sampled_from([*Tone, None]), st.booleans()),
)
def test_one_person_moves_the_counts_by_at_most_the_sensitivity(
    others: list[tuple[Tone | None, bool]], one: tuple[Tone | None, bool]
) -> None:
    """With and without anybody, the table of counts differs by the square root of three at most."""
    rows = [Counted(tone=tone, vulnerable=flag) for tone, flag in others]
    more = [*rows, Counted(tone=one[0], vulnerable=one[1])]
    less, all_of = (tally(r, multiplier=1.0, noise=NoNoise()) for r in (rows, more))
    moved = np.array(
        [
            all_of.people - less.people,
            all_of.vulnerable - less.vulnerable,
            *np.subtract(all_of.tones, less.tones),
        ]
    )
    assert np.linalg.norm(moved) <= np.sqrt(3) + 1e-12


def test_counts_are_noisy_by_as_much_as_is_charged() -> None:
    """The spread of many counts is multiplier times sensitivity, and none is the true one."""
    rows = [Counted(tone=Tone.EVEN, vulnerable=False)] * 40
    found = [tally(rows, multiplier=3.0, noise=SYSTEM_NOISE).people for _ in range(400)]
    assert len(set(found)) == len(found)
    assert np.std(found) == pytest.approx(3 * np.sqrt(3), rel=0.2)
    assert np.mean(found) == pytest.approx(40, abs=1.5)


def test_floor_is_tested_beyond_the_noise(happy_tally: Tally) -> None:
    """Two standard deviations above the floor or nothing is said."""
    assert choose(happy_tally, floor=40).because is not Because.TOO_FEW
    assert choose(happy_tally, floor=41) == Choice(because=Because.TOO_FEW)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Choice(because=Because.BRIGHTER, wording=Wording.LIVELY)),
        ({"tones": (0, 40, 5, 5)}, Choice(because=Because.CALMER, wording=Wording.CALMING)),
        ({"tones": (0, 20, 10, 20)}, Choice(because=Because.NO_DIFFERENCE, wording=Wording.PLAIN)),
        ({"tones": (13, 0, 0, 37)}, Choice(because=Because.EXHAUSTED, refer=True)),
        ({"vulnerable": 13}, Choice(because=Because.VULNERABLE, refer=True)),
    ],
)
def test_wording_follows_the_noisy_counts(
    happy_tally: Tally, changed: dict[str, Any], expected: Choice
) -> None:
    """Clear differences choose, unclear ones are worded plainly, and help comes before any sale."""
    assert choose(replace(happy_tally, **changed), floor=10) == expected
