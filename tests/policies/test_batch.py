"""A batch is decided by cases, and every person in it as if alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from policies.decision import UseRequest
from policies.engine import PolicyEngine
from policies.rulebook import RuleBook
from policies.standing import Governance, Standing
from policies.vocabulary import Purpose, SubjectId
from tests.policies.cases import CONSENT, GOVERNANCE, NOW, STANDING, TRAIN
from tests.policies.rule_table import TABLE
from tests.policies.strategies import governances, plain_requests, standings

ENGINE = PolicyEngine.load()
PERMIT_ALL = '@id("x99-everything") permit (principal, action, resource);'
GENEROUS = PolicyEngine(RuleBook.shipped().tightened("generous.cedar", PERMIT_ALL))


@given(request_=plain_requests, standing=standings, governance=governances)
@settings(max_examples=100, deadline=None)
def test_batch_decides_each_person_as_alone(
    request_: UseRequest, standing: Standing, governance: Governance
) -> None:
    """Grouping people whom the rules cannot tell apart changes no one's answer or reasons."""
    alone = GENEROUS.decide(request_, standing, governance, now=NOW)
    batch = replace(request_, subject=SubjectId("batch"))
    allowed, decisions = GENEROUS.decide_batch(batch, [standing], governance, now=NOW)
    assert allowed == ({standing.subject} if alone.allowed else frozenset())
    assert [d.rules for d in decisions] == [alone.rules]


@pytest.mark.parametrize("rule", TABLE)
def test_batch_decides_each_case_of_a_rule_as_alone(rule: str) -> None:
    """On both sides of every rule a person in a batch is answered as if alone."""
    for case in (*TABLE[rule].allow, *TABLE[rule].deny):
        if case.standing is None:
            continue  # a release is nobody's, so never one of a batch
        alone = GENEROUS.decide(case.request, case.standing, case.governance, now=NOW)
        batch = replace(case.request, subject=SubjectId("batch"))
        allowed, decisions = GENEROUS.decide_batch(batch, [case.standing], case.governance, now=NOW)
        assert bool(allowed) == alone.allowed
        assert [d.rules for d in decisions] == [alone.rules]


def _crowd(count: int) -> list[Standing]:
    """Return adults who all agreed, each at a moment of their own; every fifth withdrew."""
    return [
        replace(
            STANDING,
            subject=SubjectId(f"p-{index}"),
            informed_at=NOW - 1000 - index,
            grants=(replace(CONSENT[Purpose.TRAINING], granted_at=NOW - 1000 - index),),
            withdrawn=frozenset({Purpose.TRAINING}) if index % 5 == 0 else frozenset(),
        )
        for index in range(count)
    ]


def test_batch_of_thousands_costs_a_few_decisions() -> None:
    """Two thousand people who differ only in when they agreed are two cases."""
    batch = replace(TRAIN, subject=SubjectId("batch"))
    allowed, decisions = ENGINE.decide_batch(batch, _crowd(2000), GOVERNANCE, now=NOW)
    assert len(allowed) == 1600
    assert len(decisions) == 2


def test_batch_names_nobody() -> None:
    """The decisions of a batch do not depend on who is in it."""
    batch = replace(TRAIN, subject=SubjectId("batch"))
    others = [replace(s, subject=SubjectId(f"q-{s.subject}")) for s in _crowd(20)]
    digests = [
        {d.standing_digest for d in ENGINE.decide_batch(batch, crowd, GOVERNANCE, now=NOW)[1]}
        for crowd in (_crowd(20), others)
    ]
    assert digests[0] == digests[1]


def test_batch_refuses_a_person_with_two_minds() -> None:
    """Somebody who stands in a batch once allowed and once refused is refused."""
    batch = replace(TRAIN, subject=SubjectId("batch"))
    both = [STANDING, replace(STANDING, restricted=True)]
    assert ENGINE.decide_batch(batch, both, GOVERNANCE, now=NOW)[0] == frozenset()


def test_batch_refuses_all_without_governance() -> None:
    """Without a known organisation nobody is in, and the reason is named."""
    allowed, decisions = ENGINE.decide_batch(TRAIN, _crowd(3), None, now=NOW)
    assert (allowed, [d.rules for d in decisions]) == (frozenset(), [("r27-no-governance",)])
