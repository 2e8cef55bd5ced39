"""A release concerns a model and no person: opened by an approval, closed by every doubt."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings

from policies.decision import UseRequest, request_from_dict, request_to_dict
from policies.engine import PolicyEngine, _conclude
from policies.law import LAW
from policies.question import question, release_entities
from policies.rulebook import RuleBook
from policies.standing import Governance
from policies.vocabulary import Action, Purpose, SubjectId, Use
from tests.policies.cases import GOVERNANCE, NOW, RELEASE, STANDING
from tests.policies.strategies import governances, plain_requests

ENGINE = PolicyEngine.load()
PERMIT_ALL = '@id("x99-everything") permit (principal, action, resource);'
GENEROUS = PolicyEngine(RuleBook.shipped().tightened("generous.cedar", PERMIT_ALL))


def test_release_opens_without_a_standing() -> None:
    """Approved, protected and in an approved organisation, a model may be published."""
    decision = ENGINE.decide(RELEASE, None, GOVERNANCE, now=NOW)
    assert (decision.allowed, decision.rules) == (True, ("p09-release",))


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.TRAINING])
def test_release_opens_for_training_only(purpose: Purpose) -> None:
    """No other purpose publishes a model."""
    request = replace(RELEASE, purpose=purpose)
    decision = ENGINE.decide(request, None, GOVERNANCE, now=NOW)
    assert (decision.allowed, decision.rules) == (False, ("r00-no-permission",))


def test_release_takes_nobodys_standing() -> None:
    """A person's choices, the release's own name on them included, open no release."""
    for subject in (STANDING.subject, RELEASE.subject):
        standing = replace(STANDING, subject=SubjectId(subject))
        decision = GENEROUS.decide(RELEASE, standing, GOVERNANCE, now=NOW)
        assert (decision.allowed, decision.rules) == (False, ("r00-names-a-person",))


def test_release_is_refused_without_governance() -> None:
    """An organisation of which nothing is known publishes nothing."""
    decision = GENEROUS.decide(RELEASE, None, None, now=NOW)
    assert (decision.allowed, decision.rules) == (False, ("r27-no-governance",))


@pytest.mark.parametrize("engine", [ENGINE, GENEROUS])
@given(request_=plain_requests, governance=governances)
@settings(max_examples=100, deadline=None)
def test_every_other_action_is_refused_without_a_standing(
    engine: PolicyEngine, request_: UseRequest, governance: Governance
) -> None:
    """Whatever a request says of itself, no standing is a no, unless it is a release."""
    decision = engine.decide(request_, None, governance, now=NOW)
    if request_.action is not Action.RELEASE or request_.use is not None:
        assert (decision.allowed, decision.rules) == (False, ("r04-no-standing",))


@given(request_=plain_requests, governance=governances)
@settings(max_examples=100, deadline=None)
def test_release_never_opens_against_its_own_rules(
    request_: UseRequest, governance: Governance
) -> None:
    """Where everything is permitted, approval, protection and rule 27 still all hold."""
    request = replace(request_, action=Action.RELEASE, use=None)
    if GENEROUS.decide(request, None, governance, now=NOW).allowed:
        assert request.facts.approved_by
        assert request.facts.protected
        assert not governance.stopped
        assert request.purpose in governance.dpia_purposes
        assert NOW - governance.as_of <= governance.standing_max_age_s


@pytest.mark.parametrize("use", Use)
def test_release_with_a_use_is_no_release(use: Use) -> None:
    """A release that names a use is asked as a use, and so without standing refused."""
    request = replace(RELEASE, use=use)
    assert GENEROUS.decide(request, None, GOVERNANCE, now=NOW).rules == ("r04-no-standing",)
    other = GENEROUS.decide(request, STANDING, GOVERNANCE, now=NOW)
    assert not other.allowed


def test_release_never_opens_when_something_is_missing() -> None:
    """Each attribute of context and node, and each entity, deleted in turn closes the gate."""
    asked = question(RELEASE, None, GOVERNANCE, now=NOW)
    facts = release_entities(RELEASE, GOVERNANCE, LAW.clocks)
    assert _asked_raw(asked, facts)
    for name in asked["context"]:
        smaller = {k: v for k, v in asked["context"].items() if k != name}
        assert not _asked_raw(asked | {"context": smaller}, facts), name
    for name in facts[0]["attrs"]:
        smaller = {k: v for k, v in facts[0]["attrs"].items() if k != name}
        assert not _asked_raw(asked, [facts[0] | {"attrs": smaller}, facts[1]]), name
    assert not _asked_raw(asked, facts[1:])


def _asked_raw(asked: dict[str, Any], facts: list[dict[str, Any]]) -> bool:
    try:
        handle = cedarpy.Entities.from_json_str(json.dumps(facts), ENGINE._schema)
    except ValueError:
        return False
    return _conclude(ENGINE._ask(asked, handle))[0]


def test_request_keeps_who_approved_it() -> None:
    """The approver is part of the request's canonical form, and comes back."""
    assert request_to_dict(RELEASE)["facts"]["approved_by"] == "jo@example.org"
    assert request_from_dict(request_to_dict(RELEASE)) == RELEASE
