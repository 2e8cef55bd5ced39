"""The promises' fixtures: a town of real parts, and the node's own small world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client_node.redaction import Redactor
from tests.client_node.conftest import World
from tests.promises.town import Town


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    """Return the real redactor, loaded once."""
    return Redactor.load()


@pytest.fixture
def make_town(tmp_path: Path, redactor: Redactor) -> Iterator[Callable[..., Town]]:
    """Return a maker of one town; another redactor or trust settings may be given."""
    made: list[Town] = []

    def make(**changed: Any) -> Town:
        folder = tmp_path / f"town-{len(made)}"
        folder.mkdir()
        made.append(Town(folder, **({"redactor": redactor} | changed)))
        return made[-1]

    yield make
    for town in made:
        town.close()


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """Return a town with the real redactor."""
    return make_town()


@pytest.fixture
def world(tmp_path: Path, redactor: Redactor) -> Iterator[World]:
    """Return one node's world, in which a test plays the trust service by hand."""
    made = World(tmp_path / "node", redactor=redactor)
    yield made
    made.close()
