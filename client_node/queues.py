"""The queues as the telephone system last told them, for the supervisor's view: totals alone.

How many wait and for how long, and how much capacity is free. Agents are counted and not named:
there is no figure here about anybody who works (promise 4).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from client_node.uses.queue import QueueState, staffed
from policies.clock import Clock

MOST = 64
LASTS_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """One queue in totals; seconds, and when it was told (Unix seconds)."""

    name: str
    waiting: int
    longest_wait_s: float
    idle: int
    reserved: int
    busy: int
    told_at: float


class Queues:
    """Keeps the newest state of each queue; thread-safe."""

    def __init__(self, *, clock: Clock) -> None:
        """Begin with none."""
        self._clock, self._lock = clock, threading.Lock()
        self._views: OrderedDict[str, QueueView] = OrderedDict()

    def tell(self, name: str, state: QueueState) -> None:
        """Take the state of one queue; of the named agents their number is kept."""
        counted = staffed(state)
        agents = sum(not agent.free for agent in state.agents)
        view = QueueView(
            name=name,
            waiting=len(state.waiting),
            longest_wait_s=max((state.now_s - c.since_s for c in state.waiting), default=0.0),
            idle=counted.idle_agents,
            reserved=counted.reserved_idle,
            busy=max(agents, len(state.busy_until_s)),
            told_at=self._clock(),
        )
        with self._lock:
            self._views.pop(name, None)
            self._views[name] = view
            if len(self._views) > MOST:
                self._views.popitem(last=False)

    def agents(self, name: str) -> int:
        """Return how many take a queue's calls, as it was last told; 0 where it was not lately."""
        for view in self.views():
            if view.name == name:
                return view.idle + view.reserved + view.busy
        return 0

    def views(self) -> list[QueueView]:
        """Return what was told in the last ten minutes, by name."""
        since = self._clock() - LASTS_S
        with self._lock:
            fresh = [view for view in self._views.values() if view.told_at > since]
        return sorted(fresh, key=lambda view: view.name)


def view_to_dict(view: QueueView) -> dict[str, Any]:
    """Return a queue as JSON values."""
    return {
        "queue": view.name,
        "waiting": view.waiting,
        "longest_wait_s": view.longest_wait_s,
        "idle": view.idle,
        "reserved": view.reserved,
        "busy": view.busy,
        "told_at": view.told_at,
    }
