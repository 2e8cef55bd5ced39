"""The engine is sure or says no, whatever is missing, broken or emptied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import cedarpy
import pytest

from policies.decision import UseRequest
from policies.engine import PolicyEngine, _conclude
from policies.errors import PolicyInvalid, PolicyUnavailable
from policies.law import LAW
from policies.question import asks, entities, occasion_of, question
from policies.rulebook import RuleBook
from policies.standing import Governance, Standing
from policies.vocabulary import (
    AgeBand,
    DecisionId,
    Purpose,
    RuleId,
    SubjectId,
)
from tests.policies.cases import (
    COUNT,
    GOVERNANCE,
    HANDOVER,
    HINT,
    INFER,
    NOW,
    STANDING,
    STORE,
    TRAIN,
)
from tests.policies.random_cases import random_cases

ENGINE = PolicyEngine.load()
PERMIT_ALL = '@id("x99-everything") permit (principal, action, resource);'
GENEROUS = PolicyEngine(RuleBook.shipped().tightened("generous.cedar", PERMIT_ALL))


def _allowed(
    request: UseRequest,
    standing: Standing | None,
    governance: Governance | None,
    *,
    engine: PolicyEngine = ENGINE,
    now: float = NOW,
) -> bool:
    try:
        return engine.decide(request, standing, governance, now=now).allowed
    except PolicyUnavailable:
        return False


def _without_each_key(value: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the record once without each of its keys, nested records included."""
    for key, inner in value.items():
        yield key, {k: v for k, v in value.items() if k != key}
        if isinstance(inner, dict):
            for name, smaller in _without_each_key(inner):
                yield f"{key}.{name}", value | {key: smaller}


def _asked_raw(asked: dict[str, Any], people: list[dict[str, Any]]) -> bool:
    """Ask the engine's inner parts with a question that was tampered with."""
    try:
        handle = cedarpy.Entities.from_json_str(json.dumps(people), ENGINE._schema)
    except ValueError:
        return False
    return _conclude(ENGINE._ask(asked, handle))[0]


@pytest.mark.parametrize("request_", [INFER, STORE, TRAIN, COUNT, HANDOVER, HINT])
def test_engine_never_opens_when_a_field_of_the_question_is_missing(request_: UseRequest) -> None:
    """Each attribute of context, person and node deleted in turn closes the gate."""
    asked = question(request_, STANDING, GOVERNANCE, now=NOW)
    people = entities(occasion_of(request_), STANDING, GOVERNANCE, LAW.clocks)
    assert _asked_raw(asked, people)
    weighed = {"delayed_calls"} if request_.use is None else set()
    for name, smaller in _without_each_key(asked["context"]):
        if name not in weighed:
            assert not _asked_raw(asked | {"context": smaller}, people), name
    for index, entity in enumerate(people):
        for name, smaller in _without_each_key(entity["attrs"]):
            poorer = [*people]
            poorer[index] = entity | {"attrs": smaller}
            assert not _asked_raw(asked, poorer), name


@pytest.mark.parametrize("index", [0, 1])
def test_engine_never_opens_when_an_entity_is_missing(index: int) -> None:
    """A node or person that Cedar does not know is refused, though raw Cedar may allow it."""
    asked = question(INFER, STANDING, GOVERNANCE, now=NOW)
    people = entities(occasion_of(INFER), STANDING, GOVERNANCE, LAW.clocks)
    del people[index]
    assert not _asked_raw(asked, people)


EMPTIED: dict[str, Any] = {
    "as_of": 0,
    "role": None,
    "age": AgeBand.UNKNOWN,
    "grants": (),
    "informed_at": None,
    "dpia_purposes": frozenset(),
    "minimum_notice": None,
    "standing_max_age_s": None,
    "stopped": None,
    "restricted": None,
    "erased": None,
    "subject": SubjectId(""),
    "action": None,
    "purpose": None,
    "modality": None,
    "setting": None,
    "channel": None,
    "node": None,
}


@pytest.mark.parametrize(
    ("which", "name"),
    [
        (c, f.name)
        for c in (UseRequest, Standing, Governance)
        for f in fields(c)
        if f.name in EMPTIED
    ],
)
def test_engine_never_opens_when_an_input_is_emptied(which: type, name: str) -> None:
    """Each field of request, standing and governance emptied in turn closes the gate."""
    inputs: dict[type, Any] = {UseRequest: INFER, Standing: STANDING, Governance: GOVERNANCE}
    inputs[which] = replace(inputs[which], **{name: EMPTIED[name]})
    try:
        allowed = _allowed(*inputs.values())
    except (AttributeError, TypeError):
        allowed = False  # a value of no type at all stops the caller: nothing was allowed
    assert not allowed


def test_engine_refuses_without_standing_or_governance() -> None:
    """Who is unknown, and an organisation that is unknown, are refused by name."""
    assert ENGINE.decide(INFER, None, GOVERNANCE, now=NOW).rules == ("r04-no-standing",)
    assert ENGINE.decide(INFER, STANDING, None, now=NOW).rules == ("r27-no-governance",)
    assert not _allowed(INFER, None, None)
    assert not _allowed(INFER, None, GOVERNANCE, engine=GENEROUS)


def test_engine_refuses_another_persons_standing() -> None:
    """One person's consent never opens another's data."""
    other = replace(STANDING, subject=SubjectId("p-2"))
    decision = ENGINE.decide(INFER, other, GOVERNANCE, now=NOW)
    assert (decision.allowed, decision.rules) == (False, ("r00-other-person",))


@pytest.mark.parametrize("now", [float("nan"), float("inf"), float("-inf")])
def test_engine_is_unavailable_without_a_time(now: float) -> None:
    """A clock that gives no time opens nothing."""
    with pytest.raises(PolicyUnavailable):
        ENGINE.decide(INFER, STANDING, GOVERNANCE, now=now)


@pytest.mark.parametrize("now", [0, -(2**62), 2**62, 2**63 - 1, 2**63, 1e300])
def test_engine_never_opens_at_an_impossible_time(now: float) -> None:
    """Times so extreme that Cedar's arithmetic overflows open nothing."""
    assert not _allowed(INFER, STANDING, GOVERNANCE, now=now)


FAILING = (
    '@id("x01-fails") forbid (principal, action, resource) '
    "when { context.now * 9223372036854775807 > 0 };"
)


@pytest.mark.parametrize("effect", ["forbid", "permit"])
def test_engine_refuses_where_a_rule_fails(effect: str) -> None:
    """A rule that errors closes the gate, though raw Cedar skips it and allows."""
    book = RuleBook.shipped().tightened("failing.cedar", FAILING.replace("forbid", effect))
    decision = PolicyEngine(book).decide(INFER, STANDING, GOVERNANCE, now=NOW)
    assert (decision.allowed, decision.rules) == (False, ("r00-engine-error",))


def test_engine_with_no_rules_opens_nothing() -> None:
    """An empty policy set refuses everything by default."""
    files = {n: t for n, t in RuleBook.shipped().files.items() if not n.endswith(".cedar")}
    decision = PolicyEngine(RuleBook(files=files)).decide(INFER, STANDING, GOVERNANCE, now=NOW)
    assert (decision.allowed, decision.rules) == (False, ("r00-no-permission",))


@pytest.mark.parametrize(
    "text",
    [
        "permit (principal, action, resource);",
        '@id("r06-erased") permit (principal, action, resource);',
        '@id("x") permit (principal, action == Action::"upsel", resource);',
        '@id("x") permit (principal, action, resource) when { resource.mood == "calm" };',
        '@id("x") permit (principal == ?principal, action, resource);',
        '@id("x") permit (',
    ],
)
def test_engine_rejects_rules_that_are_not_sound(text: str) -> None:
    """No id, an id used twice, an unknown action or fact, a template, or no rule at all."""
    with pytest.raises(PolicyInvalid):
        PolicyEngine(RuleBook.shipped().tightened("added.cedar", text))


def test_engine_translates_a_failure_of_cedar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Cedar itself breaks, the answer is an error and never a yes."""

    def broken(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(cedarpy, "is_authorized", broken)
    with pytest.raises(PolicyUnavailable, match="nothing is allowed"):
        ENGINE.decide(INFER, STANDING, GOVERNANCE, now=NOW)


def test_decision_says_why_in_plain_words() -> None:
    """A decision names its rules, their sentences and the digests of what was weighed."""
    withdrawn = replace(STANDING, withdrawn=frozenset({Purpose.SERVICE}))
    decision = ENGINE.decide(
        INFER, withdrawn, GOVERNANCE, now=NOW + 0.9, decision_id=DecisionId("d-1")
    )
    assert decision.decision_id == "d-1"
    assert decision.rules == ("r06-withdrawn",)
    assert decision.reasons == ("The person has withdrawn their agreement to this purpose.",)
    assert decision.decided_at == NOW
    assert decision.policy_digest == ENGINE.policy_digest
    other = ENGINE.decide(INFER, STANDING, GOVERNANCE, now=NOW)
    assert decision.standing_digest != other.standing_digest


def test_decision_is_the_same_when_decided_again() -> None:
    """Equal inputs give equal decisions, so that an auditor can decide again."""
    once, twice = (
        PolicyEngine.load().decide(
            TRAIN, STANDING, GOVERNANCE, now=NOW, decision_id=DecisionId("d")
        )
        for _ in range(2)
    )
    assert once == twice


def test_policy_digest_changes_with_any_byte() -> None:
    """Two engines over equal rules share a digest; one changed byte in any file changes it."""
    book = RuleBook.shipped()
    assert PolicyEngine.load().policy_digest == ENGINE.policy_digest == book.digest
    for name, text in book.files.items():
        assert replace(book, files={**book.files, name: text + "\n"}).digest != book.digest, name


def test_rule_ids_are_those_of_the_shipped_rules() -> None:
    """The engine lists every rule it holds, prohibitions and permissions."""
    assert {RuleId("r06-withdrawn"), RuleId("p01-infer")} <= ENGINE.rule_ids


def test_engine_asks_only_rules_that_cannot_change_the_answer_by_their_absence() -> None:
    """Asked all rules at once, Cedar answers as it does by the rules that speak of the action."""
    book = RuleBook.shipped()
    everything = cedarpy.PolicySet.from_str(book.policies)
    for case in random_cases(300, seed=11):
        if case.standing is None or case.governance is None or asks(case.request):
            continue
        occasion = occasion_of(case.request)
        facts = entities(occasion, case.standing, case.governance, LAW.clocks)
        handle = cedarpy.Entities.from_json_str(json.dumps(facts), ENGINE._schema)
        asked = question(case.request, case.standing, case.governance, now=NOW)
        whole = cedarpy.is_authorized(asked, everything, handle, ENGINE._schema)
        part = ENGINE._ask(asked, handle)
        assert part.permitting or not whole.allowed
        assert part.refusing | part.permitting == _named(whole)


def _named(result: Any) -> set[str]:
    return set(result.diagnostics.id_annotations_by_reason.values())
