"""A branch's side of the node's socket, typed: turns in, answers and alerts out, one connection.

What was asked and not answered when the line broke is asked again under the same key, so that it
is done once. Alerts that come between answers wait in a bounded list until they are asked for.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self, cast

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from client_node.client import LONGEST_WAIT_S, MOST_TRIES, CorrectionReply, TurnReply
from client_node.errors import NodeProblem

NEWS = ("alert", "thing")
MOST_UNREAD = 6_000
MOST_BYTES = 2**20
DENIED = 1008


@dataclass(slots=True, kw_only=True)
class NodeSocket:
    """One connection to a node, opened when first needed; a context manager closes it.

    `url` is `ws://` on this machine and `wss://` elsewhere; `key` is the integration's.
    """

    url: str
    key: str = field(repr=False)
    watching: bool = False
    new_key: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    pause: Callable[[float], None] = time.sleep
    _line: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _open: ClientConnection | None = field(default=None, init=False, repr=False)
    _told: dict[str, deque[dict[str, Any]]] = field(
        default_factory=lambda: {kind: deque(maxlen=MOST_UNREAD) for kind in NEWS},
        init=False,
        repr=False,
    )

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def turn(self, customer: str, conversation: str, text: str, **more: Any) -> TurnReply:
        """Send one thing that a customer said; see `POST /v1/turns` for what else may be said.

        Raises:
            NodeProblem: The node does not answer, or says no.
        """
        body = {"customer": customer, "conversation": conversation, "text": text, **more}
        return cast("TurnReply", self._ask("turn", body))

    def correct(self, turn: str, label: str | None) -> CorrectionReply:
        """Say that a reading is wrong: the customer's own label, or none; errors as in `turn`."""
        return cast("CorrectionReply", self._ask("correction", {"turn": turn, "label": label}))

    def signal(self, customer: str, conversation: str, **event: Any) -> dict[str, Any]:
        """Send what a thing told (`POST /v1/signals` says what it may be); errors as in `turn`."""
        body = {"customer": customer, "conversation": conversation, **event}
        return cast("dict[str, Any]", self._ask("signal", body))

    def alerts(self) -> Iterator[dict[str, Any]]:
        """Yield each change of an alert as it comes, until the node ends the connection."""
        return self._news("alert")

    def things(self) -> Iterator[dict[str, Any]]:
        """Yield a conversation's context as a thing adds to it; it ends as `alerts` does."""
        return self._news("thing")

    def _news(self, kind: str) -> Iterator[dict[str, Any]]:
        self.watching = True
        connection = self._connection()
        while True:
            while self._told[kind]:
                yield self._told[kind].popleft()
            try:
                self._hear(connection)
            except ConnectionClosed:
                self.close()
                return

    def close(self) -> None:
        """Close the connection."""
        self._open = None
        self._line.close()

    def _ask(self, kind: str, body: dict[str, Any]) -> Any:
        key, wait_s = self.new_key(), 0.0
        for tried in range(1, MOST_TRIES + 1):
            if wait_s:
                self.pause(wait_s)
            try:
                said = self._once({"type": kind, "id": key, "body": body})
            except (OSError, ConnectionClosed) as error:
                self.close()
                if isinstance(error, ConnectionClosed) and _code(error) == DENIED:
                    raise NodeProblem(f"socket: {_reason(error)}") from error
                wait_s = 0.1 * 2**tried
                if tried == MOST_TRIES:
                    raise NodeProblem(f"{kind}: {type(error).__name__}") from error
                continue
            if said["type"] == "answer":
                return said["body"]
            wait_s = min(LONGEST_WAIT_S, float(said.get("retry_after_s", 0)))
            if not wait_s or tried == MOST_TRIES:
                detail = said["body"].get("detail", "no reason was given")
                raise NodeProblem(f"{kind}: {said['status']}: {detail}")
        raise AssertionError("unreachable")  # pragma: no cover

    def _once(self, message: dict[str, Any]) -> dict[str, Any]:
        connection = self._connection()
        connection.send(json.dumps(message))
        while True:
            said = self._hear(connection)
            if said is not None and said.get("id") == message["id"]:
                return said

    def _hear(self, connection: ClientConnection) -> dict[str, Any] | None:
        """Return the next message; news is kept, and None returned."""
        said: dict[str, Any] = json.loads(connection.recv())
        if said["type"] not in NEWS:
            return said
        self._told[said["type"]].append(said["body"])
        return None

    def _connection(self) -> ClientConnection:
        if self._open is None:
            headers = {"Authorization": f"Bearer {self.key}"}
            self._open = self._line.enter_context(
                connect(
                    f"{self.url}/v1/socket",
                    additional_headers=headers,
                    max_size=MOST_BYTES,
                    compression=None,
                    proxy=None,
                )
            )
            if self.watching:
                self._open.send('{"type": "watch"}')
        return self._open


def _code(error: ConnectionClosed) -> int:
    return 0 if error.rcvd is None else error.rcvd.code


def _reason(error: ConnectionClosed) -> str:
    return "" if error.rcvd is None else error.rcvd.reason
