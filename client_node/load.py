"""How many turns are under way, and what is left out when they are many.

Optional work goes first: hints, articles, explanations, context from things. Above the most, a
turn is refused with the seconds after which to come again. Consents, withdrawals, decisions and
their records are never counted here, left out or refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from client_node.errors import Overloaded
from client_node.turn import Turn
from policies.vocabulary import Use

OPTIONAL = frozenset({Use.AGENT_HINT})
"""Uses that a turn can do without."""


class Load:
    """Counts the turns under way; thread-safe."""

    def __init__(self, *, crowded: int, most: int) -> None:
        """Begin with none.

        Args:
            crowded: Turns under way above which optional work is left out.
            most: Turns under way above which another is refused.
        """
        self._crowded, self._most = crowded, most
        self._lock = threading.Lock()
        self._under_way = 0

    @property
    def crowded(self) -> bool:
        """Whether optional work is left out now."""
        with self._lock:
            return self._under_way > self._crowded

    @contextmanager
    def admit(self) -> Iterator[bool]:
        """Count one turn while it is answered; yield whether it is crowded.

        Raises:
            Overloaded: As many are under way as may be.
        """
        with self._lock:
            if self._under_way >= self._most:
                raise Overloaded(f"{self._most} turns are under way: send this one again shortly")
            self._under_way += 1
            crowded = self._under_way > self._crowded
        try:
            yield crowded
        finally:
            with self._lock:
                self._under_way -= 1


def shed(turn: Turn, *, context: bool = False) -> tuple[Turn, tuple[str, ...]]:
    """Return the turn without optional work, and what was left out; `context`: there is some."""
    left_out = []
    if turn.use in OPTIONAL:
        left_out.append(str(turn.use))
        turn = replace(turn, use=None)
    if turn.explain:
        left_out.append("explain")
        turn = replace(turn, explain=False)
    if context:
        left_out.append("context")
        turn = replace(turn, context=False)
    return turn, tuple(left_out)
