"""Serving: quiet, private sockets, one clear error, and an end that lets the caller finish."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from audit.errors import CertificateExpired, PortTaken, ServeFailed
from audit.pki import create_authority, issue_server
from audit.serve import Listener, serve, serve_all


def named_app(name: str) -> FastAPI:
    """Return an app that says its name."""
    app = FastAPI()

    @app.get("/")
    def answer() -> str:
        return name

    return app


@contextmanager
def serving(*listeners: Listener) -> Iterator[list[str]]:
    """Serve in a thread until the block ends."""
    ready, stop, addresses = threading.Event(), threading.Event(), list[str]()

    def tell(found: list[str]) -> None:
        addresses.extend(found)
        ready.set()

    thread = threading.Thread(
        target=serve_all, args=(listeners,), kwargs={"on_ready": tell, "stop": stop}
    )
    thread.start()
    assert ready.wait(20)
    try:
        yield addresses
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def test_serve_answers_on_tls_and_a_private_socket_without_a_server_header(
    tmp_path: Path,
) -> None:
    """Two apps in one process, TLS checked by name, socket mode 0600, nothing said of itself."""
    create_authority(tmp_path / "pki")
    certificate = issue_server(tmp_path / "pki", "node")
    tls = Listener(
        app=named_app("tls"), certificate=certificate, private_key=tmp_path / "pki" / "node.key"
    )
    unix = Listener(app=named_app("unix"), unix_socket=tmp_path / "node.sock")
    with serving(tls, unix) as (address, _):
        context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "authority.crt"))
        answer = httpx.get(address, verify=context, trust_env=False)
        assert (answer.json(), "server" in answer.headers) == ("tls", False)
        transport = httpx.HTTPTransport(uds=str(tmp_path / "node.sock"))
        with httpx.Client(transport=transport) as client:
            assert client.get("http://node/").json() == "unix"
        assert stat.S_IMODE((tmp_path / "node.sock").stat().st_mode) == 0o600
        with pytest.raises(PortTaken):
            serve(named_app("second"), unix_socket=tmp_path / "node.sock")
    assert not (tmp_path / "node.sock").exists()


def test_serve_keeps_a_connection_idle_for_longer_than_clients_do() -> None:
    """Clients drop idle connections after 5 s; were we first, a request would meet a closed one."""
    with serving(Listener(app=named_app("patient"))) as (address,):
        limits = httpx.Limits(keepalive_expiry=60)
        with httpx.Client(limits=limits, trust_env=False) as client:
            first = _port_of(client, address)
            time.sleep(6)
            assert _port_of(client, address) == first


def _port_of(client: httpx.Client, address: str) -> int:
    """Ask, and return the port from which our connection comes."""
    with client.stream("GET", address) as answer:
        port: int = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
        assert answer.read() == b'"patient"'
    return port


def test_serve_on_a_taken_port_is_one_clear_error() -> None:
    """A taken port names itself and the remedy."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port} is taken: stop"):
            serve(named_app("x"), port=port)


def test_serve_with_an_expired_certificate_or_half_of_tls_does_not_start(tmp_path: Path) -> None:
    """Nothing listens on a certificate that clients would refuse."""
    create_authority(tmp_path, clock=lambda: 1e9)
    certificate = issue_server(tmp_path, "node", clock=lambda: 1e9)
    with pytest.raises(CertificateExpired):
        serve(named_app("x"), certificate=certificate, private_key=tmp_path / "node.key")
    with pytest.raises(ServeFailed, match="both"):
        serve(named_app("x"), certificate=certificate)


def test_serve_replaces_a_dead_socket_but_no_file(tmp_path: Path) -> None:
    """A socket left by a crash is replaced; a file in its place is left alone."""
    path = tmp_path / "node.sock"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as dead:
        dead.bind(str(path))
    with serving(Listener(app=named_app("x"), unix_socket=path)):
        assert path.is_socket()
    path.write_text("precious")
    with pytest.raises(ServeFailed, match="not a socket"):
        serve(named_app("x"), unix_socket=path)
    assert path.read_text() == "precious"


CHILD = """
import sys
from fastapi import FastAPI
from audit.serve import serve
serve(FastAPI(), on_ready=lambda address: print(address, flush=True))
print("closed in order", flush=True)
"""


def test_serve_returns_on_sigterm_so_that_the_service_can_close() -> None:
    """SIGTERM ends serving, the caller goes on to close its log, and the exit status is 0."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(  # noqa: S603 (our own interpreter and text)
        [sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as child:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert httpx.get(f"{address}/none", trust_env=False).status_code == 404
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "closed in order\n", "")
