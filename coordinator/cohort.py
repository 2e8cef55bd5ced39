"""Which nodes take part in a run: those that answered the enrolment with a signed yes."""

from __future__ import annotations

from collections.abc import Mapping

from audit.signing import VerifyKey
from coordinator.errors import CohortTooSmall
from coordinator.replies import acknowledged
from policies.vocabulary import Digest, NodeId

Cohort = Mapping[NodeId, VerifyKey]
"""The nodes of a run with the keys that sign their replies; fixed at enrolment."""


def enrol(
    replies: Mapping[NodeId, bytes],
    *,
    nodes: Mapping[NodeId, VerifyKey],
    terms_digest: Digest,
    minimum: int,
) -> Cohort:
    """Return the nodes that are ready for these terms.

    A node says ready or refuses; either way it says nothing of its number of people.

    Raises:
        CohortTooSmall: Fewer than the plan's minimum are ready.
    """
    bodies = acknowledged(replies, kind="ready", cohort=nodes)
    ready = {
        node: nodes[node]
        for node, body in bodies.items()
        if body.get("terms_digest") == terms_digest
    }
    if len(ready) < minimum:
        raise CohortTooSmall(
            f"{len(ready)} of {len(nodes)} nodes are ready; the plan needs {minimum}"
        )
    return ready
