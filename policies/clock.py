"""Time as an argument, so that nothing in the rules or the evidence reads a clock by itself."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Return Unix seconds; `time.time` outside tests."""
