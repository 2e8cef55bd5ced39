"""Rule 13's arithmetic: would anybody else start later because of a hand-over?

Two schedules over the same agents and the same waiting calls are compared: the emotion-blind
one, and the one with the hand-over. Both serve calls first come, first served, each call by
the agent who is free first. Pure; every time is in seconds on the caller's clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from client_node.uses.routing import Agent


class Capacity(StrEnum):
    """Where a hand-over goes."""

    RESERVED = "reserved"  # an agent kept free for this, whom ordinary calls never get
    IDLE = "idle"  # an ordinary agent who has nothing to do
    AHEAD = "ahead"  # nobody is free: before those who wait


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCall:
    """One call in the queue: its id there, when it came, how long it will take."""

    call: str
    since_s: float
    handling_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """The queue as the telephone system sees it now.

    `busy_until_s` is when each busy ordinary agent will be free. `moved` is the hand-over's
    own call if it waits in the queue already; its `handling_s` is how long it will take. Where
    `agents` are named, who is idle or reserved is counted from them, for what the call `needs`.
    """

    now_s: float
    idle_agents: int
    reserved_idle: int
    busy_until_s: tuple[float, ...]
    waiting: tuple[WaitingCall, ...]
    handling_s: float
    moved: str | None = None
    agents: tuple[Agent, ...] = ()
    needs: frozenset[str] = frozenset()


def staffed(state: QueueState) -> QueueState:
    """Return the state with its counts taken from the named agents, where there are any.

    A reserved agent counts where they have the skills; an idle ordinary one counts always, as
    the emotion-blind schedule would use them for somebody.
    """
    if not state.agents:
        return state
    free = [agent for agent in state.agents if agent.free]
    return replace(
        state,
        reserved_idle=sum(a.reserved and state.needs <= a.skills for a in free),
        idle_agents=sum(not a.reserved for a in free),
    )


def capacity(state: QueueState) -> Capacity:
    """Return where the hand-over goes: reserved capacity first, then idle agents."""
    if state.reserved_idle > 0:
        return Capacity.RESERVED
    if state.idle_agents > 0:
        return Capacity.IDLE
    return Capacity.AHEAD


def delayed_calls(state: QueueState) -> int:
    """Return how many other calls would start later than in the emotion-blind schedule."""
    blind = _starts(_free_at(state), _in_order(state.waiting))
    shifted = _with_handover(state)
    return sum(shifted[call] > start for call, start in blind.items() if call != state.moved)


def _with_handover(state: QueueState) -> Mapping[str, float]:
    """Return the start of every other call once the hand-over has its agent."""
    free = _free_at(state)
    if capacity(state) is not Capacity.RESERVED:
        starts_at = heapq.heappop(free) if free else float("inf")
        heapq.heappush(free, starts_at + state.handling_s)
    return _starts(free, _in_order(c for c in state.waiting if c.call != state.moved))


def _free_at(state: QueueState) -> list[float]:
    """Return when each ordinary agent is free next, as a heap."""
    busy = [max(state.now_s, at) for at in state.busy_until_s]
    free = [state.now_s] * state.idle_agents + busy
    heapq.heapify(free)
    return free


def _in_order(calls: Iterable[WaitingCall]) -> list[WaitingCall]:
    return sorted(calls, key=lambda c: (c.since_s, c.call))


def _starts(free: list[float], calls: Iterable[WaitingCall]) -> dict[str, float]:
    """Serve the calls in order, each by the agent who is free first; return their starts."""
    heap, starts = list(free), {}
    for call in calls:
        starts[call.call] = heapq.heappop(heap) if heap else float("inf")
        heapq.heappush(heap, starts[call.call] + call.handling_s)
    return starts
