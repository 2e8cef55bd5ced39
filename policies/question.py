"""Our values as Cedar's: the form of `rules/schema.cedarschema`, filled in.

Chooses nothing but the consent to be weighed (the newest that names purpose and modality);
every comparison is in the rules, where a lawyer can read it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from policies.decision import UseRequest
from policies.law import Clocks
from policies.standing import Governance, Grant, Standing
from policies.vocabulary import Action, NodeId, Purpose

HOUR_S, DAY_S = 3_600, 86_400


def entities(node: NodeId, standing: Standing, governance: Governance) -> list[dict[str, Any]]:
    """Return the two entities that a rule may ask about: who asks, and about whom."""
    return [_node(node, governance), _person(standing)]


def release_entities(request: UseRequest, governance: Governance) -> list[dict[str, Any]]:
    """Return the two entities of a release: who asks, and the model, of which nothing is known."""
    model = {"uid": {"type": "Release", "id": request.subject}, "attrs": {}, "parents": []}
    return [_node(request.node, governance), model]


def asked_entities(
    node: NodeId, standing: Standing, governance: Governance, purpose: Purpose
) -> list[dict[str, Any]]:
    """Return the two entities of an asking: who asks, and what the person said before."""
    attributes = {
        "role": standing.role,
        "vulnerabilities": sorted(standing.vulnerabilities),
        "objected": sorted(standing.objected),
        "restricted": standing.restricted,
        "erased": standing.erased,
        "as_of": standing.as_of,
        "refused_at": standing.refused_at(purpose),
    }
    person = {"uid": {"type": "Asked", "id": standing.subject}, "attrs": attributes, "parents": []}
    return [_node(node, governance), person]


def asks(request: UseRequest) -> bool:
    """Return whether nothing is read: the person is only to be asked for a consent."""
    return request.action is Action.ASK and request.use is None


def concerns_a_model(request: UseRequest) -> bool:
    """Return whether this is the one action that concerns a model and no person."""
    return request.action is Action.RELEASE and request.use is None


def _node(node: NodeId, governance: Governance) -> dict[str, Any]:
    return {
        "uid": {"type": "Node", "id": node},
        "attrs": {
            "as_of": governance.as_of,
            "stopped": governance.stopped,
            "dpia_purposes": sorted(governance.dpia_purposes),
            "minimum_notice": governance.minimum_notice,
            "standing_max_age_s": governance.standing_max_age_s,
        },
        "parents": [],
    }


def _person(standing: Standing) -> dict[str, Any]:
    attributes = {
        "role": standing.role,
        "age": standing.age,
        "vulnerabilities": sorted(standing.vulnerabilities),
        "withdrawn": sorted(standing.withdrawn),
        "objected": sorted(standing.objected),
        "restricted": standing.restricted,
        "erased": standing.erased,
        "as_of": standing.as_of,
        "informed_at": standing.informed_at,
    }
    return {
        "uid": {"type": "Person", "id": standing.subject},
        "attrs": _known(attributes),
        "parents": [],
    }


def question(
    request: UseRequest, standing: Standing | None, *, now: int, clocks: Clocks
) -> dict[str, Any]:
    """Return the request as Cedar reads it: principal, action, resource and context.

    Without a standing it is about a release; every other action then fails the schema.
    """
    kind = "Release" if standing is None else "Asked" if asks(request) else "Person"
    return {
        "principal": {"type": "Node", "id": request.node},
        "action": {"type": "Action", "id": _action(request)},
        "resource": {"type": kind, "id": request.subject},
        "context": _context(request, standing, now=now, clocks=clocks),
    }


def _action(request: UseRequest) -> str:
    """Return the named use, or the bare `use` that rule 24 refuses where the two disagree."""
    if request.action is Action.USE and request.use is not None:
        return request.use.value
    return request.action.value if request.use is None else Action.USE.value


def _context(
    request: UseRequest, standing: Standing | None, *, now: int, clocks: Clocks
) -> dict[str, Any]:
    facts = request.facts
    grant = standing.grant_for(request.purpose, request.modality) if standing else None
    circumstances = {
        "now": now,
        "clock_skew_s": clocks.clock_skew_s,
        "session_s": clocks.emotion_session_hours * HOUR_S,
        "ask_again_s": clocks.ask_again_days * DAY_S,
        "calm_test_s": clocks.calm_test_days * DAY_S,
        "purpose": request.purpose,
        "modality": request.modality,
        "setting": request.setting,
        "role": request.role,
        "channel": request.channel,
        "emotion": facts.emotion or "none",
        "leaves_node": facts.leaves_node,
        "protected": facts.protected,
        "budget_left": facts.budget_left,
        "consent": None if grant is None else _consent(grant),
        "delayed_calls": facts.delayed_calls,
        "safety_dpia": facts.safety_dpia,
        "approved_by": facts.approved_by,
        "read_at": facts.read_at,
        "certain": facts.certain,
        "offer_value": facts.offer_value,
        "baseline_value": facts.baseline_value,
        "due_anyway": facts.due_anyway,
        "calm_passed_at": facts.calm_passed_at,
    }
    return _known(circumstances)


def _consent(grant: Grant) -> dict[str, Any]:
    return {
        "purpose": grant.purpose,
        "modalities": sorted(grant.modalities),
        "notice_version": grant.notice_version,
        "explicit": grant.explicit,
        "granted_at": grant.granted_at,
        "expires_at": grant.expires_at,
    }


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def alike(request: UseRequest, standing: Standing, governance: Governance, now: int) -> Standing:
    """Return a nameless standing that the rules cannot tell from this one.

    Of all grants only the one weighed stays, and times that lie on the same side of `now`
    become one, so that thousands of people fall into a few cases. (A test decides both ways.)
    """
    grant = standing.grant_for(request.purpose, request.modality)
    fresh = 0 <= now - standing.as_of <= governance.standing_max_age_s
    return replace(
        standing,
        subject=request.subject,
        as_of=now if fresh else standing.as_of,
        grants=() if grant is None else (_alike_grant(grant, now),),
        informed_at=None if standing.informed_at is None else _past(standing.informed_at, now),
        withdrawn=standing.withdrawn & {request.purpose},
        objected=standing.objected & {request.purpose},
        refused=tuple(r for r in standing.refused if asks(request) and r[0] is request.purpose),
    )


def _alike_grant(grant: Grant, now: int) -> Grant:
    return replace(
        grant,
        granted_at=_past(grant.granted_at, now),
        expires_at=now + 1 if grant.expires_at > now else 0,
    )


def _past(moment: int, now: int) -> int:
    return 0 if moment <= now else moment
