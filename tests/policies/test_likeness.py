"""What was said of somebody in this second is said of all whom the rules cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import cedarpy
import pytest

from policies import catalogue
from policies.decision import Facts
from policies.engine import PolicyEngine
from policies.errors import PolicyUnavailable
from policies.likeness import MOST_KEPT, ThisSecond
from policies.rulebook import RuleBook
from policies.standing import Standing
from policies.vocabulary import (
    Action,
    AgeBand,
    Channel,
    Emotion,
    Modality,
    NodeId,
    Objective,
    Purpose,
    Role,
    RuleId,
    Setting,
    SubjectId,
    Use,
    Vulnerability,
)
from tests.policies.cases import GOVERNANCE, INFER, NOW, STANDING, Situation
from tests.policies.random_cases import random_cases

ALMOST = (NOW - 61, NOW - 60, NOW - 1, NOW, NOW + 1, NOW + 6)
OWN = '@id("x-own") forbid (principal, action, resource) when { context has approved_by };'
BOOKS = {
    "shipped": RuleBook.shipped(),
    "tells nobody apart": RuleBook.shipped().tightened("own.cedar", OWN),
    "permits all": RuleBook.shipped().tightened(
        "generous.cedar", '@id("x-all") permit (principal, action, resource);'
    ),
    "by name": RuleBook.shipped().tightened(
        "named.cedar",
        '@id("x-one") forbid (principal, action, resource == Person::"somebody-else");',
    ),
}

Answer = tuple[bool, tuple[RuleId, ...]] | None


def _answer(engine: PolicyEngine, case: Situation, now: int = NOW) -> Answer:
    try:
        decision = engine.decide(case.request, case.standing, case.governance, now=now)
    except PolicyUnavailable:
        return None
    # of a question that does not fit the schema the rules asked earlier may be named too, or not
    broke = catalogue.ENGINE_ERROR in decision.rules
    return decision.allowed, (catalogue.ENGINE_ERROR,) if broke else decision.rules


def _neighbours(case: Situation) -> Iterator[Situation]:
    """Yield situations that differ from a case in one thing, each of every thing that there is."""
    request, standing, governance = case.request, case.standing, case.governance
    for facts in _other_facts(request.facts):
        yield replace(case, request=replace(request, facts=facts))
    occasions: tuple[dict[str, Any], ...] = (
        {"node": NodeId("branch-2")},
        *({"modality": other} for other in Modality),
        *({"purpose": other} for other in Purpose),
        *({"setting": other} for other in Setting),
        *({"role": other} for other in Role),
        *({"channel": other} for other in Channel),
        *({"action": other, "use": None} for other in Action),
        *({"action": Action.USE, "use": other} for other in Use),
    )
    for changed in occasions:
        yield replace(case, request=replace(request, **changed))
    approvals: tuple[dict[str, Any], ...] = (
        {"stopped": not governance.stopped},
        {"dpia_purposes": frozenset[Purpose]()},
        {"minimum_notice": governance.minimum_notice + 1},
        {"standing_max_age_s": 3},
        *({"as_of": at} for at in ALMOST),
    )
    for changed in approvals:
        yield replace(case, governance=replace(governance, **changed))
    for person in () if standing is None else _other_people(standing):
        yield replace(case, standing=person, request=replace(request, subject=person.subject))


def _other_facts(facts: Facts) -> Iterator[Facts]:
    other: dict[str, tuple[Any, ...]] = {
        "emotion": (None, Emotion.ANGER, Emotion.JOY),
        "objective": (None, *Objective),
        "read_at": (None, *ALMOST),
        "calm_passed_at": (None, *ALMOST),
        "safety_dpia": (None, "dpia-1"),
        "approved_by": (None, "jo"),
    }
    for field in fields(facts):
        # a number where the schema has a truth is no answer, and not the answer to the truth
        for value in other.get(field.name, (None, False, True, 0, 1, 500)):
            yield replace(facts, **{field.name: value})


def _other_people(standing: Standing) -> Iterator[Standing]:
    yield replace(standing, subject=SubjectId("somebody-else"))
    people: dict[str, tuple[Any, ...]] = {
        "as_of": ALMOST,
        "role": tuple(Role),
        "age": tuple(AgeBand),
        "vulnerabilities": (frozenset(), frozenset(Vulnerability)),
        "informed_at": (None, *ALMOST),
        "withdrawn": (frozenset(), *(frozenset({purpose}) for purpose in Purpose)),
        "objected": (frozenset(), *(frozenset({purpose}) for purpose in Purpose)),
        "restricted": (False, True),
        "erased": (False, True),
        "refused": ((), *(((purpose, NOW - 9),) for purpose in Purpose)),
        "grants": ((), standing.grants[1:], tuple(reversed(standing.grants))),
    }
    for name, values in people.items():
        yield from (replace(standing, **{name: value}) for value in values)
    consents: dict[str, tuple[Any, ...]] = {
        "modalities": (frozenset({Modality.VOICE}),),
        "notice_version": (0, 2, 3, 4),
        "explicit": (False,),
        "granted_at": ALMOST,
        "expires_at": ALMOST,
    }
    for name, values in consents.items():
        for value in values:
            grants = tuple(replace(grant, **{name: value}) for grant in standing.grants)
            yield replace(standing, grants=grants)


@pytest.mark.parametrize("book", BOOKS)
def test_what_is_said_in_one_second_is_said_of_each_as_if_alone(book: str) -> None:
    """Asked about hundreds of people and uses in one second, an engine says what one says alone.

    Each differs from one before in one thing alone, so that nothing may be left out of what makes
    two people alike.
    """
    remembering, alone = PolicyEngine(BOOKS[book]), PolicyEngine(BOOKS[book])
    outcomes = set[Answer]()
    for case in random_cases(12, seed=41):
        for neighbour in (case, *_neighbours(case)):
            alone._prepared.cache_clear()
            alone._this_second = ThisSecond()
            expected = _answer(alone, neighbour)
            assert _answer(remembering, neighbour) == expected
            outcomes.add(expected)
    assert {None if found is None else found[0] for found in outcomes} == {True, False}
    assert (False, (catalogue.ENGINE_ERROR,)) in outcomes


def _noting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the person of each question that Cedar is asked."""
    asked, real = list[str](), cedarpy.is_authorized

    def noted(question: dict[str, Any], *given: Any) -> Any:
        asked.append(question["resource"]["id"])
        return real(question, *given)

    monkeypatch.setattr(cedarpy, "is_authorized", noted)
    return asked


def _crowd(count: int) -> list[Standing]:
    """Return people who agreed and were heard of each at a moment of their own."""
    return [
        replace(
            STANDING,
            subject=SubjectId(f"p-{number}"),
            as_of=NOW - number,
            informed_at=NOW - 5000 - number,
            grants=tuple(
                replace(grant, granted_at=NOW - 4000 - number, expires_at=NOW + 900 + number)
                for grant in STANDING.grants
            ),
        )
        for number in range(count)
    ]


def _ask_all(engine: PolicyEngine, now: int) -> set[bool]:
    return {
        engine.decide(replace(INFER, subject=s.subject), s, GOVERNANCE, now=now).allowed
        for s in _crowd(30)
    }


def test_a_crowd_is_one_question_in_one_second_and_another_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thirty people who agreed at thirty moments are one question; a second later it is new."""
    engine, asked = PolicyEngine.load(), _noting(monkeypatch)
    assert [_ask_all(engine, now) for now in (NOW, NOW + 1, NOW)] == [{True}] * 3
    assert len(asked) == 3


def test_each_has_digests_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets another's answer is still who it is recorded for."""
    engine, asked = PolicyEngine.load(), _noting(monkeypatch)
    one, two = _crowd(2)
    decisions = [
        engine.decide(replace(INFER, subject=s.subject), s, GOVERNANCE, now=NOW) for s in (one, two)
    ]
    assert asked == [one.subject]
    assert [d.standing_digest for d in decisions] == [one.encoded.digest, two.encoded.digest]
    assert len({d.request_digest for d in decisions}) == len({d.decision_id for d in decisions})
    assert len({d.decision_id for d in decisions}) == 2


@pytest.mark.promise(11)
def test_a_rule_about_one_person_is_asked_about_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an organisation's rule names somebody, nobody's answer is another's."""
    engine, asked = PolicyEngine(BOOKS["by name"]), _noting(monkeypatch)
    other = replace(STANDING, subject=SubjectId("somebody-else"))
    answers = [
        engine.decide(replace(INFER, subject=s.subject), s, GOVERNANCE, now=NOW).rules
        for s in (STANDING, other, STANDING)
    ]
    assert answers == [("p01-infer",), ("x-one",), ("p01-infer",)]
    assert len(asked) == 3


def test_no_more_is_kept_than_is_said() -> None:
    """However many different questions a second brings, memory has an end."""
    kept, answer = ThisSecond(), (False, (RuleId("r"),))
    engine = PolicyEngine.load()
    for number in range(MOST_KEPT + 10):
        kept.keep(number, NOW, answer)  # type: ignore[arg-type]  # any key will do
    assert len(kept._kept[1]) == MOST_KEPT
    kept.keep(0, NOW + 1, answer)  # type: ignore[arg-type]
    assert len(kept._kept[1]) == 1
    assert engine.decide(INFER, STANDING, GOVERNANCE, now=NOW).allowed
