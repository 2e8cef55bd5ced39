"""A service's memory is searched seldom, never without end."""

from __future__ import annotations

import gc
import weakref

from audit.long_lived import long_lived


class _Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_lives_at_the_start_is_set_apart_until_the_end() -> None:
    """Nothing of the start is searched while it serves; afterwards all is as it was."""
    before = gc.get_threshold(), gc.get_freeze_count()
    with long_lived():
        assert gc.get_freeze_count() > before[1]
        assert gc.get_threshold()[0] > before[0][0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_garbage_of_requests_is_still_found() -> None:
    """What is made while it serves and holds itself in a circle does not stay."""
    with long_lived():
        gone = weakref.ref(_Circle())
        kept = [list[int]() for _ in range(gc.get_threshold()[0] + 1)]
        assert gone() is None
        assert kept
