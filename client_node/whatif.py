"""A twin of the queue: what a route, a staffing or a rule would change, before it goes live.

Plays `client_node.uses.queue_simulation` on totals: calls and handling by hour, and a share of
calls with a cue, as wide as it is known. No record of a person comes in and no figure about an
agent goes out. In each replication all policies see the same calls (common random numbers), and
differences to the first policy are told with an interval over replications. Pure; the lots come
from a seed, so that what was shown can be shown again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist, fmean, stdev

from client_node.uses.queue_simulation import Call, Policy, later_starts, play
from client_node.uses.routing import Agent

ANSWERED_S = 20.0
"""A call is answered in time within so many seconds."""
_SPREAD = 0.6
_TAIL = 0.025
_Z95 = NormalDist().inv_cdf(0.975)


class Handling(StrEnum):
    """How long calls take about their mean."""

    LOGNORMAL = "lognormal"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour as it was recorded: how many calls came, and their mean handling time."""

    calls: float
    handling_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """What a shadow counted: of so many hand-overs asked for, so many the next rules close."""

    handovers: int
    closed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One way to run the queue; with a rule change fewer calls with a cue are moved."""

    name: str
    policy: Policy
    ordinary: int
    reserved: int = 0
    change: RuleChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is played. `cue_margin` is half the 95 % interval in which the share of cues lies."""

    name: str
    hours: tuple[Hour, ...]
    plans: tuple[Plan, ...]
    cue_share: float
    cue_margin: float = 0.0
    handling: Handling = Handling.LOGNORMAL
    replications: int = 30
    seed: int = 0


class Measure(StrEnum):
    """What is told of a plan."""

    WAIT_S = "mean wait, s"
    CUE_WAIT_S = "mean wait with a cue, s"
    OTHER_WAIT_S = "mean wait without, s"
    IN_TIME = "answered in 20 s, share"
    LATER = "calls that start later than in the first plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over replications with its 95 % interval, and where 95 % of replications lie.

    More replications narrow the first. The second is what one such stretch may bring, with
    what is not known of its shares: no number of replications narrows that.
    """

    low: float
    mean: float
    high: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A plan's measures, and how each differs from the first plan's on the same calls."""

    plan: Plan
    measures: dict[Measure, Interval]
    differences: dict[Measure, Interval]


def what_if(
    scenario: Scenario, *, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> tuple[Told, ...]:
    """Return what each plan would bring, the first one as what the others are held against."""
    played = []
    for number in range(scenario.replications):
        played.append(_replication(scenario, number))
        progress(number + 1, scenario.replications)
    found = []
    for place, plan in enumerate(scenario.plans):
        own = {m: [row[place][m] for row in played] for m in Measure}
        first = {m: [row[0][m] for row in played] for m in Measure}
        apart = {m: [a - b for a, b in zip(own[m], first[m], strict=True)] for m in Measure}
        found.append(
            Told(
                plan=plan,
                measures={m: interval(own[m]) for m in Measure},
                differences={m: interval(apart[m]) for m in Measure},
            )
        )
    return tuple(found)


def interval(values: Sequence[float]) -> Interval:
    """Return mean and 95 % interval (Student's t, by its expansion in 1/n: Fisher & Cornish)."""
    free, mean, z = len(values) - 1, fmean(values), _Z95
    quantile = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    reach = quantile * stdev(values) / math.sqrt(len(values))
    ranked, cut = sorted(values), int(_TAIL * len(values))
    return Interval(
        low=mean - reach,
        mean=mean,
        high=mean + reach,
        least=ranked[cut],
        most=ranked[-1 - cut],
    )


def erlang_c_wait_s(*, calls_per_hour: float, handling_s: float, agents: int) -> float:
    """Return the mean wait of an M/M/c queue (Erlang 1917), to hold the play against.

    Raises:
        ValueError: More comes than the agents can take.
    """
    load = calls_per_hour / 3600 * handling_s
    if load >= agents:
        raise ValueError("more comes than the agents can take")
    block = 1.0
    for n in range(1, agents + 1):  # Erlang B by its recursion
        block = load * block / (n + load * block)
    waits = block / (1 - load / agents * (1 - block))
    return waits * handling_s / (agents - load)


def _replication(scenario: Scenario, number: int) -> list[dict[Measure, float]]:
    """Play every plan on the same calls; return its measures."""
    lot = random.Random(f"{scenario.seed}/{number}")  # noqa: S311 (a play, no secret)
    share = lot.gauss(scenario.cue_share, scenario.cue_margin / _Z95)
    calls = _calls(scenario, min(1.0, max(0.0, share)), lot)
    moves = [lot.random() for _ in calls]
    chances = [lot.random() for _ in scenario.plans]
    found: list[dict[Measure, float]] = []
    blind: list[float] = []
    for plan, chance in zip(scenario.plans, chances, strict=True):
        allowed = _allowed(plan.change, random.Random(chance))  # noqa: S311 (as above)
        own = [
            replace(call, cue=call.cue and move < allowed)
            for call, move in zip(calls, moves, strict=True)
        ]
        spare = [Agent(agent=f"reserved-{n}", reserved=True) for n in range(plan.reserved)]
        starts = play(own, ordinary=plan.ordinary, reserved=spare, policy=plan.policy)
        blind = blind or starts
        found.append(_measured(calls, starts, blind))
    return found


def _calls(scenario: Scenario, share: float, lot: random.Random) -> list[Call]:
    calls = []
    for number, hour in enumerate(scenario.hours):
        at_s = number * 3600.0
        while hour.calls > 0:
            at_s += lot.expovariate(hour.calls / 3600)
            if at_s >= (number + 1) * 3600:
                break
            if scenario.handling is Handling.EXPONENTIAL:
                lasts_s = lot.expovariate(1 / hour.handling_s)
            else:
                lasts_s = hour.handling_s * math.exp(lot.gauss(-(_SPREAD**2) / 2, _SPREAD))
            calls.append(Call(at_s=at_s, handling_s=lasts_s, cue=lot.random() < share))
    return calls


def _allowed(change: RuleChange | None, lot: random.Random) -> float:
    """Return a share of hand-overs that stay allowed: as sure as the shadow's counts are."""
    if change is None:
        return 1.0
    return lot.betavariate(change.handovers - change.closed + 1, change.closed + 1)


def _measured(
    calls: Sequence[Call], starts: Sequence[float], blind: Sequence[float]
) -> dict[Measure, float]:
    waits = [start - call.at_s for call, start in zip(calls, starts, strict=True)]
    cued = [wait for call, wait in zip(calls, waits, strict=True) if call.cue]
    others = [wait for call, wait in zip(calls, waits, strict=True) if not call.cue]
    return {
        Measure.WAIT_S: _mean(waits),
        Measure.CUE_WAIT_S: _mean(cued),
        Measure.OTHER_WAIT_S: _mean(others),
        Measure.IN_TIME: _mean([float(wait <= ANSWERED_S) for wait in waits]),
        Measure.LATER: float(later_starts(calls, blind, starts)),
    }


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
