"""Where a conversation is going: the customer's turns so far, before it escalates.

A turn's strain is how unpleasant its reading is: the expected valence of the label sets (Russell
1980), turned round. The level of a conversation is the mean of its strains, weighted so that a
turn counts half after `half_life_turns` more. The rule is set by hand, in round numbers: no
weight of it was fitted on anybody. `tests.bench.conversation` says how often it warns before a
conversation is at its worst, how long before, and how often in vain.

A warning is raised at one level and lowered at another, so that it never flaps. It is about
words, as any reading is, and only about the customer's: nothing of an agent enters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from models.errors import ThresholdInvalid

REMEMBERED = 8
"""Turns that a course keeps for its explanation."""
EXPLAINED = 3
_FAST_HALF_LIFE_TURNS = 1.0


class Trend(StrEnum):
    """Where the level is going."""

    WORSENING = "worsening"
    STEADY = "steady"
    EASING = "easing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCurve:
    """A logistic curve from level to the share of such turns that a bad rating followed.

    None ships: it is fitted on rated conversations, whose licences or owners do not let it go.
    """

    slope: float
    shift: float

    def risk(self, level: float) -> float:
        """Return the probability in [0, 1]."""
        drawn = min(700.0, max(-700.0, self.slope * level + self.shift))
        return 1 / (1 + math.exp(-drawn))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The operator's settings; levels and `turning` are valences turned round, in [-1, 1].

    A warning is raised at `warn_at` and lowered below `calm_at`. A trend begins when the mean
    over the last turn or two leaves the level by `turning`, and ends when it meets it again;
    before `fewest_turns` were read there is none.

    Raises:
        ThresholdInvalid: The settings contradict each other.
    """

    half_life_turns: float = 4.0
    warn_at: float = 0.30
    calm_at: float = 0.15
    turning: float = 0.05
    fewest_turns: int = 2
    curve: RiskCurve | None = None

    def __post_init__(self) -> None:
        if not -1 <= self.calm_at < self.warn_at <= 1:
            raise ThresholdInvalid(
                f"calm_at lies below warn_at, both in [-1, 1]: "
                f"got {self.calm_at:g} and {self.warn_at:g}"
            )
        if not (self.half_life_turns > 0 and self.turning > 0 and self.fewest_turns >= 1):
            raise ThresholdInvalid("half_life_turns, turning and fewest_turns are positive")


STANDARD = Rule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One turn that was read: its strain in [-1, 1], and the cue that weighed most, if any."""

    turn: str
    strain: float
    cue: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A conversation so far, in a few numbers; no text.

    Sums are of strains weighted by age; the fast one is over the last turn or two.
    """

    read: int = 0
    unread: int = 0
    weighted: float = 0.0
    weight: float = 0.0
    fast_weighted: float = 0.0
    fast_weight: float = 0.0
    warned: bool = False
    trend: Trend = Trend.STEADY
    recent: tuple[Moment, ...] = ()

    @property
    def level(self) -> float:
        """The weighted mean strain, 0 before the first turn."""
        return self.weighted / self.weight if self.weight else 0.0

    @property
    def lead(self) -> float:
        """How far the last turn or two lie above the level."""
        return (self.fast_weighted / self.fast_weight if self.fast_weight else 0.0) - self.level


class Silence(StrEnum):
    """Why there is no trend."""

    SHORT = "short"  # fewer turns than the rule asks for
    UNREAD = "unread"  # more turns went unread than were read: no risk and no new warning either


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is said after a turn: a trend, or why there is none.

    `level` is in [-1, 1]; `risk` is None without a curve. `because` are the turns that weigh
    most in the level, heaviest first.
    """

    trend: Trend | None
    silent: Silence | None
    warning: bool
    level: float
    risk: float | None
    turns: int
    because: tuple[Moment, ...]


def follow(course: Course, moment: Moment | None, rule: Rule) -> Course:
    """Return the course after one more turn; one that was not read (None) moves no level.

    A reading that abstained because it was unsure counts: its valence is small where it is.
    """
    if moment is None:
        return replace(course, unread=course.unread + 1)
    slow, fast = 0.5 ** (1 / rule.half_life_turns), 0.5 ** (1 / _FAST_HALF_LIFE_TURNS)
    moved = replace(
        course,
        read=course.read + 1,
        weighted=slow * course.weighted + moment.strain,
        weight=slow * course.weight + 1,
        fast_weighted=fast * course.fast_weighted + moment.strain,
        fast_weight=fast * course.fast_weight + 1,
        recent=(*course.recent, moment)[-REMEMBERED:],
    )
    return replace(moved, warned=_warned(moved, rule), trend=_trend(moved, rule))


def outlook(course: Course, rule: Rule) -> Outlook:
    """Return what may be said of a conversation now."""
    silent = _silence(course, rule)
    known = silent is not Silence.UNREAD
    return Outlook(
        trend=None if silent else course.trend,
        silent=silent,
        warning=course.warned,
        level=course.level,
        risk=rule.curve.risk(course.level) if known and rule.curve is not None else None,
        turns=course.read,
        because=_because(course, rule) if known else (),
    )


def _silence(course: Course, rule: Rule) -> Silence | None:
    if course.unread > course.read:
        return Silence.UNREAD
    return Silence.SHORT if course.read < rule.fewest_turns else None


def _warned(course: Course, rule: Rule) -> bool:
    """Raise at `warn_at`, lower below `calm_at`, and leave it alone between the two."""
    if course.warned:
        return course.level >= rule.calm_at
    return course.unread <= course.read and course.level >= rule.warn_at


def _trend(course: Course, rule: Rule) -> Trend:
    if course.lead >= rule.turning:
        return Trend.WORSENING
    if course.lead <= -rule.turning:
        return Trend.EASING
    lasts = course.lead * {Trend.WORSENING: 1, Trend.STEADY: 0, Trend.EASING: -1}[course.trend] > 0
    return course.trend if lasts else Trend.STEADY


def _because(course: Course, rule: Rule) -> tuple[Moment, ...]:
    """Return the unpleasant turns among those remembered, by their share of the level."""
    ages = range(len(course.recent) - 1, -1, -1)
    shares = [
        (moment.strain * 0.5 ** (age / rule.half_life_turns), moment)
        for age, moment in zip(ages, course.recent, strict=True)
        if moment.cue is not None
    ]
    ranked = sorted(shares, key=lambda pair: -pair[0])
    return tuple(moment for share, moment in ranked[:EXPLAINED] if share > 0)
