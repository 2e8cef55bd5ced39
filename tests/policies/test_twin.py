"""Two languages, one answer: the Cedar rules agree with an independent Rego policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import cedarpy
import pytest

from policies.decision import request_from_dict, request_to_dict
from policies.engine import PolicyEngine, _conclude
from policies.errors import PolicyUnavailable
from policies.law import LAW
from policies.question import (
    asked_entities,
    asks,
    entities,
    occasion_of,
    question,
    release_entities,
)
from policies.rulebook import RuleBook
from policies.standing import (
    governance_from_dict,
    governance_to_dict,
    standing_from_dict,
    standing_to_dict,
)
from tests.policies.cases import NOW, Situation
from tests.policies.random_cases import random_cases
from tests.policies.rule_table import TABLE
from tests.policies.twin import Twin

ENGINE = PolicyEngine.load()
TWIN = Twin()
FEW, SOME, MANY = 2_000, 10_000, 100_000


def _disagreement(engine: PolicyEngine, case: Situation) -> tuple[Any, ...] | None:
    """Return both answers where they differ, in outcome or in the rules behind it.

    The engine is asked an hour before too, so that it answers by what it remembers.
    """
    engine.decide(case.request, case.standing, case.governance, now=NOW - 3_600)
    ours = engine.decide(case.request, case.standing, case.governance, now=NOW)
    theirs = TWIN.decide(case.request, case.standing, case.governance, now=NOW)
    return None if (ours.allowed, ours.rules) == theirs else ((ours.allowed, ours.rules), theirs)


def _first_disagreement(engine: PolicyEngine, count: int, *, seed: int) -> tuple[Any, ...] | None:
    found = (_disagreement(engine, case) for case in random_cases(count, seed=seed))
    return next((pair for pair in found if pair is not None), None)


def test_twin_agrees_on_random_requests() -> None:
    """Thousands of random requests get the same answer for the same rules in both languages."""
    assert _first_disagreement(ENGINE, FEW, seed=27) is None


@pytest.mark.slow  # ten minutes: by night
@pytest.mark.timeout(3600)
def test_twin_agrees_on_a_hundred_thousand_random_requests() -> None:
    """A hundred thousand random requests, and not one on which the two languages differ."""
    assert _first_disagreement(ENGINE, MANY, seed=4) is None


@pytest.mark.parametrize("rule", TABLE)
def test_twin_agrees_on_both_sides_of_each_rule(rule: str) -> None:
    """What a rule's own situations get, they get in both languages."""
    assert not [
        pair
        for case in (*TABLE[rule].allow, *TABLE[rule].deny)
        if (pair := _disagreement(ENGINE, case))
    ]


def test_random_requests_meet_every_rule() -> None:
    """Each rule decides some random request, and a good part of all requests is allowed."""
    met: set[str] = set()
    allowed = 0
    for case in random_cases(FEW, seed=27):
        decision = ENGINE.decide(case.request, case.standing, case.governance, now=NOW)
        met.update(decision.rules)
        allowed += decision.allowed
    assert met >= ENGINE.rule_ids
    assert FEW / 10 < allowed < FEW * 9 / 10


BROKEN = (
    ("consent.cedar", "resource.consent.expires_at <= context.now", "false"),
    ("consent.cedar", "resource.withdrawn.contains(principal.purpose)", "false"),
    ("protection.cedar", 'resource.age == "adult" ||', "true ||"),
    ("conduct.cedar", "context.delayed_calls == 0", "context.delayed_calls <= 0"),
    ("asking.cedar", "< principal.ask_again_s", "<= principal.ask_again_s"),
    ("conduct.cedar", ">= context.baseline_value", "> context.baseline_value"),
    ("who.cedar", 'principal.channel == "agent"', "false"),
    ("permissions.cedar", '["training", "research"].contains', '["training"].contains'),
)


@pytest.mark.parametrize(("name", "rule", "broken"), BROKEN)
def test_twin_sees_a_broken_rule(name: str, rule: str, broken: str) -> None:
    """One rule changed in one word is seen by the random requests."""
    files = dict(RuleBook.shipped().files)
    assert rule in files[name]
    files[name] = files[name].replace(rule, broken)
    assert _first_disagreement(PolicyEngine(RuleBook(files=files)), SOME, seed=27) is not None


# -- deletion -----------------------------------------------------------------------------


def _poorer(value: Any) -> Iterator[Any]:
    """Yield the value once without each of its fields, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {k: v for k, v in value.items() if k != key}
            for smaller in _poorer(inner):
                yield value | {key: smaller}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            for smaller in _poorer(inner):
                yield [*value[:place], smaller, *value[place + 1 :]]


def _asked(case: Situation) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    asked = question(case.request, case.standing, case.governance, now=NOW)
    if case.standing is None:
        return asked, release_entities(case.request, case.governance, LAW.clocks)
    facts = asked_entities if asks(case.request) else entities
    return asked, facts(occasion_of(case.request), case.standing, case.governance, LAW.clocks)


def _opens(asked: dict[str, Any], facts: list[dict[str, Any]]) -> bool:
    try:
        handle = cedarpy.Entities.from_json_str(json.dumps(facts), ENGINE._schema)
        return _conclude(ENGINE._ask(asked, handle))[0]
    except (ValueError, PolicyUnavailable):
        return False


def test_deleting_any_field_opens_no_random_refusal() -> None:
    """Of requests that are refused, none opens when any one field of any input is deleted."""
    refused = 0
    for case in random_cases(400, seed=5):
        asked, facts = _asked(case)
        if _opens(asked, facts):
            continue
        refused += 1
        assert not any(_opens(poorer, facts) for poorer in _poorer(asked))
        assert not any(_opens(asked, poorer) for poorer in _poorer(facts))
    assert refused > 100


def test_deleting_any_field_opens_nothing_on_the_wire() -> None:
    """A request, standing or governance that lacks a field is no input: it cannot be read."""
    case = next(c for c in random_cases(100, seed=6) if c.standing is not None)
    assert case.standing is not None
    wired: list[tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]] = [
        (request_to_dict(case.request), request_from_dict),
        (standing_to_dict(case.standing), standing_from_dict),
        (governance_to_dict(case.governance), governance_from_dict),
    ]
    for value, read in wired:
        for poorer in _poorer(value):
            with pytest.raises(KeyError):
                read(poorer)
