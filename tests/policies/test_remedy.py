"""What would make it so: every way is a yes, none longer than needed, none bends a protection."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from policies.decision import request_to_dict
from policies.engine import PolicyEngine
from policies.remedy import _CHANGES, Remedy, Situation, remedy
from policies.standing import standing_to_dict
from policies.steps import Step
from policies.vocabulary import AgeBand, Channel, Emotion, Purpose, Setting, Use, Vulnerability
from tests.policies import cases
from tests.policies.cases import COMPENSATION, HANDOVER, INFER, NOW, TRAIN, released, so, use
from tests.policies.random_cases import random_cases

ENGINE = PolicyEngine.load()
PROTECTED = ("role", "age", "vulnerabilities", "withdrawn", "objected", "restricted", "erased")
STATED = ("action", "purpose", "use", "subject", "modality", "setting", "role", "channel")


def _situation(case: cases.Situation) -> Situation:
    return Situation(
        request=case.request, standing=case.standing, governance=case.governance, now=NOW
    )


def _ask(case: cases.Situation) -> Remedy:
    return remedy(ENGINE, _situation(case))


def _after(situation: Situation, steps: frozenset[Step]) -> Situation:
    for step in sorted(steps):
        situation = _CHANGES[step](situation)
    return situation


def _allowed(s: Situation) -> bool:
    return ENGINE.decide(s.request, s.standing, s.governance, now=s.now).allowed


@pytest.mark.parametrize(
    ("case", "ways"),
    [
        (so(INFER), []),
        (so(INFER, standing={"grants": ()}), [{Step.CONSENT}]),
        (so(INFER, consent={"explicit": False}), [{Step.CONSENT}]),
        (so(HANDOVER, facts={"delayed_calls": 2}), [{Step.IDLE}]),
        (so(TRAIN, facts={"protected": False}), [{Step.PROTECT}, {Step.STAY}]),
        (
            so(COMPENSATION, facts={"offer_value": 1, "approved_by": None}),
            [{Step.RAISE, Step.APPROVE}],
        ),
        (released(facts={"approved_by": None}), [{Step.APPROVE}]),
        (
            so(INFER, standing={"as_of": 0}, governance={"as_of": 0, "dpia_purposes": frozenset()}),
            [{Step.HEAR, Step.ASSESS}],
        ),
    ],
)
def test_remedy_names_the_smallest_changes(case: cases.Situation, ways: list[set[Step]]) -> None:
    """The ways are those that somebody reading the rules would name."""
    found = {frozenset(way) for way in _ask(case).ways}
    assert found == {frozenset(way) for way in ways}


@pytest.mark.parametrize(
    "case",
    [
        so(INFER, standing={"age": AgeBand.MINOR, "grants": ()}),
        so(INFER, standing={"withdrawn": frozenset({Purpose.SERVICE}), "grants": ()}),
        so(INFER, standing={"objected": frozenset({Purpose.SERVICE})}),
        so(INFER, standing={"erased": True}),
        so(INFER, standing={"restricted": True}),
        so(INFER, channel=Channel.AGENT),
        so(INFER, setting=Setting.WORKPLACE),
        so(INFER, governance={"stopped": True}),
        so(use(Use.UPSELL, emotion=Emotion.ANGER)),
        so(use(Use.PRICE)),
        so(
            use(Use.OFFER, due_anyway=False),
            standing={"vulnerabilities": frozenset({Vulnerability.DEBT})},
        ),
    ],
)
def test_remedy_never_bends_a_protection(case: cases.Situation) -> None:
    """A minor, a withdrawal, a stop or a price by emotion: nothing would make it so."""
    found = _ask(case)
    assert (found.decision.allowed, found.ways) == (False, ())


def test_remedy_holds_on_random_requests() -> None:
    """Every way is a yes by the engine, no part of it is, and it changes no protected fact."""
    ways = 0
    for case in random_cases(500, seed=8):
        situation = _situation(case)
        for way in remedy(ENGINE, situation).ways:
            ways += 1
            after = _after(situation, way)
            assert _allowed(after)
            for size in range(len(way)):
                for part in combinations(sorted(way), size):
                    assert not _allowed(_after(situation, frozenset(part)))
            assert _kept(after) == _kept(situation)
    assert ways > 50


def _kept(situation: Situation) -> dict[str, Any]:
    asked = request_to_dict(situation.request)
    person = {} if situation.standing is None else standing_to_dict(situation.standing)
    kept = {name: person.get(name) for name in PROTECTED} | {n: asked[n] for n in STATED}
    return kept | {"emotion": asked["facts"]["emotion"], "stopped": situation.governance.stopped}
