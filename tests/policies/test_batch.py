"""A batch is decided by cases, and every person in it as if alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings

from policies.apart import tells_apart
from policies.decision import Decision, UseRequest
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


OWN = {
    "age of what we know": "context has standing_as_of && context.standing_as_of < context.now - 9",
    "when they agreed": "resource has consent && context.now - resource.consent.granted_at < 86400",
    "until when": "resource has consent && resource.consent.expires_at - context.now > 60",
    "another purpose": 'resource.objected.contains("service")',
    "one by name": 'resource == Person::"p-1"',
    "one in a set": '[Person::"p-1"].contains(resource)',
    "when they were told": "resource has informed_at && context.now - resource.informed_at < 86400",
}
ODD = replace(
    STANDING,
    subject=SubjectId("p-1"),
    as_of=NOW - 60,
    informed_at=NOW - 60,
    grants=(replace(CONSENT[Purpose.TRAINING], granted_at=NOW - 60),),
    objected=frozenset({Purpose.SERVICE}),
)


def _with_own(condition: str, resource: str = "resource is Person") -> PolicyEngine:
    rule = f'@id("x-own-1") forbid (principal, action == Action::"train", {resource})'
    book = RuleBook.shipped().tightened("x-own.cedar", f"{rule} when {{ {condition} }};")
    return PolicyEngine(book)


@pytest.mark.parametrize("said", OWN)
def test_batch_keeps_out_whom_an_organisations_rule_keeps_out(said: str) -> None:
    """A prohibition of an organisation's own holds in a batch as it does alone."""
    batch = replace(TRAIN, subject=SubjectId("batch"))
    assert ENGINE.decide_batch(batch, [ODD], GOVERNANCE, now=NOW)[0] == {"p-1"}
    allowed, decisions = _with_own(OWN[said]).decide_batch(batch, [ODD], GOVERNANCE, now=NOW)
    assert allowed == frozenset()
    assert [d.rules for d in decisions] == [("x-own-1",)]


@pytest.mark.parametrize(
    ("condition", "apart"),
    [
        ("context.standing_as_of > 5", True),
        ('context["standing_as_of"] > 5', True),
        ("[context].isEmpty()", True),  # whoever has the whole may look at any part
        ("context has standing_as_of", False),
        ("context.governance_as_of > 5", False),
    ],
)
def test_a_rule_on_when_a_person_was_vouched_for_tells_them_apart(
    condition: str, *, apart: bool
) -> None:
    """Of a case only whether it is fresh stays: the second itself is each person's own."""
    text = f'@id("x") forbid (principal, action, resource) when {{ {condition} }};'
    rows = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    assert tells_apart(rows) is apart


def test_batch_keeps_out_whom_a_rules_scope_names() -> None:
    """A rule about one person by its scope holds in a batch, and its record names nobody."""
    batch = replace(TRAIN, subject=SubjectId("batch"))
    engine = _with_own("true", 'resource == Person::"p-1"')
    other = replace(ODD, subject=SubjectId("p-2"))
    allowed, decisions = engine.decide_batch(batch, [ODD, other], GOVERNANCE, now=NOW)
    assert allowed == {"p-2"}
    assert len({d.standing_digest for d in decisions}) == 1
    assert {d.request_digest for d in decisions} == {batch.encoded.digest}


def test_batch_under_own_rules_that_tell_nobody_apart_stays_a_few_decisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rule on what all of a case have alike asks about two cases, not two thousand."""
    batch = replace(TRAIN, subject=SubjectId("batch"))
    engine, asked = _with_own("resource has consent && resource.consent.notice_version < 1"), []
    decide = engine.decide

    def counting(*args: Any, **kwargs: Any) -> Decision:
        asked.append(1)
        return decide(*args, **kwargs)

    monkeypatch.setattr(engine, "decide", counting)
    allowed, _ = engine.decide_batch(batch, _crowd(2000), GOVERNANCE, now=NOW)
    assert (len(allowed), len(asked)) == (1600, 2)
