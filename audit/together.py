"""Callers who come at the same time are served together, by one of them.

While one is served, the others wait and gather; the first of them serves all who came meanwhile.
Fifty threads that all work at once only take turns at the interpreter's one lock, and the thread
that writes waits for each of them. There is no thread of its own here, and nothing to close.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")

LARGEST = 64
"""How many are served at once; who comes later is in the next group.

One group of everybody would take as long to serve, and all would wait for its end together."""


class _Place(Generic[Ask, Answer]):
    """One caller's ask, the answer or error once there is one, and what it waits for."""

    __slots__ = ("answer", "ask", "called")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answer: tuple[Answer | BaseException] | None = None
        self.called = threading.Lock()
        self.called.acquire()


class Together(Generic[Ask, Answer]):
    """Serves asks in groups, in order of arrival; thread-safe."""

    def __init__(self, serve: Callable[[Sequence[Ask]], Sequence[Answer | Exception]]) -> None:
        """Prepare.

        Args:
            serve: Returns one answer for each ask, or the error that is raised to its caller
                alone. What it raises itself is raised to everybody in the group. It runs in the
                thread of any caller, and takes no lock that a caller holds while it asks.
        """
        self._serve = serve
        self._lock = threading.Lock()
        self._waiting: list[_Place[Ask, Answer]] = []
        self._busy = False

    def ask(self, ask: Ask) -> Answer:
        """Return the answer to an ask."""
        mine = _Place[Ask, Answer](ask)
        with self._lock:
            self._waiting.append(mine)
            leads, self._busy = not self._busy, True
        if not leads:
            mine.called.acquire()
        if mine.answer is None:
            self._lead(mine)
        return _answer_of(mine)

    def _lead(self, mine: _Place[Ask, Answer]) -> None:
        """Serve who waits, `mine` first among them, and call the next to lead."""
        with self._lock:
            group = self._waiting[:LARGEST]
            del self._waiting[:LARGEST]
        try:
            answers = self._serve([place.ask for place in group])
            for place, answer in zip(group, answers, strict=True):
                place.answer = (answer,)
        except BaseException as error:  # noqa: BLE001 (raised to every caller of the group)
            for place in group:
                place.answer = (error,)
        with self._lock:
            others = [*group, *self._waiting[:1]]
            self._busy = bool(self._waiting)
        for place in others:
            if place is not mine:
                place.called.release()


def _answer_of(place: _Place[Ask, Answer]) -> Answer:
    if place.answer is None:
        raise RuntimeError("called without an answer")
    (answer,) = place.answer
    if isinstance(answer, BaseException):
        raise answer
    return answer
