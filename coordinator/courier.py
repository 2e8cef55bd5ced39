"""The exchange between the centre and its nodes: what goes out, what came back in time.

`Courier` is all that a round knows of the network. `CourierQueue` is the real one: the
service puts an exchange in, the ServerApp (another process) takes it by long poll, carries
it, and brings the replies. One exchange at a time. Every wait has a bound; an exchange that
is never taken or never brought back ends with no replies.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from coordinator.errors import CourierClosed, RunStopped
from policies.clock import Clock
from policies.vocabulary import NodeId

PICKUP_S = 45.0
"""How long an exchange waits for a courier; one that died is replaced within that time."""
RETURN_S = 5.0
"""How long replies may travel from the courier to the service."""


class Courier(Protocol):
    """Carry one payload to each node and bring back what came within the deadline."""

    def exchange(
        self, payloads: Mapping[NodeId, bytes], *, deadline_s: float
    ) -> Mapping[NodeId, bytes]:
        """Return the replies by node; an absent node is not in the result.

        Args:
            payloads: Signed envelopes by node.
            deadline_s: When nodes reply, counted from their receipt.

        Raises:
            RunStopped: A person stopped the run meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One exchange as the courier gets it: Flower's node ids, and how long to wait."""

    exchange: str
    payloads: Mapping[int, bytes]
    wait_s: float


class CourierQueue:
    """Hand exchanges to the courier process and its replies back to the round.

    Args:
        addresses: Flower's id of each registered node, asked at each exchange.
        grace_s: How long after the deadline replies may still travel.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self,
        addresses: Callable[[], Mapping[NodeId, int]],
        *,
        grace_s: float,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self._addresses, self._grace_s, self._monotonic = addresses, grace_s, monotonic
        self._one_at_a_time = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: Job | None = None  # not yet taken by a courier
        self._current: Job | None = None
        self._replies: Mapping[int, bytes] | None = None
        self._cancelled: str | None = None
        self._closed = False
        self._seen_at = float("-inf")

    def exchange(
        self, payloads: Mapping[NodeId, bytes], *, deadline_s: float
    ) -> Mapping[NodeId, bytes]:
        """Do as `Courier.exchange`.

        Raises:
            RunStopped: `cancel` was called.
            CourierClosed: `close` was called.
        """
        addresses = self._addresses()
        names = {addresses[node]: node for node in payloads if node in addresses}
        job = Job(
            exchange=secrets.token_hex(8),
            payloads={flower_id: payloads[node] for flower_id, node in names.items()},
            wait_s=deadline_s + self._grace_s,
        )
        with self._one_at_a_time:
            replies = self._carry(job)
        return {names[i]: reply for i, reply in replies.items() if i in names and reply}

    def _carry(self, job: Job) -> Mapping[int, bytes]:
        with self._changed:
            self._waiting = self._current = job
            self._replies, self._cancelled = None, None
            self._changed.notify_all()
            try:
                if self._wait(lambda: self._waiting is not job, PICKUP_S):
                    self._wait(lambda: self._replies is not None, job.wait_s + RETURN_S)
                return self._replies or {}
            finally:
                self._waiting = self._current = None

    def _wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        self._changed.wait_for(
            lambda: done() or self._cancelled is not None or self._closed, timeout_s
        )
        if self._closed:
            raise CourierClosed("the coordinator shuts down")
        if self._cancelled is not None:
            raise RunStopped(self._cancelled)
        return done()

    def next(self, *, wait_s: float) -> Job | None:
        """Return the exchange to carry, or None after `wait_s`; called by the courier.

        Raises:
            CourierClosed: There will be no more.
        """
        with self._changed:
            self._seen_at = self._monotonic()
            self._changed.wait_for(lambda: self._waiting is not None or self._closed, wait_s)
            self._seen_at = self._monotonic()
            if self._closed:
                raise CourierClosed("there is nothing more to carry")
            job, self._waiting = self._waiting, None
            self._changed.notify_all()
            return job

    def deliver(self, exchange: str, replies: Mapping[int, bytes]) -> bool:
        """Take the replies of an exchange; False when nobody waits for it any more."""
        with self._changed:
            self._seen_at = self._monotonic()
            if self._current is None or self._current.exchange != exchange:
                return False
            self._replies = dict(replies)
            self._changed.notify_all()
            return True

    def silent_for_s(self) -> float:
        """Return for how long no courier was heard; while one carries, it counts as heard."""
        with self._changed:
            carrying = self._current is not None and self._waiting is None
            return 0.0 if carrying else self._monotonic() - self._seen_at

    def cancel(self, why: str = "stopped while nodes were answering") -> None:
        """End the exchange in progress, if there is one, and say why."""
        with self._changed:
            self._cancelled = why
            self._changed.notify_all()

    def close(self) -> None:
        """End every wait, for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
