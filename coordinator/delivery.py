"""Bring the newest release to every node that is online and has not said that it has it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from coordinator.courier import Courier
from coordinator.registry import Published, Registry
from coordinator.release import ReleaseBook
from coordinator.replies import acknowledged
from policies.clock import Clock
from policies.vocabulary import NodeId

DEADLINE_S = 2.0
"""When nodes answer a release; loading one takes a fraction of it."""
AGAIN_S = 30.0
"""How long a node that did not answer is left alone."""


class Delivery:
    """Send releases, and remember who confirmed them with a signature."""

    def __init__(
        self,
        courier: Courier,
        registry: Registry,
        releases: ReleaseBook,
        *,
        online: Callable[[], Collection[NodeId]],
        clock: Clock,
    ) -> None:
        self._courier, self._registry, self._releases = courier, registry, releases
        self._online, self._clock = online, clock
        self._asked_at: dict[tuple[NodeId, str], float] = {}

    def catch_up(self, *, patient: bool = True) -> frozenset[NodeId]:
        """Send the newest release where it is missing; return which nodes confirmed it now.

        Args:
            patient: Leave alone for a while a node that did not answer.

        Raises:
            CourierClosed: The coordinator shuts down.
            RunStopped: A person stopped what is going on.
        """
        newest = self._releases.latest()
        if newest is None:
            return frozenset()
        missing = sorted(set(self._online()) - self._registry.holders(newest.release))
        due = [node for node in missing if not patient or self._is_due(node, newest)]
        return self._send(newest, due) if due else frozenset()

    def _is_due(self, node: NodeId, newest: Published) -> bool:
        asked_at = self._asked_at.get((node, newest.release), float("-inf"))
        return self._clock() - asked_at > AGAIN_S

    def _send(self, newest: Published, nodes: list[NodeId]) -> frozenset[NodeId]:
        for node in nodes:
            self._asked_at[node, newest.release] = self._clock()
        replies = self._courier.exchange(dict.fromkeys(nodes, newest.bundle), deadline_s=DEADLINE_S)
        keys = {name: node.key for name, node in self._registry.nodes().items()}
        bodies = acknowledged(replies, kind="release-loaded", cohort=keys)
        confirmed = frozenset(
            node for node, body in bodies.items() if body.get("digest") == newest.digest
        )
        for node in confirmed:
            self._registry.loaded(node, newest.release)
        return confirmed
