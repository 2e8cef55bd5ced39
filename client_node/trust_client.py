"""Speaks with the trust service over TLS, each request signed with the node's key.

Carries; decides nothing. What comes back about standing is a sealed envelope that
`client_node.standing_cache` verifies; notices are checked where they are used.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from audit.signing import SigningKey, sign_request
from client_node.connections import ConnectionPolicy
from client_node.errors import ConnectionForbidden, TrustRefused, TrustUnavailable
from client_node.gateway_client import carry
from policies.clock import Clock

TIMEOUT_S = 10.0
BULK_TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 17 * 2**20
REFUSALS = frozenset({400, 403, 404, 409, 410, 413, 422})
"""Answers that are the same however often it is asked."""
_LONGEST_REASON = 600


class TrustClient:
    """The node's one connection to its trust service; thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        key: SigningKey,
        connections: ConnectionPolicy,
        clock: Clock,
        authority: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is opened yet.

        Args:
            url: Where the trust service listens.
            key: Signs each request.
            connections: The operator's closed set, asked first.
            clock: Time of the signatures.
            authority: Certificate that the service's is checked against; the system's if None.
            transport: Another way to carry requests, for tests.

        Raises:
            ConnectionForbidden: The node's policy does not name this host.
            TrustUnavailable: The authority's certificate cannot be read.
        """
        connections.check_url(url)
        self._key, self._clock = key, clock
        self._http = httpx.Client(
            base_url=url,
            verify=_context(authority),
            timeout=TIMEOUT_S,
            transport=transport,
            trust_env=False,
        )

    def standing(self, *, after: int, wait_s: float) -> bytes:
        """Return the sealed envelope of what changed after a sequence; long poll.

        Raises:
            TrustUnavailable: No answer, or not one of success.
        """
        path = f"/v1/standing?after={after}&wait_s={wait_s:g}"
        return self._send("GET", path, timeout_s=TIMEOUT_S + wait_s)

    def notice(self, version: int) -> dict[str, Any]:
        """Return a published notice.

        Raises:
            TrustUnavailable: As in `standing`.
        """
        return _object(self._send("GET", f"/v1/notices/{version}"))

    def bundle(self, name: str, version: int) -> bytes:
        """Return the sealed envelope of one version of a bundle.

        Raises:
            TrustUnavailable: As in `standing`.
        """
        return self._send("GET", f"/v1/bundles/{name}/{version}")

    def shadow_report(self, body: Mapping[str, Any]) -> None:
        """Say what the proposed rules would change, in counts.

        Raises:
            TrustUnavailable: As in `standing`.
        """
        self._send("POST", "/v1/shadow-reports", body)

    def acknowledge(self, body: Mapping[str, Any]) -> None:
        """Say what was applied, destroyed and asked.

        Raises:
            TrustUnavailable: As in `standing`; say it again later.
        """
        self._send("POST", "/v1/acknowledgements", body)

    def grant(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record a consent under the pseudonym; return the receipt.

        Raises:
            TrustUnavailable: As in `standing`; the consent was not recorded.
        """
        return _object(self._send("POST", "/v1/grants", body))

    def grant_many(self, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Record many consents, all or none; return their receipts in order.

        Raises:
            TrustUnavailable: As in `standing`; no consent was recorded.
        """
        answer = _object(
            self._send("POST", "/v1/grants", {"grants": list(bodies)}, timeout_s=BULK_TIMEOUT_S)
        )
        receipts = answer.get("receipts")
        if not isinstance(receipts, list) or len(receipts) != len(bodies):
            raise TrustUnavailable("the trust service's answer has not a receipt for each grant")
        return receipts

    def withdraw(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record a withdrawal under the pseudonym; return the receipt.

        Raises:
            TrustUnavailable: As in `standing`; the withdrawal was not recorded.
        """
        return _object(self._send("POST", "/v1/withdrawals", body))

    def choice(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record what a person chose or is asked (`refusals`, `invitations`, ...).

        Raises:
            TrustUnavailable: As in `standing`; it was not recorded.
        """
        return _object(self._send("POST", f"/v1/{what}", body))

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Open a customer's request under the pseudonym; return its state and token.

        Raises:
            TrustUnavailable: As in `standing`; nothing was opened.
        """
        return _object(self._send("POST", "/v1/requests", body))

    def answer_request(self, request: str, body: Mapping[str, Any]) -> None:
        """Answer what was asked on a person's behalf.

        Raises:
            TrustUnavailable: As in `standing`; it is asked again.
        """
        path = f"/v1/requests/{request}/answers"
        self._send("POST", path, body, timeout_s=BULK_TIMEOUT_S)

    def decisions_reached(self) -> dict[str, int]:
        """Return where the next page of this node's decisions begins, and the size to prove it at.

        Raises:
            TrustUnavailable: As in `standing`, or it answered with something else.
        """
        return _numbers(self._send("GET", "/v1/branch-decisions"))

    def hand_over_decisions(self, page: Mapping[str, Any]) -> dict[str, int]:
        """Bring one page (`audit.branch_leaves`); return what `decisions_reached` does after it.

        Raises:
            TrustUnavailable: As in `standing`; bring it again.
        """
        return _numbers(self._send("POST", "/v1/branch-decisions", page))

    def witness(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Carry one call to the service's witness; return status and body (`audit.exchange`).

        Raises:
            PeerUnavailable: No answer.
        """
        headers = sign_request(self._key, method=method, path=path, body=body, now=self._clock())
        return carry(self._http, method, path, body, headers)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        headers = sign_request(self._key, method=method, path=path, body=content, now=self._clock())
        headers["Content-Type"] = "application/json"
        try:
            answer = self._http.request(
                method, path, content=content, headers=headers, timeout=timeout_s
            )
        except (httpx.HTTPError, ssl.SSLError, ConnectionForbidden) as error:
            raise TrustUnavailable(
                f"the trust service did not answer ({type(error).__name__})"
            ) from error
        if answer.status_code in REFUSALS:
            raise TrustRefused(_detail(answer))
        if not answer.is_success:
            raise TrustUnavailable(f"the trust service answered {answer.status_code}")
        if len(answer.content) > MAX_ANSWER_BYTES:
            raise TrustUnavailable("the trust service's answer is too large")
        return answer.content


def _context(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if authority is None else str(authority))
    except (OSError, ssl.SSLError) as error:
        raise TrustUnavailable(
            f"the trust service's authority cannot be read: {authority}"
        ) from error


def _detail(answer: httpx.Response) -> str:
    """Return the service's own line, which never has a word of what was sent."""
    try:
        detail = str(json.loads(answer.content)["detail"])[:_LONGEST_REASON]
    except (ValueError, KeyError, TypeError):
        detail = "no reason was given"
    return f"the trust service refused ({answer.status_code}): {detail}"


def _numbers(data: bytes) -> dict[str, int]:
    value = _object(data)
    if not all(type(value.get(name)) is int for name in ("start", "size")):
        raise TrustUnavailable("the trust service's answer does not say how far it has read")
    return value


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise TrustUnavailable("the trust service's answer is not JSON") from error
    if not isinstance(value, dict):
        raise TrustUnavailable("the trust service's answer is not an object")
    return value
