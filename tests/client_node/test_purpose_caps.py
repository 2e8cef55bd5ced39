"""One purpose may be held to less than the whole budget, and a refusal says which limit it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_node.budget_ledger import BudgetLedger, Limits
from client_node.budget_words import remaining, to_dict
from client_node.errors import RoundRefusal, RoundRefused, StartRefused
from models.accounting import epsilon, gaussian_curve
from models.errors import AccountingInvalid
from policies.errors import BudgetExhausted, PolicyInvalid
from policies.node_policy import node_policy_from_dict, node_policy_to_dict
from policies.vocabulary import Digest, Purpose, RunId
from tests.client_node.conftest import World
from tests.client_node.test_training import trained

ZERO = Digest("0" * 64)
TABLE = gaussian_curve(noise_multiplier=20.0, sample_rate=1.0, steps=1)
REPORTS = Purpose.AGGREGATE_REPORTING


def ledger_of(world: Any, caps: dict[Purpose, float]) -> tuple[BudgetLedger, Limits]:
    """Return a ledger by itself, whole."""
    limits = Limits(epsilon=4.0, delta=1e-5, period_s=1000, caps=caps)
    ledger = BudgetLedger(world.folder / "caps.db", limits=limits, clock=world.clock)
    ledger.verify(None)
    return ledger, limits


def spend_all(ledger: BudgetLedger, purpose: Purpose, run: str) -> str:
    """Spend until it is refused; return the refusal."""
    for number in range(1, 2000):
        try:
            ledger.spend(
                TABLE, run=RunId(run), round_number=number, terms_digest=ZERO, purpose=purpose
            )
        except BudgetExhausted as refused:
            return str(refused)
    raise AssertionError("nothing was refused")


def test_purpose_is_refused_at_its_cap_and_others_go_on(world: Any) -> None:
    """Reports stop at one, training goes on up to the whole; each refusal names its limit."""
    ledger, limits = ledger_of(world, {REPORTS: 1.0})
    said = spend_all(ledger, REPORTS, "reports")
    assert "cap for the purpose aggregate_reporting (epsilon 1)" in said
    assert 0.9 < ledger.epsilon_spent(REPORTS) <= 1.0
    assert ledger.covers(TABLE, run=RunId("run-1"))
    assert not ledger.covers(TABLE, run=RunId("reports"), purpose=REPORTS)
    said = spend_all(ledger, Purpose.TRAINING, "run-1")
    assert "epsilon 4 for all purposes" in said
    assert ledger.epsilon_spent() <= limits.epsilon
    ledger.close()


def test_cap_binds_what_is_set_aside_too(world: Any) -> None:
    """A run that would not fit under training's cap is refused at its reservation."""
    ledger, limits = ledger_of(world, {Purpose.TRAINING: 1.0})
    whole = TABLE * 200
    assert 1.0 < epsilon(whole, delta=limits.delta) < limits.epsilon
    with pytest.raises(BudgetExhausted, match="cap for the purpose training"):
        ledger.reserve(whole, run=RunId("run-1"), terms_digest=ZERO)
    ledger.close()


def test_caps_do_not_raise_the_whole(world: Any) -> None:
    """Two purposes, each within its cap, still share one budget."""
    ledger, limits = ledger_of(world, {REPORTS: 3.5, Purpose.TRAINING: 3.5})
    spend_all(ledger, REPORTS, "reports")
    assert "for all purposes" in spend_all(ledger, Purpose.TRAINING, "run-1")
    assert ledger.epsilon_spent() <= limits.epsilon
    ledger.close()


def test_caps_are_told_in_peoples_words(world: Any) -> None:
    """What remains says what each capped purpose may take and has taken, and stops at the cap."""
    ledger, limits = ledger_of(world, {REPORTS: 1.0})
    spend_all(ledger, REPORTS, "reports")
    value = to_dict(remaining(ledger, limits, clock=world.clock), fault=None)
    assert value["caps"] == {"aggregate_reporting": 1.0}
    assert value["more_like_the_last"] == 0
    told = [line for line in value["words"] if "aggregate reporting alone" in line]
    assert len(told) == 1
    assert "73.2 times in 100 at most" in told[0]
    ledger.close()


def test_round_beyond_the_cap_is_refused_with_one_word_and_nothing_spent(make_world: Any) -> None:
    """At the node the operator reads which cap; the coordinator reads `budget`, as ever."""
    caps = ((Purpose.TRAINING, 1.0),)
    world: World = make_world(policy_changes={"purpose_caps": caps})
    node = trained(world, "a")
    with pytest.raises(RoundRefused, match="cap for the purpose training") as caught:
        node.training.enrol(world.ask_enrolment())
    assert caught.value.reason is RoundRefusal.BUDGET
    assert node.ledger.entries() == []


def test_caps_survive_the_sealed_policy_and_wrong_ones_are_refused(world: Any) -> None:
    """A policy of before has none; a cap above the whole, twice, or of no purpose is no policy."""
    plain = world.policy()
    value = node_policy_to_dict(replace(plain, purpose_caps=((REPORTS, 1.0),)))
    assert node_policy_from_dict(value).purpose_caps == ((REPORTS, 1.0),)
    older = {name: one for name, one in value.items() if name != "purpose_caps"}
    assert node_policy_from_dict(older).purpose_caps == ()
    for wrong in (
        [["training", 9.0]],
        [["training", 0.0]],
        [["training", float("nan")]],
        [["training", 1.0], ["training", 2.0]],
        [["gossip", 1.0]],
    ):
        with pytest.raises(PolicyInvalid):
            node_policy_from_dict(value | {"purpose_caps": wrong})


def test_cap_under_which_nothing_fits_is_said_at_the_start(make_world: Any) -> None:
    """A node does not start on a cap that would refuse everything, and says so in one line."""
    with pytest.raises(AccountingInvalid, match="leaves no budget"):
        Limits(epsilon=4.0, delta=1e-5, period_s=9, caps={REPORTS: 1e-3})
    world = make_world(policy_changes={"purpose_caps": ((REPORTS, 1e-3),)})
    with pytest.raises(StartRefused, match="leaves no budget"):
        world.open()
