"""The journeys play in the same town as the promises, and at the portal's two sites."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.sites import Site, both_sites
from tests.promises.conftest import make_town, redactor, town, world

__all__ = ["make_town", "redactor", "town", "world"]


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """Return both sites over a made-up month: walk before you change (`Site.walked` keeps it)."""
    with both_sites(tmp_path_factory.mktemp("sites")) as made:
        yield made
