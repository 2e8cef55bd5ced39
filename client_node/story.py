"""What a person's kept turns tell, in order: a timeline, and what service may do about it.

Pure. The rules are set by hand, in round numbers: nothing here was fitted on anybody, and what is
said is about words, not about the person. A signal names work for service to do (a check, a
person who stays with the case); it is no score, and no offer rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from policies.vocabulary import Emotion

FEWEST_READ = 3
"""Turns with a reading below which there is no estimate."""
UNPLEASANT = -0.15
"""A conversation ends unpleasantly where its last two read turns lie below, in the mean."""
_LAST = 2
_NAMED = 20  # conversations that a signal names, the newest
_Z95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReading:
    """One turn as it was read: `at` in Unix seconds, `valence` in [-1, 1], None where unread."""

    turn: str
    at: int
    conversation: str
    label: str | None
    emotion: Emotion | None
    confidence: float | None
    valence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfaction:
    """How pleasant the words were, in [0, 1], and where the mean lies by chance (95 %)."""

    estimate: float
    low: float
    high: float
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A stretch of kept turns, oldest first: all are counted on, the newest of them shown.

    `older` names the turn before which more may be kept; `latest` says that the stretch reaches
    to now: of an earlier one nothing is estimated.
    """

    read: tuple[KeptReading, ...] = ()
    shown: tuple[KeptReading, ...] = ()
    older: str | None = None
    latest: bool = True


class Signal(StrEnum):
    """Work for service."""

    REOPENING = "reopening"  # the concern may come back: it ended unpleasantly, or came back
    LEAVING = "leaving"  # it ended unpleasantly more than once


DO = {
    Signal.REOPENING: "check that the concern is solved before the case is closed",
    Signal.LEAVING: "let one named person stay with the case until it is solved",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A signal, the conversations that it rests on, and what to do."""

    signal: Signal
    conversations: tuple[str, ...]

    @property
    def do(self) -> str:
        """What service does about it."""
        return DO[self.signal]


def satisfaction(story: Sequence[KeptReading]) -> Satisfaction | None:
    """Return an estimate over the turns; None where too few, or most of them, were not read."""
    read = [reading.valence for reading in story if reading.valence is not None]
    if len(read) < FEWEST_READ or 2 * len(read) <= len(story):
        return None
    mean = sum(read) / len(read)
    spread = math.sqrt(sum((value - mean) ** 2 for value in read) / (len(read) - 1))
    reach = _Z95 * spread / math.sqrt(len(read))
    return Satisfaction(
        estimate=_share(mean),
        low=_share(mean - reach),
        high=_share(mean + reach),
        turns=len(read),
    )


def signals(story: Sequence[KeptReading]) -> tuple[Raised, ...]:
    """Return what is raised; nothing where conversations were not read to their end."""
    by_name: dict[str, list[KeptReading]] = {}
    for reading in story:
        by_name.setdefault(reading.conversation, []).append(reading)
    names = list(by_name)
    bad = tuple(name for name, turns in by_name.items() if _ended_badly(turns))
    found = []
    if bad and (names[-1] == bad[-1] or len(names) > 1):
        found.append(Raised(signal=Signal.REOPENING, conversations=bad))
    if len(bad) > 1:
        found.append(Raised(signal=Signal.LEAVING, conversations=bad))
    return tuple(found)


def story_to_dict(story: Story) -> dict[str, Any]:
    """Return timeline, estimate and signals as JSON values; cues are expressed (rule 26).

    An earlier stretch has a timeline alone.
    """
    timeline = [
        {"conversation": name, "cues": [_cue(reading) for reading in turns]}
        for name, turns in groupby(story.shown, key=lambda reading: reading.conversation)
    ]
    told = {"timeline": timeline, "older": story.older}
    return told | _summary(story.read) if story.latest else told


def _summary(story: Sequence[KeptReading]) -> dict[str, Any]:
    estimate = satisfaction(story)
    return {
        "satisfaction": None
        if estimate is None
        else {
            "says": "how pleasant the words were, estimated",
            "estimate": estimate.estimate,
            "low": estimate.low,
            "high": estimate.high,
            "turns": estimate.turns,
        },
        "signals": [
            {
                "signal": r.signal.value,
                "do": r.do,
                "conversations": list(r.conversations[-_NAMED:]),
            }
            for r in signals(story)
        ],
    }


def _cue(reading: KeptReading) -> dict[str, Any]:
    says = None if reading.label is None else f"expressed cues of {reading.label}"
    return {
        "turn": reading.turn,
        "at": reading.at,
        "says": says,
        "confidence": reading.confidence,
    }


def _ended_badly(turns: Sequence[KeptReading]) -> bool:
    last = [turn.valence for turn in turns[-_LAST:]]
    known = [value for value in last if value is not None]
    return len(known) == len(last) and sum(known) / len(known) <= UNPLEASANT


def _share(valence: float) -> float:
    return round(min(1.0, max(0.0, (valence + 1) / 2)), 3)
