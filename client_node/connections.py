"""Which hosts this node may open, and a guard that makes every other connection fail.

Promise 10: a node calls its coordinator's gateway, its trust service and the integrations
its operator named, and nothing else. `ConnectionPolicy.check` is asked before a client is
built; `ConnectionGuard` stands behind it for the whole process, libraries included, as a
Python audit hook (PEP 578), which code cannot remove. Sockets that a C library opens by
itself are outside its reach; the node process loads none that does.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from client_node.errors import ConnectionForbidden

DEFAULT_PORTS = {"http": 80, "https": 443}
OPENING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """The closed set of `host:port` that the operator signed."""

    allowed: frozenset[str]

    def check(self, host: str, port: int) -> None:
        """Return if this node may open the host.

        Raises:
            ConnectionForbidden: The host and port are not in the signed policy.
        """
        if f"{host}:{port}" not in self.allowed:
            raise ConnectionForbidden(
                f"{host}:{port} is not among the connections of the node's signed policy: "
                "have the operator add it, or remove what asks for it"
            )

    def check_url(self, url: str) -> None:
        """Return if this node may open the URL's host.

        Raises:
            ConnectionForbidden: As in `check`, or the URL names no host.
        """
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if parts.hostname is None or port is None:
            raise ConnectionForbidden("a connection needs a URL with a host and a known scheme")
        self.check(parts.hostname, port)


@dataclass(slots=True)
class ConnectionGuard:
    """Fail and count every connection of this process that the policy does not name.

    `refused` counts them. Unix sockets are this machine's own and pass.
    """

    policy: ConnectionPolicy
    refused: int = 0
    _addresses: set[tuple[str, int]] = field(default_factory=set)
    _resolving: threading.local = field(default_factory=threading.local)

    def watch(self, event: str, args: tuple[Any, ...]) -> None:
        """Judge one audit event of the interpreter.

        Raises:
            ConnectionForbidden: It is a connection, or a look-up of a name, not in the policy.
        """
        if getattr(self._resolving, "busy", False):
            return
        if event == "socket.getaddrinfo":
            self._judge_name(args[0], args[1])
        elif event in OPENING:
            self._judge_socket(args[0], args[1])

    def _judge_name(self, host: Any, port: Any) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or _is_address(name):
            return  # nothing is asked of a name server
        if not any(entry.rpartition(":")[0] == name for entry in self.policy.allowed):
            self._refuse(f"the name {name!r} (port {port})")

    def _judge_socket(self, sock: socket.socket, address: Any) -> None:
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
            return
        target = (str(address[0]), int(address[1]))
        if f"{target[0]}:{target[1]}" in self.policy.allowed or target in self._addresses:
            return
        self._resolve()
        if target not in self._addresses:
            self._refuse(f"{target[0]}:{target[1]}")

    def _resolve(self) -> None:
        """Look up the allowed names again: an address may have changed."""
        self._resolving.busy = True
        try:
            for entry in self.policy.allowed:
                host, _, port = entry.rpartition(":")
                self._addresses.update(_addresses(host, int(port)))
        finally:
            self._resolving.busy = False

    def _refuse(self, what: str) -> None:
        self.refused += 1
        raise ConnectionForbidden(
            f"the process tried to open {what}, which the node's signed policy does not name"
        )


@dataclass(slots=True)
class _Hook:
    """Hold the guard in force: an audit hook itself can never be taken out again."""

    guard: ConnectionGuard | None = None
    added: bool = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.guard is not None and (event == "socket.getaddrinfo" or event in OPENING):
            self.guard.watch(event, args)


_HOOK = _Hook()


def install(guard: ConnectionGuard | None) -> None:
    """Put the guard in force for this whole process, in place of an earlier one; None ends it."""
    _HOOK.guard = guard
    if not _HOOK.added:
        _HOOK.added = True
        sys.addaudithook(_HOOK)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _addresses(host: str, port: int) -> set[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {(str(info[4][0]), int(info[4][1])) for info in found}
