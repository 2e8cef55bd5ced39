"""Promise 1: nothing opens without a permit, and only the one gate makes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from audit.events import EventKind
from audit.gate import Gate, admit_permit
from client_node.redaction import Redaction
from client_node.service import NodeService
from policies.decision import Decides, Decision, UseRequest, request_to_dict
from policies.errors import PermitInvalid
from policies.vocabulary import Action, Purpose, SubjectId
from tests.promises.town import FIRST, Branch, Town, consents, events, says

pytestmark = pytest.mark.promise(1)


class Unreadable:
    """A redactor that no refused text may reach."""

    def redact(self, text: str) -> Redaction:
        """Fail."""
        raise AssertionError(f"a text of {len(text)} characters was read without a permit")


class Broken:
    """An engine, or a log, that cannot answer."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def fail(*_: object, **__: object) -> NoReturn:
            raise OSError(name)

        return fail


class Bribed:
    """An engine that says yes to whatever it is asked."""

    def __init__(self, honest: Decides) -> None:
        self._honest = honest
        self.policy_digest = honest.policy_digest

    def decide(self, *args: Any, **options: Any) -> Decision:
        """Say yes."""
        return dataclasses.replace(self._honest.decide(*args, **options), allowed=True)


@pytest.fixture
def branch(make_town: Callable[..., Town]) -> Branch:
    """Return a branch that fails the test when it reads anything."""
    town = make_town(redactor=Unreadable(), settings_changes={"standing_max_age_s": 60})
    return town.branch()


def opened(branch: Branch) -> NodeService:
    """Open a node that knows one customer, who agreed to service and training."""
    node = branch.open()
    consents(branch.api(node), "anna")
    node.keeper.poll()
    return node


def test_no_answer_of_standing_is_a_no(branch: Branch) -> None:
    """Who never agreed is refused; where standing went stale, so is who did."""
    node = opened(branch)
    api = branch.api(node)
    assert says(api, "nobody")["rules"] == ["r04-no-standing"]
    branch.now += 61
    refused = says(api, "anna")
    assert refused["answer"] == "refused"
    assert "r06-standing-stale" in refused["rules"]


@pytest.mark.parametrize("part", ["_engine", "_log"])
def test_no_answer_of_engine_or_log_is_a_no(branch: Branch, part: str) -> None:
    """If the rules or the evidence break, nothing is read and nothing is kept."""
    node = opened(branch)
    gate = node.pipeline.gate
    setattr(gate if part == "_engine" else gate._recorder, part, Broken())
    said = {"customer": "anna", "conversation": "c", "text": "this is terrible"}
    assert branch.api(node).post("/v1/turns", json=said).status_code == 503
    assert node.vault.purposes_of(branch.subject("anna")) == set()


def test_one_gate_serves_every_use(town: Town) -> None:
    """Turns, labels, uses and training of a node share one gate; the trust service has its own."""
    node = town.branch().open()
    gates = {
        id(gate): gate
        for gate in (
            node.pipeline.gate,
            node.pipeline.uses.gate,
            node.labels.gate,
            node.room.desk.gate,
            node.training.gate,
        )
    }
    assert [type(gate) for gate in gates.values()] == [Gate]
    assert type(town.trust.service.gate) is Gate


def test_yes_is_in_the_log_before_the_permit_exists(town: Town) -> None:
    """A permit names the durable entry of its decision and covers that one use only."""
    town.branch().open()
    town.trust.grant("anna", node="branch-1")
    request = asking("anna")
    answer = ask_trust(town, request)
    permit = admit_permit(answer["permit"].encode(), town.trust.service.key.verify_key)
    entry = town.trust.service.log.entry(permit.log_index)
    assert entry.event.fields["decision_id"] == permit.decision_id
    now = town.clock.now
    permit.cover(action=Action.INFER, purpose=Purpose.SERVICE, subject=SubjectId("anna"), now=now)
    with pytest.raises(PermitInvalid):
        permit.cover(
            action=Action.STORE, purpose=Purpose.SERVICE, subject=SubjectId("anna"), now=now
        )


def test_other_callers_are_decided_by_the_same_gate(town: Town) -> None:
    """POST /v1/decisions gives no permit after a withdrawal, and logs that it refused."""
    town.branch().open()
    town.trust.grant("anna", node="branch-1")
    gone = {"subject": "anna", "purpose": "service"}
    town.trust.as_node("branch-1", "POST", "/v1/withdrawals", gone)
    answer = ask_trust(town, asking("anna"))
    assert (answer["allowed"], "permit" in answer) == (False, False)
    newest = town.trust.service.log.find(EventKind.DECISION)[0].event
    assert newest.fields["decision_id"] == answer["decision_id"]


def asking(subject: str) -> UseRequest:
    """Return a request to read a person's text for service."""
    return UseRequest(
        node=FIRST,
        action=Action.INFER,
        purpose=Purpose.SERVICE,
        subject=SubjectId(subject),
    )


def ask_trust(town: Town, request: UseRequest) -> dict[str, Any]:
    """Ask the trust service for a decision."""
    body = {"request": request_to_dict(request)}
    return dict(town.trust.as_node(FIRST, "POST", "/v1/decisions", body).json())


def challenged(town: Town, node: NodeService) -> int:
    """Have all of a node's decisions so far re-decided; return the trust service's alarms."""
    node.keeper.poll()  # acknowledges with a checkpoint
    town.pass_time(61)  # a new challenge
    node.keeper.poll()  # hears it
    node.keeper.poll()  # answers it
    asked = events(town.trust.service.log, EventKind.CHALLENGE_ANSWERED)
    assert asked, "the node was not challenged"
    return int(town.trust.send("GET", "/healthz").json()["alarms"])


@pytest.mark.parametrize("engine", ["honest", "bribed"])
def test_wrong_decision_raises_the_alarm(make_town: Callable[..., Town], engine: str) -> None:
    """The trust service decides a node's decisions again; what differs is an alarm."""
    town = make_town(settings_changes={"challenge_size": 100})
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna", purposes=["service"])
    node.keeper.poll()
    if engine == "bribed":
        node.pipeline.gate._engine = Bribed(node.pipeline.gate._engine)  # type: ignore[assignment]
    kept = says(api, "anna")["sealed_for"]
    assert ("training" in kept) is (engine == "bribed")  # she never agreed to that
    assert (challenged(town, node) > 0) is (engine == "bribed")


@pytest.mark.parametrize("customer", ["anna", "nobody"])
def test_honest_refusal_of_a_cut_off_node_raises_no_alarm(
    make_town: Callable[..., Town], customer: str
) -> None:
    """A node that could not hear and refused, as it must, is not accused when it is back."""
    town = make_town(settings_changes={"challenge_size": 100, "standing_max_age_s": 60})
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna", purposes=["service"])
    node.keeper.poll()
    town.pass_time(300)
    assert says(api, customer)["answer"] == "refused"
    assert challenged(town, node) == 0
