"""The route by which staff trace a decision in a running service's log.

GET /v1/trace/{decision}   officer, DPO or auditor   the chain, each link with its receipt

The coordinator, whose decisions are of no person, lets all its staff ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Depends

from audit.log import EvidenceLog
from audit.staff import StaffRole, only
from audit.trace import Foreign, Proofs, link_to_dict, trace

READERS = (StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR)
_AT_A_TIME = 1000


def trace_router(
    log: EvidenceLog,
    *,
    published: Callable[[str], Foreign | None] = lambda _: None,
    guarded: Sequence[Any] = (Depends(only(*READERS)),),
) -> APIRouter:
    """Return the route over a log; `published` finds a release's entry in the coordinator's."""
    router = APIRouter(dependencies=guarded)

    @router.get("/v1/trace/{decision}")
    def traced(decision: str) -> dict[str, Any]:
        proofs = Proofs(log.origin, log.receipt, published)
        links = trace(_leaves(log), decision, proofs)
        return {"decision": decision, "links": [link_to_dict(link) for link in links]}

    return router


def _leaves(log: EvidenceLog) -> Iterator[tuple[int, bytes]]:
    size = log.size
    for start in range(0, size, _AT_A_TIME):
        for entry in log.entries(start, min(size, start + _AT_A_TIME)):
            yield entry.index, entry.leaf
