"""A service's memory: what was there at its start stays, and is not searched for garbage.

Python looks for garbage after every 700 new objects, and now and then through everything that
lives, with all threads waiting. A service holds some hundred thousand objects from its start to
its end (modules, models, routes), and what a request makes hardly ever holds itself in a circle.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 50_000
"""A few megabytes at most, between two looks."""


@contextmanager
def long_lived() -> Iterator[None]:
    """Set all that lives now apart from what is searched, and search less often; undo it after."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
