"""How every service of ours listens: TLS or loopback, Unix socket, one line when it cannot.

Several listeners run in one process and stop together on SIGTERM or SIGINT, after answering
what they began; then `serve` returns, so that the caller can close its log. No access log
(paths can name people), no server header.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from audit.connections import BoundedSocket, TimedHttp, places
from audit.errors import PortTaken, ServeFailed
from audit.long_lived import long_lived
from audit.pki import server_context
from audit.proxies import BelieveProxies, Networks
from audit.settings import ProxyHeader
from policies.clock import Clock

_GRACE_S = 5
_KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection, so that none is closed under a request."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SOCKET_MASK = 0o177  # the Unix socket gets mode 0600


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An app and where it listens: on `unix_socket` if given, else on `host` and `port`.

    Port 0 takes a free one. With `certificate` and `private_key` (PEM files) it speaks TLS.
    `leaving` is called once when serving ends, before open requests are waited for: an app with
    streams ends them there, since nothing else would. With `largest_message_bytes` it answers
    WebSocket too, uncompressed (what is said beside a secret must not show in a length).
    `proxies` are believed whom they speak for, in `proxy_header` (`audit.proxies`).
    """

    app: ASGIApp
    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    private_key: Path | None = None
    unix_socket: Path | None = None
    leaving: Callable[[], None] = lambda: None
    largest_message_bytes: int | None = None
    proxies: Networks = ()
    proxy_header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR


def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | None = None,
    private_key: Path | None = None,
    unix_socket: Path | None = None,
    proxies: Networks = (),
    proxy_header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve one app until SIGTERM or SIGINT; see `serve_all`.

    Raises:
        PortTaken: Another process listens there.
        ServeFailed: The address cannot be used.
        CertificateExpired, CertificateInvalid: The certificate or its key cannot be used.
    """
    listener = Listener(
        app=app,
        host=host,
        port=port,
        certificate=certificate,
        private_key=private_key,
        unix_socket=unix_socket,
        proxies=proxies,
        proxy_header=proxy_header,
    )
    ready = None if on_ready is None else lambda addresses: on_ready(addresses[0])
    serve_all([listener], on_ready=ready)


def serve_all(
    listeners: Sequence[Listener],
    *,
    on_ready: Callable[[list[str]], None] | None = None,
    stop: threading.Event | None = None,
    clock: Clock = time.time,
) -> None:
    """Serve apps together until SIGTERM, SIGINT or `stop`, and answer what was begun.

    All addresses are taken, and all certificates checked, before any app starts.

    Args:
        listeners: What listens where.
        on_ready: Called with the addresses once all answer.
        stop: Ends serving when set, where signals do not reach (tests, threads).
        clock: Unix seconds, to check the certificates.

    Raises:
        PortTaken: Another process listens there.
        ServeFailed: An address cannot be used, or an app did not start.
        CertificateExpired, CertificateInvalid: A certificate or its key cannot be used.
    """
    contexts = [_context(listener, now=clock()) for listener in listeners]
    sockets: list[socket.socket] = []
    try:
        for listener in listeners:
            sockets.append(bounded(_bind(listener), listener.proxies, listeners=len(listeners)))  # noqa: PERF401 (those bound so far are closed below)
        servers = [_server(*pair) for pair in zip(listeners, contexts, strict=True)]
        addresses = [_address(row, bound) for row, bound in zip(listeners, sockets, strict=True)]
        with _stopping(servers), long_lived() if _in_main_thread() else nullcontext():
            asyncio.run(_run(servers, sockets, lambda: on_ready and on_ready(addresses), stop))
    finally:
        for bound in sockets:
            bound.close()
        for listener in listeners:
            if listener.unix_socket is not None and len(sockets) == len(listeners):
                listener.unix_socket.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Uvicorn without its own signals: several in one loop would take each other's handlers."""

    def __init__(self, config: uvicorn.Config, *, leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._leaving = leaving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(
    servers: Sequence[_Server],
    sockets: Sequence[socket.socket],
    ready: Callable[[], object],
    stop: threading.Event | None,
) -> None:
    """Run all servers; when one ends, all end."""
    pairs = zip(servers, sockets, strict=True)
    tasks = [asyncio.create_task(server.serve(sockets=[bound])) for server, bound in pairs]
    while not (all(s.started for s in servers) or any(t.done() for t in tasks)):
        await asyncio.wait(tasks, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
    if not all(server.started for server in servers):
        _end(servers)
        await asyncio.gather(*tasks, return_exceptions=True)
        raise ServeFailed("a service did not start: its log says why")
    ready()
    while not any(task.done() for task in tasks):
        if stop is not None and stop.is_set():
            break
        await asyncio.wait(tasks, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
    _end(servers)
    await asyncio.gather(*tasks)


def _end(servers: Sequence[_Server]) -> None:
    for server in servers:
        server.should_exit = True


def _in_main_thread() -> bool:
    """Tell whether the process does nothing else while it serves; a thread has neighbours."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _stopping(servers: Sequence[_Server]) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the servers, in the main thread, and restore the handlers."""
    if not _in_main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        _end(servers)

    before = [signal.signal(number, stop) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def configured(
    app: ASGIApp,
    *,
    tls: ssl.SSLContext | None,
    largest_message_bytes: int | None = None,
    proxies: Networks = (),
    proxy_header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR,
) -> uvicorn.Config:
    """Return how every server of ours serves an app: quietly, and nobody waits for the slow.

    To be run on asyncio's own loop, with a socket from `bounded`.
    """
    config = uvicorn.Config(
        BelieveProxies(app, proxies=proxies, header=proxy_header),
        http=TimedHttp,
        loop="asyncio",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none" if largest_message_bytes is None else "websockets-sansio",
        ws_max_size=largest_message_bytes or 0,
        ws_per_message_deflate=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    config.ssl = tls
    return config


def bounded(bound: socket.socket, proxies: Networks = (), *, listeners: int = 1) -> BoundedSocket:
    """Return a listening socket with as many places as one of so many listeners may have."""
    return BoundedSocket.over(bound, most=places(listeners), unshared=proxies)


def _server(listener: Listener, tls: ssl.SSLContext | None) -> _Server:
    config = configured(
        listener.app,
        tls=tls,
        largest_message_bytes=listener.largest_message_bytes,
        proxies=listener.proxies,
        proxy_header=listener.proxy_header,
    )
    return _Server(config, leaving=listener.leaving)


def _context(listener: Listener, *, now: float) -> ssl.SSLContext | None:
    if listener.certificate is None and listener.private_key is None:
        return None
    if listener.certificate is None or listener.private_key is None:
        raise ServeFailed("TLS needs both a certificate and its private key")
    return server_context(listener.certificate, listener.private_key, now=now)


def _bind(listener: Listener) -> socket.socket:
    """Take the address.

    Raises:
        PortTaken: Another process listens there.
        ServeFailed: The address cannot be used.
    """
    if listener.unix_socket is not None:
        return _bind_unix(listener.unix_socket)
    where = f"{listener.host}:{listener.port}"
    try:
        return socket.create_server((listener.host, listener.port), backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"{where} is taken: stop the other service or change port") from error
        raise ServeFailed(f"cannot listen on {where}: {error.strerror or 'bad address'}") from error


def _bind_unix(path: Path) -> socket.socket:
    """Take a Unix socket of mode 0600; one that nobody answers any more is replaced."""
    if _answers(path):
        raise PortTaken(f"{path.name} is taken: stop the other service first")
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(_SOCKET_MASK)
    try:
        bound.bind(str(path))
        bound.listen(512)
    except OSError as error:
        bound.close()
        raise ServeFailed(f"cannot listen on {path.name}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    return bound


def _answers(path: Path) -> bool:
    """Say whether somebody listens on a Unix socket."""
    if not path.is_socket():
        if path.exists():
            raise ServeFailed(f"{path.name} is there and not a socket: move it away")
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _address(listener: Listener, bound: socket.socket) -> str:
    if listener.unix_socket is not None:
        return f"unix:{listener.unix_socket}"
    scheme = "http" if listener.certificate is None else "https"
    return f"{scheme}://{listener.host}:{bound.getsockname()[1]}"
