"""The journeys play in the same town as the promises."""

from __future__ import annotations

from tests.promises.conftest import make_town, redactor, town, world

__all__ = ["make_town", "redactor", "town", "world"]
