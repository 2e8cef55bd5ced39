"""A queue played twice on the same calls: once blind to emotion, once with routing.

First come, first served by the ordinary agents, in both. With routing, a call with a cue may
leave the queue for a reserved agent whom `routing.choose` finds; removing a call from such a
queue makes no other start later (Kiefer & Wolfowitz 1955), and the comparison shows it call by
call. `Policy.JUMP`, which puts these calls first in the queue, is there to be seen failing; so is
`Policy.FROM_MACHINE`, in which a machine's conversations also take ordinary agents who are idle.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from client_node.uses.routing import Agent, choose


class Policy(StrEnum):
    """How calls with a cue are treated."""

    BLIND = "blind"
    ROUTED = "routed"
    JUMP = "jump"
    FROM_MACHINE = "from_machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call; times in seconds. One with a machine needs a person only with `FROM_MACHINE`."""

    at_s: float
    handling_s: float
    cue: bool = False
    needs: frozenset[str] = frozenset()
    machine: bool = False


@dataclass(slots=True)
class _Floor:
    """The agents and the queue at one moment of the play."""

    calls: Sequence[Call]
    idle: int
    reserved: dict[str, Agent]
    policy: Policy
    starts: list[float]
    ends: list[tuple[float, str]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    cued: list[int] = field(default_factory=list)

    def arrive(self, number: int) -> None:
        call = self.calls[number]
        if call.machine:
            if self.policy is Policy.FROM_MACHINE and self.idle and not self._first():
                self._start(number, call.at_s, "")
            return
        first = self.policy is Policy.JUMP and call.cue
        heapq.heappush(self.waiting, number - len(self.calls) if first else number)
        if call.cue and self.policy in {Policy.ROUTED, Policy.FROM_MACHINE}:
            self.cued.append(number)

    def release(self, agent: str) -> None:
        if agent:
            self.reserved[agent] = replace(self.reserved[agent], open=0)
        else:
            self.idle += 1

    def serve(self, now_s: float) -> None:
        """Let ordinary agents take who came first, then reserved agents whom they can."""
        while self.idle and self._first():
            self._start(heapq.heappop(self.waiting) % len(self.calls), now_s, "")
        self.cued = [number for number in self.cued if math.isinf(self.starts[number])]
        for number in self.cued:
            agent = choose(self.reserved.values(), self.calls[number].needs)
            if agent is not None:
                self._start(number, now_s, agent.agent)

    def _first(self) -> bool:
        """Drop calls that have gone elsewhere; return whether one waits."""
        while self.waiting and self.starts[self.waiting[0] % len(self.calls)] < math.inf:
            heapq.heappop(self.waiting)
        return bool(self.waiting)

    def _start(self, number: int, now_s: float, agent: str) -> None:
        self.starts[number] = now_s
        heapq.heappush(self.ends, (now_s + self.calls[number].handling_s, agent))
        if agent:
            self.reserved[agent] = replace(self.reserved[agent], open=1)
        else:
            self.idle -= 1


def play(
    calls: Sequence[Call], *, ordinary: int, reserved: Sequence[Agent], policy: Policy
) -> list[float]:
    """Return when each call starts, in seconds; infinity for one that no person takes.

    Args:
        calls: In the order of their coming.
        ordinary: Agents who take every call.
        reserved: Agents kept free; not used by `BLIND` and `JUMP`.
        policy: How calls with a cue are treated.
    """
    floor = _Floor(
        calls=calls,
        idle=ordinary,
        reserved={agent.agent: agent for agent in reserved},
        policy=policy,
        starts=[math.inf] * len(calls),
    )
    coming = 0
    while coming < len(calls) or floor.ends:
        arrives_s = calls[coming].at_s if coming < len(calls) else math.inf
        if floor.ends and floor.ends[0][0] <= arrives_s:
            now_s, agent = heapq.heappop(floor.ends)
            floor.release(agent)
        else:
            now_s = arrives_s
            floor.arrive(coming)
            coming += 1
        floor.serve(now_s)
    return floor.starts


def later_starts(calls: Sequence[Call], blind: Sequence[float], other: Sequence[float]) -> int:
    """Return how many calls start later than in the blind schedule."""
    rows = zip(calls, blind, other, strict=True)
    return sum(theirs > ours for call, ours, theirs in rows if not call.machine)


def made_calls(
    number: int,
    *,
    per_hour: float,
    handling_s: float,
    cue_share: float,
    skills: Sequence[str],
    machine_share: float = 0.0,
    seed: int = 0,
) -> list[Call]:
    """Return made-up calls: Poisson arrivals, log-normal handling, a cue and one need by lot."""
    lot, at_s, calls = random.Random(seed), 0.0, []  # noqa: S311 (a play, no secret)
    spread = 0.6
    for _ in range(number):
        at_s += lot.expovariate(per_hour / 3600)
        calls.append(
            Call(
                at_s=at_s,
                handling_s=handling_s * math.exp(lot.gauss(-(spread**2) / 2, spread)),
                cue=lot.random() < cue_share,
                needs=frozenset({lot.choice(list(skills))}),
                machine=lot.random() < machine_share,
            )
        )
    return calls
