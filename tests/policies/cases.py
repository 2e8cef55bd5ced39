"""The one person, node and organisation that the policy tests start from: all is in order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from policies.decision import Facts, UseRequest
from policies.standing import Governance, Grant, Standing
from policies.vocabulary import (
    Action,
    AgeBand,
    Emotion,
    Modality,
    NodeId,
    Objective,
    Purpose,
    SubjectId,
    Use,
)

NOW = 1_800_000_000
DAY_S = 86_400
PERSON = SubjectId("p-1")
NODE = NodeId("branch-1")

CONSENT = {
    purpose: Grant(
        purpose=purpose,
        modalities=frozenset(Modality),
        notice_version=3,
        explicit=True,
        granted_at=NOW - 30 * DAY_S,
        expires_at=NOW + 30 * DAY_S,
    )
    for purpose in Purpose
}
STANDING = Standing(
    subject=PERSON,
    as_of=NOW - 5,
    age=AgeBand.ADULT,
    grants=tuple(CONSENT.values()),
    informed_at=NOW - 30 * DAY_S,
)
GOVERNANCE = Governance(
    as_of=NOW - 5,
    stopped=False,
    dpia_purposes=frozenset(Purpose),
    minimum_notice=3,
    standing_max_age_s=60,
)

INFER = UseRequest(node=NODE, action=Action.INFER, purpose=Purpose.SERVICE, subject=PERSON)
STORE = UseRequest(node=NODE, action=Action.STORE, purpose=Purpose.TRAINING, subject=PERSON)
TRAIN = UseRequest(
    node=NODE,
    action=Action.TRAIN,
    purpose=Purpose.TRAINING,
    subject=PERSON,
    facts=Facts(leaves_node=True, protected=True),
)
COUNT = UseRequest(
    node=NODE,
    action=Action.COUNT,
    purpose=Purpose.AGGREGATE_REPORTING,
    subject=PERSON,
    facts=Facts(leaves_node=True, protected=True),
)
HANDOVER = UseRequest(
    node=NODE,
    action=Action.USE,
    use=Use.HANDOVER,
    purpose=Purpose.HANDOVER,
    subject=PERSON,
    facts=Facts(
        emotion=Emotion.ANGER,
        delayed_calls=0,
        read_at=NOW - 1,
        certain=True,
        objective=Objective.ACCESS,
    ),
)
HINT = UseRequest(
    node=NODE,
    action=Action.USE,
    use=Use.AGENT_HINT,
    purpose=Purpose.AGENT_HELP,
    subject=PERSON,
    facts=Facts(emotion=Emotion.ANGER, read_at=NOW - 1, certain=True, objective=Objective.HELP),
)
RELEASE = UseRequest(
    node=NODE,
    action=Action.RELEASE,
    purpose=Purpose.TRAINING,
    subject=SubjectId("release-1"),
    facts=Facts(leaves_node=True, protected=True, approved_by="jo@example.org"),
)
REFERRAL = UseRequest(
    node=NODE,
    action=Action.USE,
    use=Use.REFERRAL,
    purpose=Purpose.SERVICE,
    subject=PERSON,
    facts=Facts(read_at=NOW - 1, certain=True, objective=Objective.PROTECTION),
)
FAIR = Facts(
    read_at=NOW - 1,
    certain=True,
    offer_value=500,
    baseline_value=500,
    due_anyway=True,
    calm_passed_at=NOW - DAY_S,
    approved_by="jo",
    objective=Objective.REDRESS,
)
"""What an offer or a compensation states of itself where all is in order."""
COMPENSATION = UseRequest(
    node=NODE,
    action=Action.USE,
    use=Use.COMPENSATION,
    purpose=Purpose.SERVICE,
    subject=PERSON,
    facts=FAIR,
)
ASK = UseRequest(node=NODE, action=Action.ASK, purpose=Purpose.TRAINING, subject=PERSON)


def use(what: Use, *, emotion: Emotion | None = None, **facts: Any) -> UseRequest:
    """Return a request to act on a reading for the purpose of offers, in order otherwise."""
    return UseRequest(
        node=NODE,
        action=Action.USE,
        use=what,
        purpose=Purpose.OFFERS,
        subject=PERSON,
        facts=replace(FAIR, emotion=emotion, **facts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything the engine is given besides the time; a release has no standing."""

    request: UseRequest
    standing: Standing | None
    governance: Governance


def released(
    *, facts: dict[str, Any] | None = None, governance: dict[str, Any] | None = None, **changes: Any
) -> Situation:
    """Return a release in which all is in order but what is named."""
    asked = replace(RELEASE, **changes)
    return Situation(
        request=replace(asked, facts=replace(asked.facts, **(facts or {}))),
        standing=None,
        governance=replace(GOVERNANCE, **(governance or {})),
    )


def so(
    request: UseRequest,
    *,
    facts: dict[str, Any] | None = None,
    standing: dict[str, Any] | None = None,
    consent: dict[str, Any] | None = None,
    governance: dict[str, Any] | None = None,
    **changes: Any,
) -> Situation:
    """Return the situation in which all is in order but what is named."""
    grant = replace(CONSENT[request.purpose], **(consent or {}))
    person = replace(STANDING, grants=(grant,)) if consent else STANDING
    asked = replace(request, **changes)
    return Situation(
        request=replace(asked, facts=replace(asked.facts, **(facts or {}))),
        standing=replace(person, **(standing or {})),
        governance=replace(GOVERNANCE, **(governance or {})),
    )
