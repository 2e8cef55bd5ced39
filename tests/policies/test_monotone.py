"""More protection never opens: the rules are monotone, even where everything is permitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decision import UseRequest
from policies.engine import PolicyEngine
from policies.rulebook import RuleBook
from policies.standing import Governance, Standing
from policies.vocabulary import AgeBand, Purpose, Vulnerability
from tests.policies.cases import NOW
from tests.policies.rule_table import DENIALS
from tests.policies.strategies import governances, plain_requests, standings

PERMIT_ALL = '@id("x99-everything") permit (principal, action, resource);'
GENEROUS = PolicyEngine(RuleBook.shipped().tightened("generous.cedar", PERMIT_ALL))


def allowed(request: UseRequest, standing: Standing, governance: Governance) -> bool:
    """Return whether prohibitions alone let this pass."""
    return GENEROUS.decide(request, standing, governance, now=NOW).allowed


def _with(**changes: Any) -> Callable[[Standing], Standing]:
    return lambda standing: replace(standing, **changes)


def _each_grant(**changes: Any) -> Callable[[Standing], Standing]:
    return lambda s: replace(s, grants=tuple(replace(g, **changes) for g in s.grants))


PROTECTED: dict[str, Callable[[Standing], Standing]] = {
    "vulnerable": _with(vulnerabilities=frozenset(Vulnerability)),
    "withdrawn": _with(withdrawn=frozenset(Purpose)),
    "objected": _with(objected=frozenset(Purpose)),
    "restricted": _with(restricted=True),
    "erased": _with(erased=True),
    "a minor": _with(age=AgeBand.MINOR),
    "of unknown age": _with(age=AgeBand.UNKNOWN),
    "never informed": _with(informed_at=None),
    "without grants": _with(grants=()),
    "long unheard of": _with(as_of=0),
    "under an older notice": _each_grant(notice_version=0),
    "not explicit": _each_grant(explicit=False),
    "expired": _each_grant(expires_at=0),
}


@pytest.mark.parametrize("name", PROTECTED)
def test_protecting_a_person_more_opens_no_refusal(name: str) -> None:
    """Every situation that one rule alone refuses stays refused under every protection."""
    opened = [
        rule
        for rule, case in DENIALS
        if case.standing is not None
        and allowed(case.request, PROTECTED[name](case.standing), case.governance)
    ]
    assert not opened


@given(
    request_=plain_requests,
    standing=standings,
    governance=governances,
    name=st.sampled_from(sorted(PROTECTED)),
)
@settings(max_examples=100, deadline=None)
def test_protecting_a_person_more_never_opens(
    request_: UseRequest, standing: Standing, governance: Governance, name: str
) -> None:
    """A vulnerability, a withdrawal or a missing choice never turns a no into a yes."""
    if allowed(request_, PROTECTED[name](standing), governance):
        assert allowed(request_, standing, governance)


@given(
    request_=plain_requests,
    standing=standings,
    governance=governances,
    tighter=st.sampled_from(["stop", "notice", "dpia", "age", "unprotected", "spent"]),
)
@settings(max_examples=100, deadline=None)
def test_tightening_the_organisation_never_opens(
    request_: UseRequest, standing: Standing, governance: Governance, tighter: str
) -> None:
    """A stop, a newer notice, a lost DPIA or a spent budget never turns a no into a yes."""
    spent = replace(request_, facts=replace(request_.facts, budget_left=False))
    bare = replace(request_, facts=replace(request_.facts, protected=False))
    after = {
        "stop": (request_, replace(governance, stopped=True)),
        "notice": (request_, replace(governance, minimum_notice=governance.minimum_notice + 1)),
        "dpia": (request_, replace(governance, dpia_purposes=frozenset())),
        "age": (request_, replace(governance, standing_max_age_s=0)),
        "unprotected": (bare, governance),
        "spent": (spent, governance),
    }[tighter]
    if allowed(after[0], standing, after[1]):
        assert allowed(request_, standing, governance)
