"""Each rule refuses what it says, refuses no more, and yields to no permission."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.catalogue import CATALOGUE
from policies.decision import UseRequest
from policies.engine import PolicyEngine
from policies.rulebook import RuleBook
from policies.vocabulary import Action, Purpose, RuleId, Use
from tests.policies.cases import (
    ASK,
    COMPENSATION,
    COUNT,
    GOVERNANCE,
    HANDOVER,
    HINT,
    INFER,
    NOW,
    REFERRAL,
    STANDING,
    STORE,
    TRAIN,
    Situation,
    use,
)
from tests.policies.rule_table import DENIALS, TABLE

PERMIT_ALL = '@id("x99-everything") permit (principal, action, resource);'


@pytest.fixture(scope="module")
def shipped() -> PolicyEngine:
    """Return the engine as shipped."""
    return PolicyEngine.load()


@pytest.fixture(scope="module")
def generous() -> PolicyEngine:
    """Return an engine whose organisation permits everything, so prohibitions alone decide."""
    return PolicyEngine(RuleBook.shipped().tightened("generous.cedar", PERMIT_ALL))


def _decide(engine: PolicyEngine, case: Situation) -> tuple[bool, tuple[RuleId, ...]]:
    decision = engine.decide(case.request, case.standing, case.governance, now=NOW)
    return decision.allowed, decision.rules


@pytest.mark.parametrize(("rule", "case"), DENIALS)
def test_rule_refuses_though_everything_is_permitted(
    generous: PolicyEngine, rule: RuleId, case: Situation
) -> None:
    """Each rule refuses its own situations and is named, whatever else is permitted."""
    allowed, rules = _decide(generous, case)
    assert not allowed
    assert rule in rules


@pytest.mark.parametrize(("rule", "case"), DENIALS)
def test_rule_refuses_as_shipped(shipped: PolicyEngine, rule: RuleId, case: Situation) -> None:
    """The shipped rules refuse the same situations for the same reason."""
    allowed, rules = _decide(shipped, case)
    assert not allowed
    assert rule in rules


@pytest.mark.parametrize(
    ("rule", "case"), [(rule, case) for rule, sides in TABLE.items() for case in sides.allow]
)
def test_rule_lets_its_neighbour_pass(
    generous: PolicyEngine, rule: RuleId, case: Situation
) -> None:
    """Each rule lets pass what stands just on the other side of it."""
    allowed, rules = _decide(generous, case)
    assert allowed, f"{rule}: {rules}"


def test_table_holds_two_of_each_side_for_every_prohibition(shipped: PolicyEngine) -> None:
    """No prohibition ships without at least two allow and two deny situations."""
    prohibitions = {rule for rule in shipped.rule_ids if rule.startswith("r")}
    assert prohibitions == set(TABLE)
    assert all(len(s.allow) >= 2 and len(s.deny) >= 2 for s in TABLE.values())


@pytest.mark.parametrize(
    "request_", [INFER, STORE, TRAIN, COUNT, HANDOVER, HINT, REFERRAL, COMPENSATION, ASK]
)
def test_permission_opens_what_it_names(shipped: PolicyEngine, request_: UseRequest) -> None:
    """A person who chose it, in an organisation that approved it, may be served."""
    decision = shipped.decide(request_, STANDING, GOVERNANCE, now=NOW)
    assert decision.allowed
    assert all(rule.startswith("p") for rule in decision.rules)


@pytest.mark.parametrize("what", [Use.OFFER, Use.COMPENSATION])
def test_use_without_permission_is_refused_by_default(shipped: PolicyEngine, what: Use) -> None:
    """What no rule permits is refused, and says so."""
    decision = shipped.decide(use(what), STANDING, GOVERNANCE, now=NOW)
    assert (decision.allowed, decision.rules) == (False, ("r00-no-permission",))


@pytest.mark.parametrize("purpose", Purpose)
def test_export_has_no_permission_yet(shipped: PolicyEngine, purpose: Purpose) -> None:
    """Export cannot say who receives, so it stays closed."""
    request = replace(INFER, action=Action.EXPORT, purpose=purpose)
    assert not shipped.decide(request, STANDING, GOVERNANCE, now=NOW).allowed


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("what", Use)
def test_use_opens_only_for_its_own_purpose(
    shipped: PolicyEngine, what: Use, purpose: Purpose
) -> None:
    """Of all uses and purposes exactly the listed pairs can open, and none that sells."""
    opens = {
        (Use.HANDOVER, Purpose.HANDOVER),
        (Use.PRIORITY, Purpose.HANDOVER),
        (Use.AGENT_HINT, Purpose.AGENT_HELP),
        (Use.COMPENSATION, Purpose.SERVICE),
        (Use.REFERRAL, Purpose.SERVICE),
        (Use.REFERRAL, Purpose.HANDOVER),
        (Use.REFERRAL, Purpose.AGENT_HELP),
    }
    request = replace(COMPENSATION, use=what, purpose=purpose)
    request = replace(request, facts=replace(request.facts, delayed_calls=0))
    allowed = shipped.decide(request, STANDING, GOVERNANCE, now=NOW).allowed
    assert allowed == ((what, purpose) in opens)


@pytest.mark.parametrize("action", [a for a in Action if a not in {Action.USE, Action.ASK}])
def test_offers_purpose_opens_nothing(shipped: PolicyEngine, action: Action) -> None:
    """Nothing is read, kept, counted or learnt in order to sell (rule 9)."""
    request = replace(TRAIN, action=action, purpose=Purpose.OFFERS)
    assert not shipped.decide(request, STANDING, GOVERNANCE, now=NOW).allowed


def test_absolute_rules_cover_the_list() -> None:
    """The prohibitions that nothing may override are marked as such, and no permission is."""
    absolute = {rule.number for rule in CATALOGUE.values() if rule.absolute}
    assert absolute >= {1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 15, 24, 25, 27}
    assert not any(r.absolute for r in CATALOGUE.values() if r.rule_id.startswith("p"))
