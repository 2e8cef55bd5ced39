"""Promise 11: a withdrawal counts at once; where it cannot be heard, the gate closes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from audit.events import EventKind
from audit.gate import admit_permit
from client_node.errors import TrustUnavailable
from client_node.federation import Work
from consent.taken import verify_taken
from tests.promises.town import Desk, Town, consents, events, says, wants_training

pytestmark = pytest.mark.promise(11)


def test_withdrawal_at_the_branch_counts_at_the_next_use(town: Town) -> None:
    """The customer tells the branch; the very next turn is refused, with no poll between."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna", purposes=["service"])
    node.keeper.poll()
    assert says(api, "anna")["answer"] == "abstained"
    gone = api.post("/v1/withdrawals", json={"customer": "anna", "purpose": "service"})
    assert gone.status_code == 201
    refused = says(api, "anna")
    assert refused["answer"] == "refused"
    assert "r06-withdrawn" in refused["rules"]


def test_withdrawal_by_code_wakes_the_node_that_listens(town: Town) -> None:
    """The node's open question to the trust service is answered the moment she withdraws."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    token = consents(api, "anna", purposes=["service"])["manage_token"]
    node.keeper.poll()
    listening = threading.Thread(target=node.keeper.poll, kwargs={"wait_s": 25.0})
    listening.start()
    town.by_code(token, "service")
    listening.join(10.0)  # far below the 25 s that it would listen in vain
    assert not listening.is_alive()
    assert says(api, "anna")["answer"] == "refused"


def test_withdrawal_counts_at_every_branch_of_the_company(town: Town) -> None:
    """Said at one branch, it holds at the other, which the person never told."""
    first, second = town.branch("branch-1"), town.branch("branch-2")
    nodes = [first.open(), second.open()]
    consents(first.api(nodes[0]), "anna")
    for branch, node in zip((first, second), nodes, strict=True):
        node.keeper.poll()
        assert says(branch.api(node), "anna")["answer"] == "abstained"
    gone = {"customer": "anna", "purpose": None}
    assert first.api(nodes[0]).post("/v1/withdrawals", json=gone).status_code == 201
    nodes[1].keeper.poll()
    assert says(second.api(nodes[1]), "anna")["answer"] == "refused"


def test_next_round_is_without_who_withdrew(town: Town) -> None:
    """Between two rounds of one run Anna withdraws: the second permit does not name her."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    wants_training(api, node, "anna", "ben")
    desk, key = Desk(branch.executor(node)), branch.node_key.verify_key
    assert json.loads(desk.enrol(branch.ask_enrolment()))["kind"] == "ready"
    permitted = []
    for number in (1, 2):
        work = desk.open_round(branch.ask_round(number))
        assert isinstance(work, Work)
        permitted.append(admit_permit(work.permit, key).subjects)
        api.post("/v1/withdrawals", json={"customer": "anna", "purpose": "training"})
    anna, ben = branch.subject("anna"), branch.subject("ben")
    assert permitted == [{anna, ben}, {ben}]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/objections", {"purposes": ["training"]}),
        ("/v1/restrictions", {"restricted": True}),
    ],
)
def test_next_round_is_without_who_objected(town: Town, path: str, said: dict[str, Any]) -> None:
    """Who objects or restricts keeps their keys: it is the gate that leaves them out."""
    branch = town.branch()
    node = branch.open()
    anna, ben = branch.subject("anna"), branch.subject("ben")
    wants_training(branch.api(node), node, "anna", "ben")
    desk = Desk(branch.executor(node))
    desk.enrol(branch.ask_enrolment())
    told = town.trust.as_node(node.node, "POST", path, {"subject": anna} | said)
    assert told.status_code == 201
    node.keeper.poll()
    assert "training" in node.vault.purposes_of(anna)
    work = desk.open_round(branch.ask_round())
    assert isinstance(work, Work)
    assert admit_permit(work.permit, branch.node_key.verify_key).subjects == {ben}


def test_stale_standing_closes_the_gate_until_it_is_fresh(
    make_town: Callable[..., Town],
) -> None:
    """Where the node cannot hear, it refuses everybody by age; once it hears, it goes on."""
    town = make_town(settings_changes={"standing_max_age_s": 10})
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    town.carrier.away = True
    town.pass_time(10)
    assert says(api, "anna")["answer"] == "abstained"  # still as old as the policy allows
    town.pass_time(1)
    with pytest.raises(TrustUnavailable):
        node.keeper.poll()
    refused = says(api, "anna")
    assert refused["answer"] == "refused"
    assert "r06-standing-stale" in refused["rules"]
    town.carrier.away = False
    node.keeper.poll()
    assert says(api, "anna")["answer"] == "abstained"


def test_withdrawal_without_the_line_counts_at_once_and_is_recorded_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In force at the branch, never confirmed by a receipt that is none; then told, once for all.

    The trust service's first answer is lost on its way: told again, it is recorded once, and the
    branch gets the receipt that was made.
    """
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    town.carrier.away = True
    gone = api.post("/v1/withdrawals", json={"customer": "anna", "purpose": "service"})
    assert gone.status_code == 202
    assert "receipt" not in gone.json()
    assert "r06-withdrawn" in says(api, "anna")["rules"]
    town.carrier.away = False
    carry = type(town.carrier).handle_request

    def lose(carrier: Any, request: httpx.Request) -> httpx.Response:
        answer = carry(carrier, request)
        if request.url.path == "/v1/withdrawals":
            raise httpx.ReadError("the answer is lost")
        return answer

    with monkeypatch.context() as losing:
        losing.setattr(type(town.carrier), "handle_request", lose)
        with pytest.raises(TrustUnavailable):
            node.people.withdrawing.forward()
    node.keeper.poll()
    found = api.get(f"/v1/withdrawals/{gone.json()['record']}").json()
    verify_taken(json.dumps(found).encode(), town.trust.service.key.verify_key)
    assert found["record"] == gone.json()["record"]
    told = events(town.trust.service.log, EventKind.WITHDRAWAL_RECORDED)
    assert [event.fields["record"] for event in told] == [found["record"]]
    assert "r06-withdrawn" in says(api, "anna")["rules"]


def test_decision_on_a_withdrawal_that_was_not_told_is_no_alarm(
    make_town: Callable[..., Town],
) -> None:
    """The trust service re-decides a sample: a node that knows of a no before it is honest."""
    town = make_town(settings_changes={"challenge_size": 100})
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    consents(api, "ben")
    node.keeper.poll()
    town.carrier.away = True
    for customer, purpose in (("anna", "service"), ("ben", None)):
        gone = {"customer": customer, "purpose": purpose}
        assert api.post("/v1/withdrawals", json=gone).status_code == 202
        says(api, customer)
    town.carrier.away = False
    town.pass_time(61)
    for _ in range(4):
        node.keeper.poll()
        town.pass_time(61)
    judged = events(town.trust.service.log, EventKind.CHALLENGE_ANSWERED)
    assert len(judged) > 3
    assert all(event.fields["agrees"] for event in judged)
