"""A round at the node: checked, permitted and paid for before anything is opened."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from sqlmodel import Session

from audit.batch import Membership, verify_batch_proof
from audit.events import EventKind
from audit.gate import admit_permit
from audit.receipt import verify_receipt
from audit.signing import SigningKey, unseal
from client_node.budget_ledger import BudgetLedger, Limits
from client_node.errors import (
    LedgerRolledBack,
    RoundRefusal,
    RoundRefused,
    UpdateRejected,
    VaultError,
)
from client_node.service import NodeService
from client_node.tables import BudgetEntry
from models.accounting import round_curve
from models.update import Update, update_to_dict
from policies.canonical import digest
from policies.errors import BudgetExhausted
from policies.terms import terms_to_dict
from policies.vocabulary import Digest, NodeId, Purpose, RunId

RUN = RunId("run-1")
ZERO = Digest("0" * 64)


class NoNoise:
    """Adds nothing, so that a test can foresee the head count."""

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> Any:
        """Return zeros."""
        assert std > 0
        return np.zeros(shape)

    def poisson_sample(self, count: int, *, rate: float) -> Any:
        """Fail."""
        raise AssertionError(f"the service samples nobody, not {count} at {rate}")


def trained(world: Any, *customers: str) -> NodeService:
    """A node with one labelled turn of each customer."""
    for customer in customers:
        world.trust.put(world.standing(customer, Purpose.TRAINING))
    node: NodeService = world.open()
    api = world.api(node)
    for customer in customers:
        said = {"customer": customer, "conversation": "x", "text": f"terrible {len(customer)}"}
        turn = api.post("/v1/turns", json=said).json()["turn"]
        label = {"turn": turn, "label": "frustrated", "provenance": "replayed"}
        assert api.post("/v1/labels", json=label).status_code == 200
    object.__setattr__(node.training, "noise", NoNoise())
    return node


def reason(caught: pytest.ExceptionInfo[RoundRefused]) -> RoundRefusal:
    """Return the reason of a refusal."""
    return caught.value.reason


def test_round_opens_bags_of_permitted_people_after_spending(world: Any) -> None:
    """An enrolled node spends, then hands over a signed permit and exactly those people's bags."""
    node = trained(world, "a", "bb", "ccc")
    executor = world.executor(node)
    ready = executor.post("/internal/enrolment", content=world.ask_enrolment()).content
    assert "terms_digest" in unseal("ready", ready, world.node_key.verify_key)
    world.trust.put(world.standing("a", Purpose.TRAINING, restricted=True))  # its key stays
    node.keeper.poll()
    assert world.subject("a") in node.vault.trainable()
    work = executor.post("/internal/rounds", content=world.ask_round()).json()

    permit = admit_permit(base64.b64decode(work["permit"]), world.node_key.verify_key)
    bags = load_tensors(base64.b64decode(work["bags"]))
    assert permit.subjects == {world.subject("bb"), world.subject("ccc")}
    assert bags["features"].shape == (2, 385)
    assert sorted(bags["owners"]) == [0, 1]
    assert node.log.find(EventKind.BUDGET_SPENT, 1)[0].event.fields["round"] == 1
    assert (
        node.ledger.entries()[-1].head
        == node.log.find(EventKind.BUDGET_SPENT, 1)[0].event.fields["head"]
    )


def test_round_with_nobody_still_answers(world: Any) -> None:
    """A node whose people have all withdrawn takes part like any other: emptiness is private."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    world.trust.withdraw(world.standing("a", erased=True), None)
    node.keeper.poll()
    inputs = node.training.take_part(world.ask_round())
    assert inputs.bags.features.shape == (0, 385)


def test_budget_is_on_disk_before_any_record_is_opened(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the vault is opened the spending is already durable; a crash there wastes it."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    seen: list[int] = []

    def crash(*_: object, **__: object) -> Any:
        with Session(
            BudgetLedger(
                node.settings.folder / "budget.db",
                limits=Limits(epsilon=8.0, delta=1e-5, period_s=9),
                clock=world.clock,
            )._engine
        ) as session:
            seen.append(
                len(
                    session.connection()
                    .exec_driver_sql("select 1 from budget_entry where kind = 'spent'")
                    .all()
                )
            )
        raise VaultError("power cut")

    monkeypatch.setattr(type(node.vault), "open_batch", crash)
    with pytest.raises(RoundRefused):
        node.training.take_part(world.ask_round())
    assert seen == [2]  # head count, and the round that crashed
    node.close()
    again = world.open()
    assert len(again.ledger.entries()) == 2
    monkeypatch.undo()
    again.training.take_part(world.ask_round())
    assert len(again.ledger.entries()) == 3  # a retry spends again


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"fab_digest": Digest("e" * 64)}, RoundRefusal.TERMS),
        ({"plan_digest": ZERO}, RoundRefusal.TERMS),
        ({"expires_at": 1}, RoundRefusal.TERMS),
        ({"weights_digest": ZERO}, RoundRefusal.MODEL),
        ({"run": RunId("another")}, RoundRefusal.NOT_READY),
    ],
)
def test_round_on_other_terms_is_refused_unspent(
    world: Any, changed: dict[str, Any], expected: RoundRefusal
) -> None:
    """Terms beyond the node's policy, other weights or another run open and spend nothing."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    with pytest.raises(RoundRefused) as caught:
        node.training.take_part(world.ask_round(**changed))
    assert reason(caught) is expected
    assert len(node.ledger.entries()) == 1


def test_round_by_another_key_is_refused(world: Any) -> None:
    """Only the coordinator's signature asks; a changed byte is refused too."""
    node = trained(world, "a")
    for envelope in (
        world.ask_round(key=SigningKey.generate("coordinator")),
        world.ask_round().replace(b'"steps":2', b'"steps":9'),
        b"{}",
    ):
        with pytest.raises(RoundRefused) as caught:
            node.training.take_part(envelope)
        assert reason(caught) is RoundRefusal.SIGNATURE
        answer = world.executor(node).post("/internal/rounds", content=envelope).json()
        assert set(answer) == {"refusal"}


def test_plan_under_a_listed_digest_must_be_that_plan(make_world: Any) -> None:
    """A coordinator cannot send another plan under a digest that is on the allow-list."""
    world = make_world()
    node = trained(world, "a")
    listed = world.terms().plan_digest
    world.plan_changes = {"rounds": 2}
    with pytest.raises(RoundRefused, match="its digest names") as caught:
        node.training.take_part(world.ask_round(plan_digest=listed))
    assert reason(caught) is RoundRefusal.TERMS


def test_plan_that_costs_more_than_it_declares_is_refused(make_world: Any) -> None:
    """The node computes the cost itself: a plan that declares less opens and spends nothing."""
    world = make_world(plan_changes={"epsilon": 0.5})
    node = trained(world, "a")
    with pytest.raises(RoundRefused, match=r"declares epsilon 0.5 and costs") as caught:
        node.training.enrol(world.ask_enrolment())
    assert reason(caught) is RoundRefusal.TERMS
    assert node.ledger.entries() == []


def test_run_that_could_not_end_is_refused_at_its_start(make_world: Any) -> None:
    """A run whose last round would not fit beside what is spent is refused before its first."""
    world = make_world(policy_changes={"maximum_epsilon": 4.0})
    node = trained(world, "a")
    while node.ledger.covers(round_curve(world.plan().mechanism), run=RUN):
        node.ledger.spend(
            round_curve(world.plan().mechanism), run=RUN, round_number=1, terms_digest=ZERO
        )
    before = len(node.ledger.entries())
    with pytest.raises(RoundRefused) as caught:
        node.training.enrol(world.ask_enrolment())
    assert reason(caught) is RoundRefusal.BUDGET
    assert len(node.ledger.entries()) == before


def test_stop_switch_refuses_a_round_unspent(world: Any) -> None:
    """When the officer stops everything, nothing is spent or opened (rule 27)."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    world.trust.stopped = True
    node.keeper.poll()
    with pytest.raises(RoundRefused) as caught:
        node.training.take_part(world.ask_round())
    assert reason(caught) is RoundRefusal.STOPPED
    assert len(node.ledger.entries()) == 1


def test_enrolment_below_the_floor_is_refused_once_and_for_the_run(make_world: Any) -> None:
    """The floor is tested on one charged, noisy count; asking again buys no second look."""
    world = make_world(plan_changes={"minimum_people": 3})
    node = trained(world, "a", "bb")
    for _ in range(3):
        with pytest.raises(RoundRefused) as caught:
            node.training.enrol(world.ask_enrolment())
        assert reason(caught) is RoundRefusal.NOT_READY
    assert len(node.ledger.entries()) == 1
    with pytest.raises(RoundRefused):
        node.training.take_part(world.ask_round())


def test_refusal_says_one_word_of_a_closed_set(world: Any) -> None:
    """What leaves on a refusal is a reason and a digest, signed; no number, no id of a person."""
    node = trained(world, "a")
    envelope = world.ask_round(fab_digest=ZERO)
    body = unseal(
        "refusal",
        node.training.refusal("terms", envelope, RoundRefusal.TERMS),
        world.node_key.verify_key,
    )
    assert body == {
        "reason": "terms",
        "terms_digest": digest(terms_to_dict(world.terms(fab_digest=ZERO))),
    }


def test_budget_refuses_before_it_is_passed(make_world: Any) -> None:
    """Rounds are refused, unspent and unopened, once the next would pass the limit."""
    world = make_world(policy_changes={"maximum_epsilon": 4.0})
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    before = -1
    while len(node.ledger.entries()) > before and before < 200:
        before = len(node.ledger.entries())
        with suppress(RoundRefused):
            node.training.take_part(world.ask_round())
    with pytest.raises(RoundRefused) as caught:
        node.training.take_part(world.ask_round())
    assert reason(caught) is RoundRefusal.BUDGET
    assert 3 < len(node.ledger.entries()) < 200
    assert node.ledger.epsilon_spent() <= 4.0
    world.now += 86_401  # the period is over
    node.keeper.poll()
    node.training.take_part(world.ask_round())


def test_one_spending_signs_one_update(world: Any) -> None:
    """A second, different update from one spending is refused; the same one is signed again."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    inputs = node.training.take_part(world.ask_round())
    executor = world.executor(node)

    def update(value: float, **changed: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "run": RUN,
            "round_number": 1,
            "node": NodeId("branch-1"),
            "terms_digest": inputs.terms_digest,
            "weights": np.full((385, 2), value, np.float32),
        }
        return update_to_dict(Update(**(fields | changed)))

    first = executor.post("/internal/updates", content=json.dumps(update(0.1)))
    again = executor.post("/internal/updates", content=json.dumps(update(0.1)))
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert executor.post("/internal/updates", content=json.dumps(update(0.2))).status_code == 409
    for changed in ({"node": NodeId("other")}, {"round_number": 2}, {"terms_digest": ZERO}):
        with pytest.raises(UpdateRejected):
            node.training.sign_update(update(0.3, **changed))
    assert len(node.log.find(EventKind.TERMS_ANSWERED, 9)) == 1


def test_person_is_proven_in_a_round_and_not_in_another(world: Any) -> None:
    """The proof of who was in a round holds offline, against the log's own receipt."""
    node = trained(world, "a", "bb")
    node.training.enrol(world.ask_enrolment())
    node.training.take_part(world.ask_round(1))
    world.trust.withdraw(world.standing("a", erased=True), None)
    node.keeper.poll()
    node.training.take_part(world.ask_round(2))
    found = {}
    for number in (1, 2):
        (shown,) = node.training.prove(RUN, number, world.subject("a"))

        leaf = base64.b64decode(shown["leaf"])
        verify_receipt(shown["receipt"], leaf, world.node_key.verify_key)
        assert shown["root"].encode() in leaf
        found[number] = verify_batch_proof(
            shown["root"], shown["proof"], bytes.fromhex(shown["blinded"])
        )
    assert found == {1: Membership.PRESENT, 2: Membership.ABSENT}
    asked = {"customer": "a", "run": RUN, "round": 1}
    assert world.api(node).post("/v1/proofs", json=asked).json()["answer"] == "present"


def test_ledger_put_back_to_an_earlier_state_trains_no_more(world: Any) -> None:
    """A restored ledger lacks what the log says was spent; the node runs but does not train."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    node.close()
    budget = node.settings.folder / "budget.db"
    yesterday = budget.read_bytes()
    node = world.open()
    node.training.take_part(world.ask_round())
    node.close()
    for part in budget.parent.glob("budget.db-*"):
        part.unlink()
    budget.write_bytes(yesterday)
    rolled = world.open()
    assert "earlier state" in world.api(rolled).get("/v1/status").json()["training"]
    with pytest.raises(RoundRefused) as caught:
        rolled.training.take_part(world.ask_round())
    assert reason(caught) is RoundRefusal.BUDGET


def ledger_of(world: Any, **changed: Any) -> BudgetLedger:
    """Open a ledger by itself."""
    limits = Limits(**({"epsilon": 8.0, "delta": 1e-5, "period_s": 100} | changed))
    return BudgetLedger(world.folder / "ledger.db", limits=limits, clock=world.clock)


def test_ledger_with_a_changed_entry_is_refused(world: Any) -> None:
    """Entries are chained: a smaller curve written over an old one is found."""
    ledger = ledger_of(world)
    with pytest.raises(LedgerRolledBack, match="not verified"):
        ledger.covers(round_curve(world.plan().mechanism), run=RUN)
    ledger.verify(None)
    curve = round_curve(world.plan().mechanism)
    ledger.spend(curve, run=RUN, round_number=1, terms_digest=ZERO)
    with Session(ledger._engine) as session:
        row = session.get_one(BudgetEntry, 0)
        row.curve = json.dumps([0.0] * len(curve.values))
        session.add(row)
        session.commit()
    with pytest.raises(LedgerRolledBack):
        ledger.verify(None)
    with pytest.raises(LedgerRolledBack):
        ledger.spend(curve, run=RUN, round_number=2, terms_digest=ZERO)
    ledger.close()


def test_ledger_forgets_only_what_is_older_than_the_period(world: Any) -> None:
    """A spending counts for its whole period and not after."""
    ledger = ledger_of(world, epsilon=1.5)
    ledger.verify(None)
    curve = round_curve(world.plan().mechanism)
    while ledger.covers(curve, run=RUN):
        ledger.spend(curve, run=RUN, round_number=1, terms_digest=ZERO)
    count = len(ledger.entries())
    world.now += 99
    with pytest.raises(BudgetExhausted):
        ledger.spend(curve, run=RUN, round_number=1, terms_digest=ZERO)
    world.now += 2
    ledger.spend(curve, run=RUN, round_number=1, terms_digest=ZERO)
    assert len(ledger.entries()) == count + 1
    ledger.close()
