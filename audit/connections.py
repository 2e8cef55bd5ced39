"""How many connections a listener holds, and how long one may take to say what it wants.

Whoever opens connections and says nothing, or one byte every few seconds, holds a place of
somebody else's (slow loris). So a request's head is whole within `HEAD_S` and `HEAD_BYTES`, and
a listener holds so many connections and of one address half of them: what is beyond is closed
before TLS begins. How long a body may take says `audit.http.BodyLimit`; a TLS handshake, asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import resource
import socket
import time
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from audit.proxies import Networks, among, shared_by

HEAD_S = 20.0
"""How long a request's line and headers may take, from the connection's or their own first byte."""
HEAD_BYTES = 32 * 1024
MOST = 2048
"""Connections of a listener where the system allows as many files; of one address, half of it."""
_OWN_FILES = 256
"""What a service opens besides connections."""
_TELL_EVERY_S = 60.0
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9._-]*)(:[0-9]{0,5})?")
_log = logging.getLogger("undertone")


class TimedHttp(HttpToolsProtocol):
    """Uvicorn's protocol with a limit of time and size for what comes before a body.

    llhttp by itself reads headers without end. It refuses what two parsers could read in two ways
    (both lengths, folded lines, bare line feeds), which h11 takes.
    """

    head_s = HEAD_S

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._before_body = True
        self._head_bytes = self._taken = 0
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; blank lines before a request count as its head."""
        if self._before_body:
            self._await_head()
            self._head_bytes += len(data)
        super().data_received(data)
        if self._before_body and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the headers are more than {HEAD_BYTES} bytes: send fewer")

    def on_message_begin(self) -> None:
        """Begin to wait for the head of a request that came behind another."""
        super().on_message_begin()
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address, within the limit."""
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, within the limit."""
        self._take(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop waiting: what follows is the body."""
        self._head_came()
        upgrade = self.parser.should_upgrade()
        _check_head(self.headers, version=self.parser.get_http_version(), upgrade=upgrade)
        super().on_headers_complete()
        if upgrade and not self._should_upgrade():
            self.cycle.keep_alive = False  # llhttp takes what follows for another protocol

    def on_message_complete(self) -> None:
        """Whatever comes next is another request's head."""
        self._head_came()
        self._before_body, self._head_bytes, self._taken = True, 0, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """After an answer to half a body the rest of it is waited for no longer than for a head."""
        if not self._before_body:
            self._await_head()
        super().on_response_complete()

    def _take(self, size: int) -> None:
        """Count a part of the head; the parser answers an error with 400."""
        self._taken += size
        if self._taken > HEAD_BYTES:
            raise ValueError("headers too large")

    def _await_head(self) -> None:
        if self._alarm is None and not self.transport.is_closing():
            self._alarm = self.loop.call_later(self.head_s, self._too_slow)

    def _head_came(self) -> None:
        self._before_body = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_slow(self) -> None:
        """Close, but not under an answer that is still being given."""
        self._alarm = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()
        else:
            self.transport.close()


def _check_head(headers: list[tuple[bytes, bytes]], *, version: str, upgrade: bool) -> None:
    """Return if nobody in front of us can have read a head in another way.

    A body behind an `Upgrade` or `CONNECT` llhttp reads as the next request, which whoever sent the
    body has written.

    Raises:
        ValueError: Two hosts, none or no name; a coding beside `chunked`; a body behind an upgrade.
    """
    hosts, codings, lengths = (
        [value.strip().lower() for name, value in headers if name == wanted]
        for wanted in (b"host", b"transfer-encoding", b"content-length")
    )
    if len(hosts) > 1 or not all(map(_HOST.fullmatch, hosts)):
        raise ValueError("one Host header that is a name or address (RFC 9112, 3.2)")
    if version not in {"1.0", "1.1"} or (version == "1.1" and not hosts):
        raise ValueError("HTTP/1.1 with a Host header, or HTTP/1.0 (RFC 9112, 3.2)")
    if codings and (version, codings) != ("1.1", [b"chunked"]):
        raise ValueError("Transfer-Encoding is chunked alone (RFC 9112, 6.1)")
    if upgrade and (codings or lengths not in ([], [b"0"])):
        raise ValueError("no body with an upgrade")


class BoundedSocket(socket.socket):
    """A listening socket that closes at once whatever comes while its places are taken.

    It sees connections before their TLS. Those of `unshared` networks, proxies that stand for
    many, and of a Unix socket have no address to be counted by. A peer that takes none of an
    answer for a minute is cut off.
    """

    _of: dict[socket.socket, str]
    _unshared: Networks
    _most: int
    _told_at = -math.inf
    stalled_ms = 60_000

    @classmethod
    def over(
        cls, bound: socket.socket, *, most: int = MOST, unshared: Networks = ()
    ) -> BoundedSocket:
        """Return a socket that listens where `bound` did, which is used up."""
        new = cls(fileno=bound.detach())
        new._of, new._most, new._unshared = {}, most, tuple(unshared)
        if new.family != socket.AF_UNIX:
            new.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, cls.stalled_ms)
        return new

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection.

        Raises:
            ConnectionAbortedError: There was no place for it; asyncio goes on to listen.
        """
        connection, peer = super().accept()
        host = self._counted(peer)
        if self._full(host):
            self._of = {c: h for c, h in self._of.items() if c.fileno() != -1}
            if self._full(host):
                connection.close()
                self._tell()
                raise ConnectionAbortedError
        self._of[connection] = host
        return connection, peer

    def _counted(self, peer: Any) -> str:
        """Return by what a connection is counted; nothing for who stands for many."""
        if not isinstance(peer, tuple):
            return ""
        return "" if among(peer[0], self._unshared) else shared_by(peer[0])

    def _full(self, host: str) -> bool:
        of_host = Counter(self._of.values())[host] if host else 0
        return len(self._of) >= self._most or of_host >= self._most // 2

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told_at > _TELL_EVERY_S:
            self._told_at = now
            _log.warning("all places for connections are taken: new ones are closed")


def places(listeners: int) -> int:
    """Return how many connections each listener may hold; ask the system for as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST * listeners + _OWN_FILES
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(MOST, (soft - _OWN_FILES) // listeners))
