"""Serve a coordinator in one process: people's API on TCP, the courier's on a Unix socket.

Stops gracefully on SIGTERM and SIGINT: the run first, then the courier, then Flower.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from audit.pki import check_certificate, server_context
from audit.serve import bounded, configured
from coordinator.api import create_app, create_courier_app
from coordinator.errors import SettingsInvalid
from coordinator.service import CoordinatorService
from coordinator.settings import CoordinatorSettings

STARTED_S = 15.0


def serve(service: CoordinatorService, *, on_ready: Callable[[], None]) -> None:
    """Serve until a signal; call `on_ready` once everything is up.

    Raises:
        SettingsInvalid: A port or the socket is taken, or the admin token is not private.
        CertificateExpired, CertificateInvalid: The certificate cannot be used now.
        FlowerUnavailable: The SuperLink does not come up.
    """
    token = _read_token(service)
    check_certificate(service.settings.certificate, time.time())
    people, courier = _listen(service)
    # People's server runs on the main thread and takes the signals; the courier's follows it.
    courier_app = create_courier_app(
        service.queue, witnessing=service.witnesses.witnessing, refusals=service.refusals
    )
    followers = _server(courier_app)
    thread = threading.Thread(target=followers.run, args=([courier],), name="courier-api")
    thread.start()
    _on_signals(_leave)
    try:
        service.start()
        main = _server(
            create_app(service, admin_token=token), tls=_tls(service), settings=service.settings
        )
        on_ready()
        main.run([people])
    finally:
        _on_signals(signal.SIG_IGN)  # a second signal must not cut the clean end short
        service.close()
        followers.should_exit = True
        thread.join()
        service.settings.socket.unlink(missing_ok=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Leave through `finally`: uvicorn raises the signal again after its own clean end."""
    raise SystemExit(0)


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _server(
    app: ASGIApp,
    *,
    tls: ssl.SSLContext | None = None,
    settings: CoordinatorSettings | None = None,
) -> uvicorn.Server:
    if settings is None:
        return uvicorn.Server(configured(app, tls=tls))
    proxies, header = settings.proxies, settings.proxy_header
    return uvicorn.Server(configured(app, tls=tls, proxies=proxies, proxy_header=header))


def _tls(service: CoordinatorService) -> ssl.SSLContext | None:
    settings = service.settings
    if not settings.tls:
        return None
    return server_context(settings.certificate, settings.private_key, now=time.time())


def _listen(service: CoordinatorService) -> tuple[socket.socket, socket.socket]:
    settings = service.settings
    settings.socket.unlink(missing_ok=True)
    try:
        people = socket.create_server((settings.host, settings.port))
        courier = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # the socket is born readable by this user alone
        try:
            courier.bind(str(settings.socket))
        finally:
            os.umask(before)
        courier.listen()
    except OSError as error:
        raise SettingsInvalid(
            f"cannot listen on {settings.host}:{settings.port} or {settings.socket}: "
            f"{error.strerror}"
        ) from error
    return bounded(people, settings.proxies, listeners=2), bounded(courier, listeners=2)


def _read_token(service: CoordinatorService) -> str:
    path = service.settings.admin_token_file
    try:
        token = path.read_text(encoding="ascii").strip()
        private = path.stat().st_mode & 0o077 == 0
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"admin token {path}: {type(error).__name__}") from error
    if not token or not private:
        raise SettingsInvalid(f"admin token {path}: expected one line in a file of mode 0600")
    return token
