"""People's interface by TLS, as browsers need it to sign in."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from audit.pki import create_authority, issue_server, server_context
from coordinator.api import create_app
from coordinator.client import CoordinatorClient
from coordinator.errors import ServiceUnavailable, SettingsInvalid
from coordinator.serve import _server
from coordinator.settings import CoordinatorSettings
from tests.coordinator.test_service import TOKEN, Centre, centre

__all__ = ["centre"]


def test_the_coordinator_speaks_tls_to_who_trusts_its_authority(
    centre: Centre, tmp_path: Path
) -> None:
    """The SDK reaches it by the authority that vouches for it, and not without."""
    folder = tmp_path / "pki"
    folder.mkdir()
    authority = create_authority(folder)
    certificate = issue_server(folder, "centre")
    tls = server_context(certificate, certificate.with_suffix(".key"), now=time.time())
    server = _server(create_app(centre.service, admin_token=TOKEN), tls=tls)
    bound = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    url = f"https://127.0.0.1:{bound.getsockname()[1]}"
    try:
        with CoordinatorClient(url, token=TOKEN, ca=authority) as client:
            assert client.runs() == []
        with (
            CoordinatorClient(url, token=TOKEN) as stranger,
            pytest.raises(ServiceUnavailable, match="did not answer"),
        ):
            stranger.runs()
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()


def test_people_beyond_the_machine_are_served_by_tls_alone(tmp_path: Path) -> None:
    """A host that others reach is refused without `tls`."""
    lines = [f'{n} = "x"' for n in ("folder", "signing_key", "admin_token_file", "certificate")]
    lines += ['private_key = "x"', 'authority = "x"', 'host = "0.0.0.0"']
    file = tmp_path / "coordinator.toml"
    file.write_text("\n".join(lines))
    with pytest.raises(SettingsInvalid, match="value_error"):
        CoordinatorSettings.load(file)
    file.write_text("\n".join([*lines, "tls = true"]))
    assert CoordinatorSettings.load(file).tls
