"""Our values as Cedar's: the form of `rules/schema.cedarschema`, filled in.

Chooses nothing but the consent to be weighed (the newest that names purpose and modality);
every comparison is in the rules, where a lawyer can read it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from policies.decision import Facts, UseRequest
from policies.law import Clocks
from policies.standing import Governance, Grant, Standing
from policies.vocabulary import Action, Channel, Modality, NodeId, Purpose, Role, Setting

HOUR_S, DAY_S = 3_600, 86_400

_COUNTS_FOR = (
    "protected",
    "certain",
    "due_anyway",
    "delayed_calls",
    "safety_dpia",
    "approved_by",
    "read_at",
    "offer_value",
    "baseline_value",
    "calm_passed_at",
    "objective",
)
"""The facts that a use may leave out: every rule that weighs one refuses where it is absent."""


class Occasion(NamedTuple):
    """What stays the same from turn to turn of who asks, what for, and where."""

    node: NodeId
    purpose: Purpose
    modality: Modality
    setting: Setting
    role: Role
    channel: Channel


def occasion_of(request: UseRequest) -> Occasion:
    """Return the occasion of a request."""
    return Occasion(
        request.node,
        request.purpose,
        request.modality,
        request.setting,
        request.role,
        request.channel,
    )


def entities(
    occasion: Occasion, standing: Standing, governance: Governance, clocks: Clocks
) -> list[dict[str, Any]]:
    """Return the two entities that a rule may ask about: who asks, and about whom."""
    return [_node(occasion, governance, clocks), _person(standing, occasion)]


def release_entities(
    request: UseRequest, governance: Governance, clocks: Clocks
) -> list[dict[str, Any]]:
    """Return the two entities of a release: who asks, and the model, of which nothing is known."""
    model = {"uid": {"type": "Release", "id": request.subject}, "attrs": {}, "parents": []}
    return [_node(occasion_of(request), governance, clocks), model]


def asked_entities(
    occasion: Occasion, standing: Standing, governance: Governance, clocks: Clocks
) -> list[dict[str, Any]]:
    """Return the two entities of an asking: who asks, and what the person said before."""
    attributes = {
        "role": standing.role,
        "vulnerabilities": sorted(standing.vulnerabilities),
        "objected": sorted(standing.objected),
        "restricted": standing.restricted,
        "erased": standing.erased,
        "refused_at": standing.refused_at(occasion.purpose),
    }
    person = {"uid": {"type": "Asked", "id": standing.subject}, "attrs": attributes, "parents": []}
    return [_node(occasion, governance, clocks), person]


def asks(request: UseRequest) -> bool:
    """Return whether nothing is read: the person is only to be asked for a consent."""
    return request.action is Action.ASK and request.use is None


def concerns_a_model(request: UseRequest) -> bool:
    """Return whether this is the one action that concerns a model and no person."""
    return request.action is Action.RELEASE and request.use is None


def action_of(request: UseRequest) -> str:
    """Return the named use, or the bare `use` that rule 24 refuses where the two disagree."""
    if request.action is Action.USE and request.use is not None:
        return request.use.value
    return request.action.value if request.use is None else Action.USE.value


def question(
    request: UseRequest, standing: Standing | None, governance: Governance, *, now: int
) -> dict[str, Any]:
    """Return the request as Cedar reads it: principal, action, resource and context.

    Without a standing it is about a release; every other action then fails the schema.
    """
    kind = "Release" if standing is None else "Asked" if asks(request) else "Person"
    return {
        "principal": {"type": "Node", "id": request.node},
        "action": {"type": "Action", "id": action_of(request)},
        "resource": {"type": kind, "id": request.subject},
        "context": _times(standing, governance, now=now) | _stated(request.facts),
    }


def _node(occasion: Occasion, governance: Governance, clocks: Clocks) -> dict[str, Any]:
    return {
        "uid": {"type": "Node", "id": occasion.node},
        "attrs": {
            "purpose": occasion.purpose,
            "modality": occasion.modality,
            "setting": occasion.setting,
            "role": occasion.role,
            "channel": occasion.channel,
            "stopped": governance.stopped,
            "dpia_purposes": sorted(governance.dpia_purposes),
            "minimum_notice": governance.minimum_notice,
            "standing_max_age_s": governance.standing_max_age_s,
            "clock_skew_s": clocks.clock_skew_s,
            "session_s": clocks.emotion_session_hours * HOUR_S,
            "ask_again_s": clocks.ask_again_days * DAY_S,
            "calm_test_s": clocks.calm_test_days * DAY_S,
        },
        "parents": [],
    }


def _person(standing: Standing, occasion: Occasion) -> dict[str, Any]:
    grant = standing.grant_for(occasion.purpose, occasion.modality)
    attributes = {
        "role": standing.role,
        "age": standing.age,
        "vulnerabilities": sorted(standing.vulnerabilities),
        "withdrawn": sorted(standing.withdrawn),
        "objected": sorted(standing.objected),
        "restricted": standing.restricted,
        "erased": standing.erased,
        "informed_at": standing.informed_at,
        "consent": None if grant is None else _consent(grant),
    }
    return {
        "uid": {"type": "Person", "id": standing.subject},
        "attrs": {name: value for name, value in attributes.items() if value is not None},
        "parents": [],
    }


def _consent(grant: Grant) -> dict[str, Any]:
    return {
        "purpose": grant.purpose,
        "modalities": sorted(grant.modalities),
        "notice_version": grant.notice_version,
        "explicit": grant.explicit,
        "granted_at": grant.granted_at,
        "expires_at": grant.expires_at,
    }


def _times(standing: Standing | None, governance: Governance, *, now: int) -> dict[str, int]:
    """Return the time, and when governance and standing were last vouched for."""
    times = {"now": now, "governance_as_of": governance.as_of}
    return times if standing is None else times | {"standing_as_of": standing.as_of}


def _stated(facts: Facts) -> dict[str, Any]:
    """Return what counts against the use, always, and what counts for it where it is stated."""
    stated: dict[str, Any] = {
        "emotion": facts.emotion or "none",
        "leaves_node": facts.leaves_node,
        "budget_left": facts.budget_left,
        "cancelling": facts.cancelling,
    }
    for name in _COUNTS_FOR:
        value = getattr(facts, name)
        if value is not None and value is not False:
            stated[name] = value
    return stated
