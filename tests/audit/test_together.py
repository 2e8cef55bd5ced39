"""Callers are served together, and none gets another's answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from audit.together import LARGEST, Together


class Slow:
    """Squares numbers; the first group waits until all others have come."""

    def __init__(self, others: int) -> None:
        self.groups: list[int] = []
        self.together = Together[int, int](self.serve)
        self._others = others

    def serve(self, asks: Sequence[int]) -> list[int | Exception]:
        """Answer a group; zero has no answer, and a group with a negative number breaks."""
        if not self.groups:
            while len(self.together._waiting) < self._others:
                threading.Event().wait(0.001)
        self.groups.append(len(asks))
        if min(asks) < 0:
            raise ArithmeticError("a negative number")
        return [ValueError("zero") if ask == 0 else ask * ask for ask in asks]


def _ask_all(slow: Slow, asks: Sequence[int]) -> list[int | Exception]:
    def ask(one: int) -> int | Exception:
        try:
            return slow.together.ask(one)
        except (ValueError, ArithmeticError) as error:
            return error

    with ThreadPoolExecutor(len(asks)) as callers:
        return list(callers.map(ask, asks))


def test_together_gives_each_its_own_answer_in_few_groups() -> None:
    """Who comes while one is served is served next, all at once, up to the largest group."""
    asks = list(range(1, LARGEST + 21))
    slow = Slow(len(asks) - 1)
    assert _ask_all(slow, asks) == [ask * ask for ask in asks]
    assert slow.groups == [1, LARGEST, 19]


def test_together_raises_an_error_to_its_caller_alone() -> None:
    """Zero's error is zero's; its neighbours get their answers."""
    asks = [1, 2, 0, 4]
    for ask, got in zip(asks, _ask_all(Slow(3), asks), strict=True):
        assert isinstance(got, ValueError) if ask == 0 else got == ask * ask


def test_together_raises_what_breaks_to_the_whole_group_and_goes_on() -> None:
    """A group that cannot be served gets the error, every caller; the next is served."""
    slow = Slow(0)
    with pytest.raises(ArithmeticError):
        slow.together.ask(-1)
    assert slow.together.ask(3) == 9


def test_together_with_too_few_answers_answers_nobody_falsely() -> None:
    """A serving that loses an answer is an error to all who have none of their own."""
    lossy = Together[int, int](lambda asks: [1] * (len(asks) - 1))
    with pytest.raises(ValueError, match="shorter"):
        lossy.ask(1)
