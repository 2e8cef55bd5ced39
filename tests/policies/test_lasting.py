"""What is asked once stays true: an engine that remembers answers as one that never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cedarpy
import pytest

from policies.engine import Case, PolicyEngine, Said, _conclude, _together
from policies.errors import PolicyUnavailable
from policies.lasting import FLEETING, lasting
from policies.law import LAW
from policies.likeness import ThisSecond
from policies.question import asks, concerns_a_model, entities, occasion_of, question
from policies.rulebook import RuleBook
from policies.vocabulary import Digest, RuleId
from tests.policies.cases import DAY_S, GOVERNANCE, HANDOVER, INFER, NOW, STANDING, Situation
from tests.policies.random_cases import random_cases
from tests.policies.rule_table import TABLE

MOMENTS = (NOW - DAY_S, NOW - 61, NOW - 1, NOW, NOW + 1, NOW + 61, NOW + 40 * DAY_S)

STRANGE = """
@id("x01-odd-second") forbid (principal, action, resource)
when { context.now - (context.now - 1) * 1 == 0 || context["now"] == 1800000001 };
@id("x02-whole-context") forbid (principal, action == Action::"infer", resource)
when { context == context && context.cancelling };
@id("x03-young-cue") forbid (principal, action in Action::"use", resource)
unless {
  context has read_at &&
  (if context.cancelling then context.read_at - 1 else context.read_at) > 1799913500
};
@id("x04-calm") forbid (principal, action, resource is Person)
when { context.emotion == "joy" && resource has informed_at && resource.informed_at > 0 };
@id("x05-fails-later") forbid (principal, action, resource)
when { context.now * 5124095576 > 9223372036854775806 };
"""
"""Rules that read the time in roundabout ways, the whole context, or fail from some second on."""

BOOKS = {
    "shipped": RuleBook.shipped(),
    "strange": RuleBook.shipped().tightened("strange.cedar", STRANGE),
}


def _answers(
    engine: PolicyEngine, case: Situation, now: int
) -> tuple[bool, tuple[RuleId, ...], Digest] | None:
    try:
        decision = engine.decide(case.request, case.standing, case.governance, now=now)
    except PolicyUnavailable:
        return None
    return decision.allowed, decision.rules, decision.standing_digest


def _turns(case: Situation) -> Iterator[tuple[Situation, int]]:
    """Yield one person's turns: other times, cues read at others, and pages of the feed between."""
    facts = case.request.facts
    for now in MOMENTS:
        yield case, now
        for changed in (replace(facts, read_at=now - 1), replace(facts, certain=not facts.certain)):
            yield replace(case, request=replace(case.request, facts=changed)), now
        for heard in (now - 1, now - 200, now + 200):
            governance = replace(case.governance, as_of=heard)
            yield replace(case, governance=governance), now
            if case.standing is not None:
                yield replace(case, standing=case.standing.vouched(heard)), now
                both = replace(case, standing=case.standing.vouched(heard), governance=governance)
                yield both, now


@pytest.mark.parametrize("book", BOOKS)
def test_engine_answers_later_turns_as_if_it_had_never_been_asked(book: str) -> None:
    """At any time, after any turns, outcome and rules are those of an engine without memory."""
    remembering, fresh = PolicyEngine(BOOKS[book]), PolicyEngine(BOOKS[book])
    outcomes = set()
    for case in random_cases(40, seed=8):
        for turn, now in _turns(case):
            fresh._prepared.cache_clear()
            fresh._this_second = ThisSecond()
            expected = _answers(fresh, turn, now)
            assert _answers(remembering, turn, now) == expected
            outcomes.add(None if expected is None else expected[0])
    assert {True, False} <= outcomes


@pytest.mark.parametrize("effect", ["forbid", "permit"])
def test_engine_refuses_every_turn_where_a_lasting_rule_fails(effect: str) -> None:
    """A rule that breaks over a person breaks at each turn: that it broke is not forgotten."""
    text = (
        f'@id("x01-breaks") {effect} (principal, action, resource is Person) '
        "when { principal.minimum_notice * 9223372036854775807 > 0 };"
    )
    engine = PolicyEngine(RuleBook.shipped().tightened("breaking.cedar", text))
    assert "x01-breaks" in engine._rules["infer"].lasting.rules
    for now in (NOW, NOW, NOW + 1):
        decision = engine.decide(INFER, STANDING, GOVERNANCE, now=now)
        assert (decision.allowed, decision.rules) == (False, ("r00-engine-error",))


def test_engine_asks_the_lasting_rules_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later turn of one person asks Cedar about the rules that read the time, and no others."""
    engine, asked = PolicyEngine.load(), list[Any]()
    real = cedarpy.is_authorized

    def noted(*given: Any) -> Any:
        asked.append(given[1])
        return real(*given)

    monkeypatch.setattr(cedarpy, "is_authorized", noted)
    for now in (NOW, NOW + 1):
        assert engine.decide(INFER, STANDING, GOVERNANCE, now=now).allowed
    rules = engine._rules["infer"]
    assert asked == [rules.all, rules.fleeting]


def test_a_page_without_news_of_a_person_prepares_nobody_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Vouched for a second later, with all else the same, a person's prepared facts are kept."""
    engine, prepared = PolicyEngine.load(), list[object]()
    prepare = engine._prepare

    def noted(facts: Any) -> Any:
        prepared.append(facts)
        return prepare(facts)

    monkeypatch.setattr(engine, "_prepare", noted)
    for later in range(3):
        standing, governance = STANDING.vouched(NOW + later), replace(GOVERNANCE, as_of=NOW + later)
        assert engine.decide(INFER, standing, governance, now=NOW + later).allowed
    assert len(prepared) == 1
    assert not engine.decide(INFER, replace(standing, restricted=True), governance, now=NOW).allowed
    assert not engine.decide(INFER, standing, replace(governance, stopped=True), now=NOW).allowed


@pytest.mark.promise(11)
def test_what_was_not_heard_of_again_closes_though_all_else_is_remembered() -> None:
    """Prepared and answered a second ago, a person whose standing went stale is refused."""
    engine = PolicyEngine.load()
    max_age_s = GOVERNANCE.standing_max_age_s
    fresh, governance = STANDING.vouched(NOW + max_age_s + 1), replace(GOVERNANCE, as_of=NOW)
    assert engine.decide(INFER, STANDING.vouched(NOW), governance, now=NOW + max_age_s).allowed
    for standing, rules in (
        (STANDING.vouched(NOW), ("r06-standing-stale", "r27-governance-stale")),
        (fresh, ("r27-governance-stale",)),
        (STANDING.vouched(NOW), ("r06-standing-stale", "r27-governance-stale")),
        (STANDING.timeless, ("r06-standing-stale", "r27-governance-stale")),
    ):
        decision = engine.decide(INFER, standing, governance, now=NOW + max_age_s + 1)
        assert (decision.allowed, decision.rules) == (False, rules)
    heard = replace(governance, as_of=NOW + max_age_s + 1)
    assert engine.decide(INFER, fresh, heard, now=NOW + max_age_s + 1).allowed


def test_lasting_rules_read_no_time() -> None:
    """Of the shipped rules those on a person's choices last, and those on time do not."""
    engine = PolicyEngine.load()
    for action, rules in engine._rules.items():
        assert not FLEETING & set(rules.lasting.reads), action
        assert not {"r27-governance-stale", "r06-standing-stale"} & rules.lasting.rules, action
    assert {"r06-withdrawn", "r27-stopped", "p01-infer"} <= engine._rules["infer"].lasting.rules
    assert "r16-session-over" not in engine._rules["handover"].lasting.rules


@pytest.mark.parametrize(
    "condition",
    [
        "context.now > 1",
        'context["now"] > 1',
        "context has read_at",
        "context has standing_as_of",
        'context["standing_as_of"] > 1',
        "context.governance_as_of > 1",
        '[context.emotion, if context.now > 1 then "a" else "b"].isEmpty()',
        "{a: context.now}.a == 1",
        "context == context",
        "[context].isEmpty()",
        "{\".\": context}['.'] == 1".replace("'", '"'),
    ],
)
def test_lasting_is_no_rule_that_may_read_the_time(condition: str) -> None:
    """However a rule comes to the time, or to the whole request, it is asked every time."""
    text = f'@id("x") forbid (principal, action, resource) when {{ {condition} }};'
    rows = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    assert lasting(rows).rules == frozenset()


def test_silence_of_the_fleeting_rules_opens_nothing() -> None:
    """Where Cedar does not say yes to the fleeting rules too, the use is refused."""
    before = Said(permitting=frozenset({RuleId("p01-infer")}))
    assert _conclude(_together(before, Said())) == (False, ("r00-engine-error",))
    broke = Said(permitting=frozenset({RuleId("nothing-fleeting-forbids")}), broke=True)
    assert not _conclude(_together(before, broke))[0]


def test_no_deleted_field_opens_a_later_turn() -> None:
    """After a first turn, none that lacks any field of its question opens what was closed."""
    engine, tried = PolicyEngine.load(), 0
    for case in random_cases(200, seed=9):
        if asks(case.request) or concerns_a_model(case.request) or case.standing is None:
            continue
        assert case.governance is not None
        facts = entities(occasion_of(case.request), case.standing, case.governance, LAW.clocks)
        handle = cedarpy.Entities.from_json_str(json.dumps(facts), engine._schema)
        person = Case(handle, {})
        asked = question(case.request, case.standing, case.governance, now=NOW)
        if _opens(engine, asked, person):
            continue
        for name in asked["context"]:
            poorer = {k: v for k, v in asked["context"].items() if k != name}
            assert not _opens(engine, asked | {"context": poorer}, person), name
            tried += 1
    assert tried > 100


def test_a_question_without_time_closes_a_later_turn() -> None:
    """What was open at the first turn is closed at the next that says no time, or too late."""
    engine = PolicyEngine.load()
    for request in (INFER, HANDOVER):
        facts = entities(occasion_of(request), STANDING, GOVERNANCE, LAW.clocks)
        handle = cedarpy.Entities.from_json_str(json.dumps(facts), engine._schema)
        person, asked = Case(handle, {}), question(request, STANDING, GOVERNANCE, now=NOW)
        assert _opens(engine, asked, person)
        later = asked | {"context": asked["context"] | {"now": NOW + 3_600}}
        assert not _opens(engine, later, person)
        timeless = {k: v for k, v in asked["context"].items() if k != "now"}
        assert not _opens(engine, asked | {"context": timeless}, person)


def test_a_fact_of_another_kind_is_another_question() -> None:
    """A truth is no number: what was open with 1 stays closed with true."""
    engine, fitting = PolicyEngine.load(), TABLE["r12-worse-off"].allow[0]
    for value, opens in ((1, True), (True, False), (1, True)):
        facts = replace(fitting.request.facts, offer_value=value, baseline_value=1)
        request = replace(fitting.request, facts=facts)
        decided = engine.decide(request, fitting.standing, fitting.governance, now=NOW)
        assert decided.allowed is opens


def _opens(engine: PolicyEngine, asked: dict[str, Any], person: Case) -> bool:
    try:
        return _conclude(engine._ask_again(asked, person))[0]
    except PolicyUnavailable:
        return False
