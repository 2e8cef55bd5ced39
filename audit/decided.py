"""What the log says of a decision: the event, and what was considered, sealed beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from audit.batch import Batch
from audit.events import Event, EventKind, Value
from policies.canonical import Canonical, canonical, canonical_object
from policies.decision import Decision, UseRequest, request_to_dict
from policies.standing import Governance, Standing, governance_to_dict
from policies.vocabulary import DecisionId, Digest, RuleId

_NULL, _TRUE, _FALSE = (Canonical(canonical(value)) for value in (None, True, False))


@lru_cache(maxsize=1024)
def _names(rules: tuple[RuleId, ...]) -> Canonical:
    return Canonical(canonical(rules))


def ids_of(request: UseRequest, decision_id: DecisionId, policy_digest: Digest) -> dict[str, str]:
    """Return which use was decided, by which rules, as events carry it."""
    return {
        "decision_id": decision_id,
        "node": request.node,
        "action": request.action.value,
        "purpose": request.purpose.value,
        "modality": request.modality.value,
        "policy_digest": policy_digest,
    }


def notice_of(request: UseRequest, standing: Standing | None) -> dict[str, Value]:
    """Return the version of the notice under which the person consented to this, if they did."""
    grant = None if standing is None else standing.grant_for(request.purpose, request.modality)
    return {} if grant is None else {"notice_version": grant.notice_version}


def decided(
    request: UseRequest, decision: Decision, basis: Mapping[str, Value], *, now: float
) -> Event:
    """Return the event of one decision: what was asked, and by which rules it was answered."""
    fields: dict[str, Value] = {
        **basis,
        **ids_of(request, decision.decision_id, decision.policy_digest),
        "use": None if request.use is None else request.use.value,
        "allowed": decision.allowed,
        "rules": list[str](decision.rules),
        "request_digest": decision.request_digest,
        "standing_digest": decision.standing_digest,
    }
    return Event(kind=EventKind.DECISION, at=now, fields=fields)


def facts_of(
    request: UseRequest,
    standing: Standing | None,
    governance: Governance | None,
    decision: Decision,
    *,
    now: float,
) -> Canonical:
    """Return everything it takes to make the decision again, as an object's canonical bytes.

    What stays the same from turn to turn is put in as it was written the first time.
    """
    return canonical_object(
        {
            "request": request.encoded.data,
            "standing": _NULL if standing is None else standing.encoded.data,
            "governance": _NULL if governance is None else governance.encoded.data,
            "now": Canonical(canonical(now)),
            "allowed": _TRUE if decision.allowed else _FALSE,
            "rules": _names(decision.rules),
        }
    )


def batch_facts(
    request: UseRequest,
    governance: Governance,
    decisions: Sequence[Decision],
    batch: Batch,
) -> dict[str, Any]:
    """Return what was decided for each distinct case, and the leaves; nobody's standing."""
    return {
        "request": request_to_dict(request),
        "governance": governance_to_dict(governance),
        "cases": [
            {"allowed": d.allowed, "rules": list(d.rules), "standing_digest": d.standing_digest}
            for d in decisions
        ],
        "leaves": base64.b64encode(b"".join(batch.leaves)).decode(),
    }
