"""A withdrawal without the line: in force here at once, told in order, none lost, none doubled."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from audit.errors import EvidenceUnavailable
from audit.events import EventKind
from audit.hold import Hold, HoldReason, Scope
from client_node.service import NodeService
from client_node.withdrawals import KEPT_S, WithdrawalState
from policies.vocabulary import Purpose
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, say

EVERYTHING = (*HELP, Purpose.TRAINING)


def withdraw(
    world: Any, node: NodeService, purpose: str | None, customer: str = CUSTOMER
) -> httpx.Response:
    """Withdraw at the branch."""
    body = {"customer": customer, "purpose": purpose}
    answer: httpx.Response = world.api(node).post("/v1/withdrawals", json=body)
    return answer


def told(world: Any) -> list[dict[str, Any]]:
    """Return the withdrawals that the trust service was told, in order."""
    return [body for path, body in world.trust.received if path == "/v1/withdrawals"]


def test_withdrawal_without_the_line_closes_the_gate_at_once(world: Any) -> None:
    """202, the next turn is refused by the rule about withdrawals, and what was kept is noise."""
    node = angry_node(world, *EVERYTHING)
    turn = say(world, node)["turn"]
    world.trust.away = True
    answer = withdraw(world, node, "service")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    refused = say(world, node)
    assert refused["answer"] == "stored"  # training was not withdrawn
    assert "r06-withdrawn" in refused["rules"]
    assert "service" not in node.vault.purposes_of(world.subject(CUSTOMER))
    hint = world.api(node).post("/v1/uses/agent_hint", json={"turn": turn}).json()
    assert hint["answer"] == "refused"
    logged = node.log.find(EventKind.WITHDRAWAL_RECORDED, limit=1)[0].event.fields
    assert logged == {"record": answer.json()["record"], "erasure": False}


def test_erasure_without_the_line_leaves_no_key_of_any_purpose(world: Any) -> None:
    """Nothing is read or kept any more, and nothing that was kept can be opened."""
    node = angry_node(world, *EVERYTHING)
    say(world, node)
    world.trust.away = True
    assert withdraw(world, node, None).status_code == 202
    assert say(world, node)["answer"] == "refused"
    assert node.vault.purposes_of(world.subject(CUSTOMER)) <= {"evidence"}
    assert node.vault.kept(world.subject(CUSTOMER)) == []
    assert node.cache.standing(world.subject(CUSTOMER)).erased  # type: ignore[union-attr]
    entry = node.keeper.destroyed.entry_of(world.subject(CUSTOMER))
    assert entry is not None
    assert node.log.entry(entry).event.kind is EventKind.KEYS_DESTROYED


def test_withdrawals_are_told_in_order_once_when_the_line_is_back(world: Any) -> None:
    """Each under the name that it was given here; the receipt is then the branch's to fetch."""
    node = angry_node(world, *EVERYTHING)
    world.trust.away = True
    first = withdraw(world, node, "training").json()["record"]
    second = withdraw(world, node, None, "somebody-else").json()["record"]
    third = withdraw(world, node, "service").json()["record"]
    assert withdraw(world, node, "service").json()["record"] == third  # the same, said twice
    world.trust.away = False
    for _ in range(3):
        node.keeper.poll()
    assert [body["record"] for body in told(world)] == [first, second, third]
    assert [body["purpose"] for body in told(world)] == ["training", None, "service"]
    assert world.api(node).get(f"/v1/withdrawals/{third}").json() == {"record": "r1"}
    assert world.api(node).get("/v1/withdrawals/nothing").status_code == 404


def test_withdrawal_outlives_a_restart_without_the_line(world: Any) -> None:
    """Stopped before it was told, the node starts with the gate closed, and tells."""
    node = angry_node(world, *EVERYTHING)
    world.trust.away = True
    record = withdraw(world, node, "service").json()["record"]
    node.close()
    again = world.open()
    assert "r06-withdrawn" in say(world, again)["rules"]
    world.trust.away = False
    again.keeper.poll()
    assert [body["record"] for body in told(world)] == [record]


def test_withdrawal_holds_until_the_feed_has_told_of_it(world: Any) -> None:
    """Told, and the feed not heard yet: closed. Heard, the feed speaks, of a new yes as well."""
    node = angry_node(world, *EVERYTHING)
    world.trust.away = True
    withdraw(world, node, "service")
    world.trust.away = False
    node.people.withdrawing.forward()
    assert "r06-withdrawn" in say(world, node)["rules"]
    world.trust.put(world.standing(CUSTOMER, *HELP))  # they agreed again, by another way
    world.now += 1
    node.keeper.poll()
    assert say(world, node)["answer"] == "reading"


def test_page_from_before_does_not_open_the_gate(world: Any, monkeypatch: Any) -> None:
    """A page that was under way while somebody withdrew is not what the withdrawal waits for."""
    node = angry_node(world, *EVERYTHING)
    fetch = node.client.standing

    def meanwhile(**asked: Any) -> bytes:
        page = fetch(**asked)
        world.trust.away = True
        withdraw(world, node, "service")
        world.trust.away = False
        node.people.withdrawing.forward()
        return page

    monkeypatch.setattr(type(node.client), "standing", lambda _, **asked: meanwhile(**asked))
    world.trust.put(world.standing(CUSTOMER, *EVERYTHING))
    node.keeper.poll()
    assert "r06-withdrawn" in say(world, node)["rules"]


def test_consent_never_overtakes_a_withdrawal(world: Any) -> None:
    """What waits is told first; where it cannot be told no consent is."""
    node = angry_node(world, *EVERYTHING)
    world.trust.away = True
    withdraw(world, node, "service")
    yes = {
        "customer": CUSTOMER,
        "purposes": ["service"],
        "modalities": ["text"],
        "notice_version": 1,
        "act": "button",
        "informed": True,
        "valid_days": 30,
    }
    assert world.api(node).post("/v1/consents", json=yes).status_code == 502
    world.trust.away = False
    assert world.api(node).post("/v1/consents", json=yes).status_code == 201
    assert [path for path, _ in world.trust.received] == ["/v1/withdrawals", "/v1/grants"]


def test_trust_service_that_says_no_is_not_asked_again(world: Any, monkeypatch: Any) -> None:
    """Nobody there to withdraw for: one clear problem, and nothing waits any more."""
    node, handle = angry_node(world, *EVERYTHING), world.trust.handle

    def refuse(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/withdrawals":
            return httpx.Response(404)
        answered: httpx.Response = handle(request)
        return answered

    monkeypatch.setattr(node.client._http, "_transport", httpx.MockTransport(refuse))
    answer = withdraw(world, node, None, "nobody")
    assert answer.status_code == 409
    assert "nobody" not in answer.text
    assert node.people.withdrawing.book.waiting() == []
    assert node.people.withdrawing.book.in_force() == []


def test_hold_that_is_known_keeps_the_keys_and_not_the_gate(world: Any) -> None:
    """An erasure without the line destroys nothing that a legal hold may cover."""
    node = angry_node(world, *EVERYTHING)
    say(world, node)
    hold = Hold(
        hold="h1",
        reason=HoldReason.LEGAL_CLAIM,
        scope=Scope(person=world.subject(CUSTOMER)),
        review_at=world.now + 10**6,
        proposed_by="ada",
        proposed_at=world.now,
        confirmed_by="ben",
    )
    node.people.withdrawing.holds.hear([hold])
    world.trust.away = True
    withdraw(world, node, None)
    assert say(world, node)["answer"] == "refused"
    assert "training" in node.vault.purposes_of(world.subject(CUSTOMER))


def test_log_that_cannot_speak_does_not_keep_the_gate_open(world: Any, monkeypatch: Any) -> None:
    """503, and yet in force here and on disk."""
    node = angry_node(world, *EVERYTHING)
    world.trust.away = True

    def full(_: Any) -> None:
        raise EvidenceUnavailable("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(node.log, "append", full)
        assert withdraw(world, node, "service").status_code == 503
    assert "r06-withdrawn" in say(world, node)["rules"]
    assert len(node.people.withdrawing.book.waiting()) == 1


def test_receipt_is_kept_a_week(world: Any) -> None:
    """Afterwards nothing of the withdrawal lies here; one that waits never goes."""
    node = angry_node(world, *EVERYTHING)
    withdraw(world, node, "service")
    book = node.people.withdrawing.book
    (name,) = (body["record"] for body in told(world))
    assert book.find(name).state is WithdrawalState.TOLD
    world.now += KEPT_S
    book.expire()
    assert world.api(node).get(f"/v1/withdrawals/{name}").status_code == 404
    world.trust.away = True
    withdraw(world, node, "training")
    world.now += KEPT_S
    book.expire()
    assert len(book.waiting()) == 1


def test_rows_name_nobody(world: Any) -> None:
    """The file has pseudonyms, and no customer's id."""
    node = angry_node(world, *EVERYTHING)
    world.trust.away = True
    withdraw(world, node, "service")
    node.close()
    data = b"".join(path.read_bytes() for path in (world.folder / "state").glob("withdrawals.db*"))
    assert CUSTOMER.encode() not in data
    assert world.subject(CUSTOMER).encode() in data


@pytest.mark.parametrize("purpose", ["service", None])
def test_withdrawal_with_the_line_is_answered_by_its_receipt(
    world: Any, purpose: str | None
) -> None:
    """201, told once, nothing waits."""
    node = angry_node(world, *EVERYTHING)
    answer = withdraw(world, node, purpose)
    assert (answer.status_code, answer.json()["record"]) == (201, "r1")
    assert len(told(world)) == 1
    assert json.dumps(told(world)).count(CUSTOMER) == 0
    assert node.people.withdrawing.book.in_force() == []
