"""Callers who come at the same time are served together, by one of them.

While one is served, the others wait and gather; the first of them serves all who came meanwhile.
Fifty threads that all work at once only take turns at the interpreter's one lock, and the thread
that writes waits for each of them. There is no thread of its own here, and nothing to close.

What a group only waits for, such as its commit, may be told apart as `finish`: the next group is
served meanwhile, so that a processor works while the disk does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")

LARGEST = 64
"""How many are served at once; who comes later is in the next group."""


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

    def __init__(
        self,
        serve: Callable[[Sequence[Ask]], Any],
        finish: Callable[[Any], Sequence[Answer | Exception]] = lambda answers: answers,
    ) -> None:
        """Prepare.

        Args:
            serve: Serves one group at a time; what it returns is for `finish`, or the answers
                themselves.
            finish: Returns one answer for each ask, or the error that is raised to its caller
                alone; other groups may be served and finished meanwhile.

        What either raises itself is raised to everybody in the group. Both run in the thread of
        any caller, and take no lock that a caller holds while it asks.
        """
        self._serve, self._finish = serve, finish
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
        """Serve who waits, `mine` first among them, call the next to lead, and answer."""
        with self._lock:
            group = self._waiting[:LARGEST]
            del self._waiting[:LARGEST]
        try:
            served = self._serve([place.ask for place in group])
        except BaseException as error:  # noqa: BLE001 (raised to every caller of the group)
            self._call_next()
            _raise_to(group, error)
        else:
            self._call_next()
            self._answer(group, served)
        for place in group:
            if place is not mine:
                place.called.release()

    def _call_next(self) -> None:
        with self._lock:
            following = self._waiting[:1]
            self._busy = bool(following)
        for place in following:
            place.called.release()

    def _answer(self, group: Sequence[_Place[Ask, Answer]], served: Any) -> None:
        try:
            for place, answer in zip(group, self._finish(served), strict=True):
                place.answer = (answer,)
        except BaseException as error:  # noqa: BLE001 (raised to every caller of the group)
            _raise_to(group, error)


def _raise_to(group: Sequence[_Place[Ask, Answer]], error: BaseException) -> None:
    for place in group:
        place.answer = (error,)


def _answer_of(place: _Place[Ask, Answer]) -> Answer:
    if place.answer is None:
        raise RuntimeError("called without an answer")
    (answer,) = place.answer
    if isinstance(answer, BaseException):
        raise answer
    return answer
