"""How a campaign is worded, from noisy counts of a cohort: for all of it alike.

A person is told apart by nothing: they add at most one to each of three kinds of counts, the
counts get noise (`tally`), and all else is arithmetic on what came out. Pure but for the noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from models.accounting import RdpCurve, gaussian_curve
from models.noise import Noise, with_noise
from policies.vocabulary import Emotion

SENSITIVITY = math.sqrt(3)
"""A person moves three counts by at most one each: here, of one tone, vulnerable."""
STRAINED_BELOW, LIVELY_FROM = -0.15, 0.15
EXHAUSTING = frozenset({Emotion.SADNESS, Emotion.DISTRESS})
EXHAUSTED_TURNS = 2
REFER_FROM = 0.25
"""From this share of exhausted or vulnerable people, a cohort is helped and not sold to."""
SURE = 2.0
"""Standard deviations that a count must lie beyond what it is compared with."""


class Tone(StrEnum):
    """How one person's kept turns read on the whole; it is counted and not kept."""

    EXHAUSTED = "exhausted"
    STRAINED = "strained"
    EVEN = "even"
    LIVELY = "lively"


class Wording(StrEnum):
    """Which of a campaign's three texts."""

    PLAIN = "plain"  # the emotion-blind one
    CALMING = "calming"
    LIVELY = "lively"


class Because(StrEnum):
    """Why it came out so; a closed set, and nothing of it about a person."""

    CALMER = "strained turns outweigh lively ones by more than the noise"
    BRIGHTER = "lively turns outweigh strained ones by more than the noise"
    NO_DIFFERENCE = "no difference that the noise would not make: the plain wording"
    TOO_FEW = "too few for this node's floor, as far as the noise lets tell"
    EXHAUSTED = "many show expressed cues of exhaustion: a check on well-being, and no sale"
    VULNERABLE = "many are in a situation that may not be exploited: help, and no sale"
    BUDGET = "the privacy budget does not cover it"
    STALE = "standing is too old to ask anybody's data"
    STOPPED = "the organisation has stopped every use"
    LATE = "the count was not done in its time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One person as they are counted; `tone` None where no turn was read for sure."""

    tone: Tone | None
    vulnerable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts with noise of standard deviation `std`; no true count is kept beside them."""

    people: float
    tones: tuple[float, ...]
    vulnerable: float
    std: float

    def of(self, tone: Tone) -> float:
        """Return the count of a tone."""
        return self.tones[list(Tone).index(tone)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is done: a wording, a referral, or nothing."""

    because: Because
    wording: Wording | None = None
    refer: bool = False


def tally_curve(multiplier: float) -> RdpCurve:
    """Return what one tally costs a person; charged before anything is opened."""
    return gaussian_curve(noise_multiplier=multiplier, sample_rate=1.0, steps=1)


def tone_of(turns: Sequence[tuple[float | None, Emotion | None]]) -> Tone | None:
    """Return the tone of one person's turns `(valence, emotion)`."""
    known = [valence for valence, _ in turns if valence is not None]
    if not known:
        return None
    if sum(emotion in EXHAUSTING for _, emotion in turns) >= EXHAUSTED_TURNS:
        return Tone.EXHAUSTED
    mean = sum(known) / len(known)
    if mean <= STRAINED_BELOW:
        return Tone.STRAINED
    return Tone.LIVELY if mean >= LIVELY_FROM else Tone.EVEN


def tally(people: Iterable[Counted], *, multiplier: float, noise: Noise) -> Tally:
    """Count people, with noise; who has no tone is in no count."""
    counts = np.zeros(len(Tone) + 2)
    for person in people:
        if person.tone is None:
            continue
        counts[0] += 1
        counts[1 + list(Tone).index(person.tone)] += 1
        counts[-1] += person.vulnerable
    noisy = with_noise(counts, sensitivity=SENSITIVITY, multiplier=multiplier, noise=noise)
    return Tally(
        people=float(noisy[0]),
        tones=tuple(float(value) for value in noisy[1:-1]),
        vulnerable=float(noisy[-1]),
        std=SENSITIVITY * multiplier,
    )


def choose(found: Tally, *, floor: int) -> Choice:
    """Return what is done with a cohort: too few comes first, then help, then the wording."""
    if found.people < floor + SURE * found.std:
        return Choice(because=Because.TOO_FEW)
    if found.of(Tone.EXHAUSTED) >= REFER_FROM * found.people:
        return Choice(because=Because.EXHAUSTED, refer=True)
    if found.vulnerable >= REFER_FROM * found.people:
        return Choice(because=Because.VULNERABLE, refer=True)
    strained = found.of(Tone.STRAINED) + found.of(Tone.EXHAUSTED)
    reach, apart = SURE * math.sqrt(3) * found.std, strained - found.of(Tone.LIVELY)
    if apart > reach:
        return Choice(because=Because.CALMER, wording=Wording.CALMING)
    if apart < -reach:
        return Choice(because=Because.BRIGHTER, wording=Wording.LIVELY)
    return Choice(because=Because.NO_DIFFERENCE, wording=Wording.PLAIN)
