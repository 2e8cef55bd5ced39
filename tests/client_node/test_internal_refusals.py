"""What the node's executor sends wrong is refused on its socket, and the refusal is recorded."""

from __future__ import annotations

from audit.events import EventKind
from client_node.internal_api import MAX_BODY_BYTES
from tests.client_node.conftest import World


def test_internal_socket_records_refused_input(world: World) -> None:
    """An update that is no JSON, and a body beyond the limit, are entries without content."""
    node = world.open()
    executor = world.executor(node)
    assert executor.post("/internal/updates", content=b"John Smith").status_code == 409
    large = executor.post("/internal/updates", content=b" " * (MAX_BODY_BYTES + 1))
    assert large.status_code == 413
    found = node.log.find(EventKind.INPUT_REFUSED)
    assert [entry.event.fields for entry in reversed(found)] == [
        {"reason": "update-rejected", "field": "", "count": 1},
        {"reason": "content-too-large", "field": "body", "count": 1},
    ]
    assert not any(b"Smith" in entry.leaf for entry in found)


def test_node_takes_submissions_and_names_its_socket_in_its_folder(world: World) -> None:
    """The socket is there while the node is open, for its user alone."""
    node = world.open()
    path = node.settings.folder / "evidence.sock"
    assert path.is_socket()
    assert path.stat().st_mode & 0o077 == 0
    node.close()
    assert not path.exists()
