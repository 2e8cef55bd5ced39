"""Speaks with the coordinator's gateway about its log, and with nobody about anything else.

Everything of a round travels through the SuperNode; this connection is the node's own, as a
witness of the coordinator's log (`audit.exchange`).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import httpx

from audit.errors import PeerUnavailable
from audit.witnessing import MAX_BYTES
from client_node.connections import ConnectionPolicy
from client_node.errors import ConnectionForbidden, StartRefused

TIMEOUT_S = 10.0


class GatewayClient:
    """The connection to the gateway; thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        connections: ConnectionPolicy,
        authority: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is opened yet.

        Args:
            url: Where the gateway listens.
            connections: The operator's closed set, asked first.
            authority: Certificate that the gateway's is checked against; the system's if None.
            transport: Another way to carry requests, for tests.

        Raises:
            ConnectionForbidden: The node's policy does not name this host.
            StartRefused: The authority's certificate cannot be read.
        """
        connections.check_url(url)
        try:
            context = ssl.create_default_context(cafile=authority)
        except (OSError, ssl.SSLError) as error:
            raise StartRefused(f"setting coordinator_ca {authority}: cannot be read") from error
        self._http = httpx.Client(
            base_url=url, verify=context, timeout=TIMEOUT_S, transport=transport, trust_env=False
        )

    def witness(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Carry one call to the coordinator's witness; return status and body.

        Raises:
            PeerUnavailable: No answer.
        """
        return carry(self._http, method, path, body, {})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def carry(
    http: httpx.Client, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """Send one call of a witness's; return status and body.

    Raises:
        PeerUnavailable: No answer, or one that is too large.
    """
    try:
        answer = http.request(method, path, content=body, headers=dict(headers))
    except (httpx.HTTPError, ssl.SSLError, ConnectionForbidden, RuntimeError) as error:
        raise PeerUnavailable(f"no answer about a log ({type(error).__name__})") from error
    if len(answer.content) > MAX_BYTES:
        raise PeerUnavailable("the answer about a log is too large")
    return answer.status_code, answer.content
