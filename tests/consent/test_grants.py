"""Grants, withdrawals, objections and restrictions over HTTP."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

import pytest

from audit.errors import ProofInvalid
from audit.events import EventKind
from audit.receipt import verify_receipt
from tests.consent.conftest import a_grant, proof


def test_grant_gives_a_receipt_that_verifies_offline(world: Any) -> None:
    """A receipt's leaf and proof hold against nothing but the log's verify key."""
    given = world.grant("alice").json()
    leaf, key = base64.b64decode(given["leaf"]), world.service.key.verify_key
    assert verify_receipt(given["proof"], leaf, key) == given["log_index"]
    with pytest.raises(ProofInvalid):
        verify_receipt(given["proof"], leaf + b" ", key)


def test_receipt_has_the_core_fields_of_27560(world: Any) -> None:
    """The receipt names schema, record, principal, notice digest, purposes, basis and way out."""
    given = world.grant("alice").json()
    receipt = given["receipt"]
    assert receipt["dct:conformsTo"] == "dpv-27560:receipt-eu-gdpr"
    assert receipt["dct:isPartOf"]["dct:identifier"] == given["record"]
    assert receipt["dpv:hasDataSubject"] == "alice"
    assert receipt["dpv:hasDataController"]["dct:identifier"] == "acme"
    assert receipt["dpv:hasConsentStatus"] == "dpv:ConsentGiven"
    assert receipt["dpv:hasPersonalData"] == ["pd:Emotion"]
    assert receipt["dpv:hasLegalBasis"] == "eu-gdpr:A9-2-a"
    assert receipt["dpv:hasPurpose"] == ["undertone:service", "undertone:training"]
    assert set(receipt["dpv:hasNotice"]["undertone:digest"]) == {"en"}
    assert receipt["dpv:hasConsentControl"]["undertone:steps"] == 1
    assert given["manage_token"] not in str(receipt)


def test_receipt_says_biometric_emotion_recognition_for_voice(world: Any) -> None:
    """Voice is emotion recognition within the AI Act, text alone is not."""
    text = world.grant("alice").json()["receipt"]
    voice = world.grant("bob", modalities=["text", "voice"]).json()["receipt"]
    assert text["dpv:isImplementedUsingTechnology"] == []
    assert "ai:BiometricEmotionRecognition" in voice["dpv:isImplementedUsingTechnology"]


def test_manage_token_is_kept_as_its_hash_only(world: Any) -> None:
    """No file of the service has the token's bytes; the ledger has its SHA-256."""
    token = world.grant("alice").json()["manage_token"]
    files = [path for path in (world.folder / "state").rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert token.encode() not in content
    assert hashlib.sha256(token.encode()).hexdigest().encode() in content


@pytest.mark.parametrize(
    "change",
    [
        {"act": ""},
        {"act": "silence"},
        {"act": "Pre-ticked"},
        {"purposes": []},
        {"purposes": ["marketing"]},
        {"modalities": []},
        {"modalities": ["thoughts"]},
        {"valid_days": 0},
        {"valid_days": 10_000},
        {"informed": "yes"},
        {"subject": "someone@example.org"},
        {"subject": ""},
        {"jurisdiction": "everywhere"},
        {"mood": "angry"},
    ],
)
def test_grant_that_lacks_what_consent_needs_is_refused(
    world: Any, change: dict[str, object]
) -> None:
    """No act, no purpose, no end, an unknown field: 422; recorded is only that it was refused."""
    before = world.service.log.size
    answer = world.grant(**({"subject": "alice"} | change))
    assert answer.status_code == 422
    assert "someone@example.org" not in answer.text
    [entry] = world.service.log.entries(before, before + 9)
    assert entry.event.kind is EventKind.INPUT_REFUSED
    assert b"someone" not in entry.leaf
    assert world.feed()["standings"] == []


def test_grant_under_an_unpublished_notice_is_refused(world: Any) -> None:
    """Consent names a notice that people could have seen."""
    assert world.grant("alice", notice_version=2).status_code == 404
    assert world.feed()["standings"] == []


def test_yes_of_somebody_who_was_not_told_is_refused(world: Any) -> None:
    """Alone, in a bulk or to be confirmed: one line with the law and the remedy, and no record."""
    untold = a_grant("alice", informed=False)
    held = {"grant": a_grant("alice", informed=False), "confirm_hours": 1}
    for path, body in (
        ("/v1/grants", untold),
        ("/v1/grants", {"grants": [*world_grants(2), untold]}),
        ("/v1/unconfirmed-consents", held),
    ):
        answer = world.as_node("north", "POST", path, body)
        assert answer.status_code == 422, answer.text
        assert "informed or it is none (GDPR 4(11)): show the notice first" in answer.text
        assert "alice" not in answer.text
    assert world.feed()["standings"] == []


def test_bulk_with_one_bad_grant_records_none(world: Any) -> None:
    """A bulk is all or nothing."""
    bad = [*world_grants(3), {"subject": "late", "purposes": []}]
    assert world.as_node("north", "POST", "/v1/grants", {"grants": bad}).status_code == 422
    unpublished = [*world_grants(3), world_grants(1)[0] | {"notice_version": 9}]
    answer = world.as_node("north", "POST", "/v1/grants", {"grants": unpublished})
    assert answer.status_code == 404
    assert world.feed()["standings"] == []


def test_bulk_of_1500_grants_is_recorded_at_once(make_world: Any) -> None:
    """Fifteen hundred people come in by one request, each with a receipt of their own."""
    world = make_world(most_changes=500)
    world.publish()
    world.enrol("north", "acme")
    began = time.perf_counter()
    answer = world.as_node("north", "POST", "/v1/grants", {"grants": world_grants(1500)})
    seconds = time.perf_counter() - began
    receipts = answer.json()["receipts"]
    assert len({receipt["manage_token"] for receipt in receipts}) == 1500
    assert len({receipt["log_index"] for receipt in receipts}) == 1500
    assert seconds < 60, "a bulk that takes minutes is not one request"
    page = world.feed()
    pages, people = 1, {standing["subject"] for standing in page["standings"]}
    while page["more"]:
        page = world.feed(after=page["sequence"])
        pages, people = pages + 1, people | {s["subject"] for s in page["standings"]}
    assert len(people) == 1500
    assert pages == 4


def world_grants(count: int) -> list[dict[str, object]]:
    """Return that many people's grants."""
    return [
        proof()
        | {
            "subject": f"person-{number}",
            "purposes": ["service"],
            "modalities": ["text"],
            "notice_version": 1,
            "act": "ticked_box",
            "role": "customer",
            "age": "adult",
            "vulnerabilities": [],
            "informed": True,
            "valid_days": 365,
            "jurisdiction": "EU",
        }
        for number in range(count)
    ]


def test_withdrawal_takes_one_step_with_the_token(world: Any) -> None:
    """The token alone withdraws a purpose: no account, no signature, no question."""
    token = world.grant("alice").json()["manage_token"]
    answer = world.send(
        "POST",
        "/v1/withdrawals",
        b'{"manage_token": "%s", "purpose": "training"}' % token.encode(),
    )
    assert answer.status_code == 201
    assert answer.json()["receipt"]["dpv:hasConsentStatus"] == "dpv:ConsentWithdrawn"
    standing = world.standing("alice")
    assert standing["withdrawn"] == ["training"]
    assert [grant["purpose"] for grant in standing["grants"]] == ["service"]


def test_withdrawal_is_in_the_very_next_feed(world: Any) -> None:
    """After a withdrawal the next envelope has a higher sequence and the new standing."""
    world.grant("alice")
    before = world.feed()
    body = {"subject": "alice", "purpose": "training"}
    assert world.as_node("south", "POST", "/v1/withdrawals", body).status_code == 201
    after = world.feed(after=before["sequence"])
    assert after["sequence"] > before["sequence"]
    assert [s["withdrawn"] for s in after["standings"]] == [["training"]]
    assert after["withdrawn"] == [{"subject": "alice", "purpose": "training"}]


def test_withdrawal_shows_even_when_a_grant_follows_before_the_next_poll(world: Any) -> None:
    """A node that slept hears of the withdrawal too, so that it destroys the key."""
    world.grant("alice")
    before = world.feed()["sequence"]
    world.as_node("north", "POST", "/v1/withdrawals", {"subject": "alice", "purpose": "training"})
    world.grant("alice")
    page = world.feed(after=before)
    assert page["standings"][0]["withdrawn"] == []
    assert page["withdrawn"] == [{"subject": "alice", "purpose": "training"}]


def test_withdrawal_without_purpose_said_erases_nothing(world: Any) -> None:
    """Erasing everything must be said: a missing field is a mistake, not an erasure."""
    world.grant("alice")
    answer = world.as_node("north", "POST", "/v1/withdrawals", {"subject": "alice"})
    assert answer.status_code == 422
    assert not world.standing("alice")["erased"]


@pytest.mark.parametrize(
    "body", [b'{"manage_token": "%s", "purpose": null}' % (b"A" * 43), b'{"purpose": null}', b"x"]
)
def test_withdrawal_for_nobody_is_refused(world: Any, body: bytes) -> None:
    """An unknown token, or no name at all, withdraws nothing."""
    assert world.send("POST", "/v1/withdrawals", body).status_code in {404, 422}


def test_pseudonym_without_a_signature_withdraws_nothing(world: Any) -> None:
    """A pseudonym is no secret: only an enrolled node of the company may act on it."""
    world.grant("alice")
    body = b'{"subject": "alice", "purpose": null}'
    assert world.send("POST", "/v1/withdrawals", body).status_code == 401
    assert not world.standing("alice")["erased"]


def test_other_company_cannot_act_on_a_person(world: Any) -> None:
    """Another company's node neither withdraws for a person nor takes over the pseudonym."""
    world.grant("alice")
    for path, body in (
        ("/v1/withdrawals", {"subject": "alice", "purpose": None}),
        ("/v1/objections", {"subject": "alice", "purposes": ["offers"]}),
        ("/v1/restrictions", {"subject": "alice", "restricted": True}),
    ):
        assert world.as_node("rival", "POST", path, body).status_code == 404
    assert world.grant("alice", node="rival").status_code == 409
    assert world.feed("rival")["standings"] == []
    assert not world.standing("alice")["erased"]


def test_objection_stays_after_a_new_grant(world: Any) -> None:
    """An objection is in the standing at once, and a later grant does not undo it."""
    token = world.grant("alice").json()["manage_token"]
    body = b'{"manage_token": "%s", "purposes": ["offers"]}' % token.encode()
    assert world.send("POST", "/v1/objections", body).status_code == 201
    world.grant("alice", purposes=["offers"])
    assert world.standing("alice")["objected"] == ["offers"]


def test_restriction_is_set_and_lifted(world: Any) -> None:
    """A restriction closes the gate until the person lifts it."""
    world.grant("alice")
    for restricted in (True, False):
        body = {"subject": "alice", "restricted": restricted}
        assert world.as_node("north", "POST", "/v1/restrictions", body).status_code == 201
        assert world.standing("alice")["restricted"] is restricted
