"""The trust service with its evidence log in PostgreSQL works as with a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audit.tile_folder import TileFolder
from tests.audit import postgres
from tests.consent.conftest import World


@pytest.fixture
def url() -> Iterator[str]:
    """Return the URL of an empty database."""
    with postgres.server() as socket:
        yield postgres.make_database(socket, "trust")


def test_service_records_in_postgres_and_goes_on_after_a_restart(
    make_world: Callable[..., World], tmp_path: Path, url: str
) -> None:
    """Notices, enrolments and grants are recorded there; a restart goes on; the copy verifies."""
    world = make_world(log_url=url)
    assert world.publish().status_code == 201
    assert world.approve("service").status_code == 201
    assert world.enrol("north", "acme").status_code == 201
    assert world.grant("ab" * 32).status_code == 201
    before = world.service.log.size
    world.reopen()
    assert world.service.log.size == before + 1  # its new start
    assert not (world.folder / "state" / "log.db").exists()
    folder = TileFolder(tmp_path / "tiles")
    folder.publish(world.service.log)
    assert folder.verify(world.service.key.verify_key).size == before + 1
