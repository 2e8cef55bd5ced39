"""Claims about where a conversation is going: early, explained, and never to and fro."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.conversation import (
    EXPLAINED,
    REMEMBERED,
    STANDARD,
    Course,
    Moment,
    RiskCurve,
    Rule,
    Silence,
    Trend,
    follow,
    outlook,
)
from models.errors import ThresholdInvalid

STRAINS = st.lists(st.floats(min_value=-1, max_value=1), max_size=40)
RULES = st.builds(
    lambda half, calm, gap, turning: Rule(
        half_life_turns=half, calm_at=calm, warn_at=min(1.0, calm + gap), turning=turning
    ),
    st.floats(0.5, 10),
    st.floats(-0.9, 0.8),
    st.floats(0.01, 0.5),
    st.floats(0.01, 0.5),
)


def courses(strains: Sequence[float | None], rule: Rule = STANDARD) -> list[Course]:
    """Return the course after each turn; None is a turn that was not read."""
    course, found = Course(), []
    for number, strain in enumerate(strains):
        moment = None
        if strain is not None:
            cue = "frustration" if strain > 0 else None
            moment = Moment(turn=f"t{number}", strain=strain, cue=cue)
        course = follow(course, moment, rule)
        found.append(course)
    return found


def oracle(strains: Sequence[float], half_life: float) -> float:
    """Return the level by its definition, slowly."""
    weights = [0.5 ** (age / half_life) for age in range(len(strains) - 1, -1, -1)]
    return math.fsum(w * s for w, s in zip(weights, strains, strict=True)) / math.fsum(weights)


@given(strains=STRAINS.filter(bool), rule=RULES)
def test_level_is_the_weighted_mean(strains: list[float], rule: Rule) -> None:
    """The running sums give what the definition gives, within the range of the strains."""
    level = courses(strains, rule)[-1].level
    assert level == pytest.approx(oracle(strains, rule.half_life_turns), abs=1e-9)
    assert min(strains) - 1e-9 <= level <= max(strains) + 1e-9


@given(strains=STRAINS, rule=RULES)
def test_warning_never_flaps(strains: list[float], rule: Rule) -> None:
    """It is raised at or above one level and lowered below another: between them it stays."""
    for before, after in pairwise([Course(), *courses(strains, rule)]):
        if after.warned and not before.warned:
            assert after.level >= rule.warn_at
        if before.warned and not after.warned:
            assert after.level < rule.calm_at
        if rule.calm_at <= after.level < rule.warn_at:
            assert after.warned == before.warned


@given(strains=STRAINS, rule=RULES)
def test_trend_turns_only_by_its_margin(strains: list[float], rule: Rule) -> None:
    """A trend begins with a lead of `turning`, and does not outlive the lead's sign."""
    for before, after in pairwise([Course(), *courses(strains, rule)]):
        if after.trend is Trend.WORSENING:
            assert after.lead > 0
            assert before.trend is Trend.WORSENING or after.lead >= rule.turning
        if after.trend is Trend.EASING:
            assert after.lead < 0
            assert before.trend is Trend.EASING or after.lead <= -rule.turning


def test_mounting_strain_is_warned_of_before_its_height() -> None:
    """A complaint that grows is worsening, then warned of, before its worst turn; then it eases."""
    growing = [0.0, 0.2, 0.4, 0.5, 0.7, 0.9]
    found = courses([*growing, -0.6, -0.6, -0.6, -0.6])
    said = [outlook(course, STANDARD) for course in found]
    assert said[0].trend is None
    assert said[0].silent is Silence.SHORT
    assert said[2].trend is Trend.WORSENING
    warned = [number for number, one in enumerate(said) if one.warning]
    assert warned[0] < growing.index(0.9)
    assert said[-1].trend is Trend.EASING
    assert not said[-1].warning


def test_calm_conversation_is_never_warned_of() -> None:
    """Neutral and thankful turns, with one sharp word late, raise nothing."""
    strains = [0.05, -0.3, 0.0, -0.5, 0.1, 0.0, 0.6]
    assert not any(course.warned for course in courses(strains))


def test_outlook_names_the_turns_that_weigh_most() -> None:
    """At most three unpleasant turns, heaviest first; a late turn outweighs an early equal."""
    because = outlook(courses([0.5, -0.8, 0.1, 0.5, 0.4])[-1], STANDARD).because
    assert [moment.turn for moment in because] == ["t3", "t4", "t0"]
    assert len(because) == EXPLAINED
    assert {moment.cue for moment in because} == {"frustration"}


def test_unread_turns_are_no_calm() -> None:
    """Turns in another language move no level; when they are the most, nothing is said."""
    mixed = courses([0.6, None, 0.6])[-1]
    assert mixed.level == pytest.approx(0.6)
    mostly = outlook(courses([0.9, None, None])[-1], Rule(curve=RiskCurve(slope=1, shift=0)))
    assert (mostly.trend, mostly.silent, mostly.risk) == (None, Silence.UNREAD, None)
    assert mostly.because == ()
    assert not outlook(courses([None, None, 0.9])[-1], STANDARD).warning


@given(strains=STRAINS)
def test_course_stays_small(strains: list[float]) -> None:
    """However long a conversation, a course keeps a few numbers and a few turns."""
    for course in courses(strains):
        assert len(course.recent) <= REMEMBERED


def test_risk_is_stated_only_with_a_curve() -> None:
    """Without a curve that somebody fitted there is no number that looks like a probability."""
    course = courses([0.2, 0.4])[-1]
    assert outlook(course, STANDARD).risk is None
    risk = outlook(course, Rule(curve=RiskCurve(slope=4.0, shift=-2.0))).risk
    assert risk is not None
    assert 0 < risk < 0.5
    assert RiskCurve(slope=1e9, shift=0.0).risk(-1.0) == pytest.approx(0.0)
    assert RiskCurve(slope=1e9, shift=0.0).risk(1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"warn_at": 0.1, "calm_at": 0.1},
        {"warn_at": 1.1},
        {"warn_at": float("nan")},
        {"half_life_turns": 0.0},
        {"turning": 0.0},
        {"fewest_turns": 0},
    ],
)
def test_rule_that_contradicts_itself_is_refused(wrong: dict[str, float]) -> None:
    """A rule that would flap or never speak is no rule."""
    with pytest.raises(ThresholdInvalid):
        Rule(**wrong)  # type: ignore[arg-type]
