"""What every test shares: no network but loopback, and the real data where it is given."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("undertone", deadline=None)  # machines differ, and are shared
hypothesis.settings.load_profile("undertone")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    if self.family in {socket.AF_INET, socket.AF_INET6}:
        host = str(address[0])
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise AssertionError(f"a test tried to reach {host}: nothing calls home")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def _network_is_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data and published vectors.

    It comes by UNDERTONE_SHARED: unset skips, set but missing fails.
    """
    given = os.environ.get("UNDERTONE_SHARED")
    if not given:
        pytest.skip("UNDERTONE_SHARED is not set: the real data is not on this machine")
    path = Path(given)
    if not path.is_dir():
        pytest.fail("UNDERTONE_SHARED names a folder that does not exist")
    return path
