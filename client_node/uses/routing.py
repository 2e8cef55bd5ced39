"""Who should take a conversation: by skills and load, never by how good an agent is.

Only somebody who is free comes into question. What is known of an agent is what they can do and
how much they do now; nothing here measures them (promise 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent: what they can do, how many conversations they have and may have at once.

    `reserved` agents are kept free for hand-overs; ordinary calls never get them.
    """

    agent: str
    skills: frozenset[str] = frozenset()
    reserved: bool = False
    open: int = 0
    most: int = 1

    @property
    def free(self) -> bool:
        """Whether they can take one more."""
        return self.open < self.most


def choose(agents: Iterable[Agent], needs: frozenset[str]) -> Agent | None:
    """Return the free agent with all the skills: reserved first, then the least loaded.

    Between equals the one with the fewest other skills, so that who can do most stays free.
    """
    fit = [agent for agent in agents if agent.free and needs <= agent.skills]
    return min(fit, key=_order, default=None)


def _order(agent: Agent) -> tuple[bool, float, int, str]:
    return not agent.reserved, agent.open / agent.most, len(agent.skills), agent.agent
