"""Would this be allowed, and what would make it so? Asked of the rules, never answered around them.

Searches the facts that may honestly change: what somebody could do, approve, measure or wait
for. What a prohibition protects never changes here: role, age, vulnerability, channel, setting,
the emotion, a withdrawal, an objection, a restriction, an erasure, the stop switch. Where those
refuse there is no way, and that is the answer. Nothing is recorded and no permit comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from policies.catalogue import CATALOGUE
from policies.decision import Decides, Decision, UseRequest, request_from_dict
from policies.errors import PolicyInvalid
from policies.standing import (
    Governance,
    Grant,
    Standing,
    governance_from_dict,
    standing_from_dict,
)
from policies.steps import Step, say_steps
from policies.vocabulary import Setting
from policies.words import Language, Reader, say

YEAR_S = 365 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything a decision weighs, at the Unix second `now`; a release has no standing."""

    request: UseRequest
    standing: Standing | None
    governance: Governance
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """The decision as it stands, and each smallest set of steps after which it is a yes."""

    decision: Decision
    ways: tuple[frozenset[Step], ...]


def remedy(engine: Decides, situation: Situation) -> Remedy:
    """Return the decision and what would make it a yes; no ways where nothing may.

    Only steps that answer a rule which refuses are tried, shortest sets first, and each set
    is decided by the engine. A set that contains a shorter way is no way.

    Raises:
        PolicyUnavailable: The rules could not answer.
    """
    decision = _decide(engine, situation)
    ways: list[frozenset[Step]] = []
    frontier = {frozenset[Step](): (situation, decision)}
    while frontier:
        longer: dict[frozenset[Step], tuple[Situation, Decision]] = {}
        for taken, (now, refused) in frontier.items():
            for step in _answers(refused) - taken:
                steps = taken | {step}
                if steps in longer or any(way <= steps for way in ways):
                    continue
                changed = _CHANGES[step](now)
                longer[steps] = changed, _decide(engine, changed)
        found = {steps for steps, (_, answer) in longer.items() if answer.allowed}
        ways += sorted(found, key=sorted)
        frontier = {} if decision.allowed else {s: v for s, v in longer.items() if s not in found}
    return Remedy(decision=decision, ways=() if decision.allowed else tuple(ways))


def remedy_to_dict(found: Remedy, language: Language = Language.ENGLISH) -> dict[str, Any]:
    """Return the remedy as JSON values: `ways` in words, `steps` the same for programs."""
    return {
        "allowed": found.decision.allowed,
        "rules": list(found.decision.rules),
        "reasons": reasons_in(found.decision, language),
        "ways": [say_steps(way, language) for way in found.ways],
        "steps": [sorted(step.name.lower() for step in way) for way in found.ways],
    }


def reasons_in(decision: Decision, language: Language) -> list[str]:
    """Return why, in a language; the words of an organisation's own rule stay its own."""
    return [
        say(rule, Reader.OFFICER, language)
        if rule in CATALOGUE and language is not Language.ENGLISH
        else reason
        for rule, reason in zip(decision.rules, decision.reasons, strict=True)
    ]


def situation_from_dict(value: Mapping[str, Any]) -> Situation:
    """Read {request, standing, governance, now}; standing null for a release.

    Raises:
        PolicyInvalid: A field is missing or names something unknown.
    """
    try:
        standing = value["standing"]
        return Situation(
            request=request_from_dict(value["request"]),
            standing=None if standing is None else standing_from_dict(standing),
            governance=governance_from_dict(value["governance"]),
            now=int(value["now"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PolicyInvalid(
            f"not a situation ({type(error).__name__}): expected request, standing, governance, now"
        ) from error


def _decide(engine: Decides, situation: Situation) -> Decision:
    return engine.decide(
        situation.request, situation.standing, situation.governance, now=situation.now
    )


def _answers(decision: Decision) -> frozenset[Step]:
    """Return the steps that answer some rule of a refusal; none where one has no answer."""
    if decision.allowed or not set(decision.rules) <= set(_ANSWERS):
        return frozenset()
    return frozenset(step for rule in decision.rules for step in _ANSWERS[rule])


_ANSWERS: Mapping[str, tuple[Step, ...]] = {
    "r01-safety-without-dpia": (Step.CITE_DPIA,),
    "r04-no-consent": (Step.CONSENT,),
    "r04-not-explicit": (Step.CONSENT,),
    "r04-not-in-force": (Step.CONSENT,),
    "r05-notice-too-old": (Step.CONSENT,),
    "r05-not-informed": (Step.INFORM,),
    "r06-standing-stale": (Step.HEAR,),
    "r12-worse-off": (Step.RAISE,),
    "r13-others-wait": (Step.IDLE,),
    "r14-calm-not-tested": (Step.TEST_CALM,),
    "r15-brought-on": (Step.DUE_ANYWAY,),
    "r16-session-over": (Step.READ_AGAIN,),
    "r18-standing-stale": (Step.HEAR,),
    "r22-uncertain": (Step.READ_AGAIN,),
    "r23-offer-unapproved": (Step.APPROVE,),
    "r23-release-unapproved": (Step.APPROVE,),
    "r25-leaves-unprotected": (Step.PROTECT, Step.STAY),
    "r25-release-unprotected": (Step.PROTECT,),
    "r27-no-dpia": (Step.ASSESS,),
    "r27-governance-stale": (Step.HEAR,),
}
"""Each rule that somebody may answer; a rule that is not here closes every way."""


def _facts(**changes: object) -> Callable[[Situation], Situation]:
    def change(situation: Situation) -> Situation:
        facts = replace(situation.request.facts, **changes)  # type: ignore[arg-type]
        return replace(situation, request=replace(situation.request, facts=facts))

    return change


def _consent(situation: Situation) -> Situation:
    request, standing = situation.request, situation.standing
    if standing is None:
        return situation
    grant = Grant(
        purpose=request.purpose,
        modalities=frozenset({request.modality}),
        notice_version=situation.governance.minimum_notice,
        explicit=True,
        granted_at=situation.now,
        expires_at=situation.now + YEAR_S,
    )
    others = tuple(g for g in standing.grants if g.purpose is not request.purpose)
    return replace(situation, standing=replace(standing, grants=(*others, grant)))


def _inform(situation: Situation) -> Situation:
    standing = situation.standing
    told = None if standing is None else replace(standing, informed_at=situation.now)
    return replace(situation, standing=told)


def _hear(situation: Situation) -> Situation:
    standing = situation.standing
    return replace(
        situation,
        standing=None if standing is None else replace(standing, as_of=situation.now),
        governance=replace(situation.governance, as_of=situation.now),
    )


def _assess(situation: Situation) -> Situation:
    approved = situation.governance.dpia_purposes | {situation.request.purpose}
    return replace(situation, governance=replace(situation.governance, dpia_purposes=approved))


def _cite(situation: Situation) -> Situation:
    if situation.request.setting is not Setting.SAFETY:
        return situation
    return _facts(safety_dpia="an-approved-dpia")(situation)


def _raise(situation: Situation) -> Situation:
    baseline = max(situation.request.facts.baseline_value or 0, 0)
    return _facts(offer_value=baseline, baseline_value=baseline)(situation)


_CHANGES: Mapping[Step, Callable[[Situation], Situation]] = {
    Step.CONSENT: _consent,
    Step.INFORM: _inform,
    Step.HEAR: _hear,
    Step.ASSESS: _assess,
    Step.CITE_DPIA: _cite,
    Step.IDLE: _facts(delayed_calls=0),
    Step.READ_AGAIN: lambda s: _facts(read_at=s.now, certain=True)(s),
    Step.RAISE: _raise,
    Step.TEST_CALM: lambda s: _facts(calm_passed_at=s.now)(s),
    Step.DUE_ANYWAY: _facts(due_anyway=True),
    Step.APPROVE: _facts(approved_by="a-named-person"),
    Step.PROTECT: _facts(protected=True),
    Step.STAY: _facts(leaves_node=False),
}
