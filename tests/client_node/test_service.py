"""What must hold before a node starts, who may call it, and where it may connect."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from audit.events import EventKind
from audit.signing import SigningKey, seal, unseal
from audit.wrong_attempts import FREE_OF_ADDRESS
from client_node.access import ApiKeys, new_key
from client_node.cli import app
from client_node.connections import ConnectionGuard, ConnectionPolicy, install
from client_node.errors import ConnectionForbidden, ReleaseRejected, StartRefused
from client_node.pseudonym import pseudonym
from client_node.releases import verify_release
from client_node.settings import NodeSettings
from models.features import FEATURES_DIGEST
from models.release import release_to_dict
from policies.vocabulary import Purpose

CONSENT: dict[str, Any] = {
    "purposes": ["service"],
    "modalities": ["text"],
    "notice_version": 1,
    "act": "ticked_box",
    "informed": True,
    "valid_days": 30,
}
"""A consent as an integration sends it, but for whose it is."""


@pytest.mark.parametrize("name", ["signing_key", "pseudonym_key_file", "api_keys_file"])
def test_node_refuses_to_start_with_secrets_others_can_read(world: Any, name: str) -> None:
    """A secret with any right for group or others stops the start, in one line."""
    world.settings_values[name].chmod(0o640)
    with pytest.raises(StartRefused, match="0640, expected 0600") as caught:
        world.open()
    assert "\n" not in str(caught.value)


def test_node_refuses_to_start_on_a_policy_by_another_key(world: Any) -> None:
    """Only the operator's signature makes a policy, and only for this node."""
    world.seal_policy(key=SigningKey.generate("operator"))
    with pytest.raises(StartRefused, match="not the operator's"):
        world.open()
    world.policy_changes = {"node": "branch-2"}
    world.seal_policy()
    with pytest.raises(StartRefused, match="for node branch-2"):
        world.open()


def test_node_refuses_to_start_without_a_notice_that_names_emotion(world: Any) -> None:
    """A published notice that is silent about emotion analysis does not do (GDPR 13)."""
    world.trust.notice = "We record calls for quality."
    with pytest.raises(StartRefused, match="does not name emotion analysis"):
        world.open()
    world.trust.notice = "We analyse emotion."
    world.open()


def test_node_that_never_heard_the_trust_service_does_not_start(world: Any) -> None:
    """Without standing and notice there is no start; with remembered ones there is."""
    world.trust.away = True
    with pytest.raises(StartRefused, match="cannot be heard"):
        world.open()
    world.trust.away = False
    world.open().close()
    world.trust.away = True
    world.open()


def test_node_refuses_a_trust_service_its_policy_does_not_name(
    make_world: Callable[..., Any],
) -> None:
    """The operator's connections are asked before anything is opened (promise 10)."""
    world = make_world(policy_changes={"connections": frozenset({"elsewhere:443"})})
    with pytest.raises(StartRefused, match="not among the connections"):
        world.open()


def test_settings_name_what_is_wrong_and_never_the_value(tmp_path: Path) -> None:
    """A wrong file is one line without the values in it."""
    path = tmp_path / "node.toml"
    path.write_text('node = "b"\nport = 99999999\nsecret = "hunter2"\n')
    with pytest.raises(StartRefused) as caught:
        NodeSettings.load(path)
    assert "port" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_api_needs_a_key_and_keeps_only_its_digest(world: Any, tmp_path: Path) -> None:
    """Without a known key nothing answers but health; the keys file may hold digests only."""
    node = world.open()
    api = world.api(node)
    for headers in ({"Authorization": "Bearer " + "b" * 43}, {"Authorization": ""}):
        assert api.get("/v1/status", headers=headers).status_code == 401
    assert api.get("/healthz", headers={"Authorization": ""}).status_code == 200
    assert api.get("/v1/status").json()["people"] == 0
    key, digest = new_key()
    path = tmp_path / "keys"
    path.write_text(f"crm:sha256:{digest}\n")
    path.chmod(0o600)
    assert ApiKeys.load(path).integration(f"Bearer {key}") == "crm"
    assert key not in repr(ApiKeys.load(path))


def test_wrong_api_keys_are_slowed_and_the_right_one_is_not(world: Any) -> None:
    """429 says when to come again; who was let in from there before goes on, others wait."""
    api = world.api(world.open())
    assert api.get("/v1/status").status_code == 200
    for number in range(FREE_OF_ADDRESS):
        headers = {"Authorization": f"Bearer {number:043}"}
        assert api.get("/v1/status", headers=headers).status_code == 401
    answer = api.get("/v1/status", headers={"Authorization": "Bearer " + "b" * 43})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert api.get("/v1/status").status_code == 200
    world.now += 30
    assert api.get("/v1/status", headers=headers).status_code == 401


def test_openapi_has_no_examples(world: Any) -> None:
    """The interface's description shows no example, so no personal data."""
    text = world.api(world.open()).get("/openapi.json").text
    assert "example" not in text


def test_consent_travels_under_the_pseudonym(world: Any) -> None:
    """The customer id stays at the branch; the trust service gets the keyed hash."""
    node = world.open()
    said = CONSENT | {"customer": "c-4711"}
    api = world.api(node)
    assert api.post("/v1/consents", json=said).status_code == 201
    assert (
        api.post("/v1/withdrawals", json={"customer": "c-4711", "purpose": None}).status_code == 201
    )
    assert api.post("/v1/withdrawals", json={"customer": "c-4711"}).status_code == 422
    for _, body in world.trust.received:
        assert body["subject"] == world.subject("c-4711")
        assert "c-4711" not in str(body)
    world.trust.away = True
    assert api.post("/v1/consents", json=said).status_code == 502


def test_many_consents_travel_together_under_pseudonyms(world: Any) -> None:
    """One request to the trust service, receipts in the customers' order, and no customer id."""
    node = world.open()
    api = world.api(node)
    customers = ["c-4711", "c-4712", "c-4713"]
    body = {"consents": [CONSENT | {"customer": customer} for customer in customers]}
    answer = api.post("/v1/consents/batch", json=body)
    assert answer.status_code == 201
    assert len(answer.json()["receipts"]) == 3
    ((path, received),) = world.trust.received
    assert path == "/v1/grants"
    assert [grant["subject"] for grant in received["grants"]] == [
        world.subject(customer) for customer in customers
    ]
    assert "c-471" not in str(received)


def test_many_consents_are_recorded_all_or_none(world: Any) -> None:
    """A wrong one, too many, or too few receipts: none counts, and the branch hears so."""
    api = world.api(world.open())
    said = CONSENT | {"customer": "c-4711"}
    for wrong in ([], [said, said | {"valid_days": 0}], [said] * 501):
        answer = api.post("/v1/consents/batch", json={"consents": wrong})
        assert answer.status_code == 422
        assert "4711" not in answer.text
    assert world.trust.received == []
    world.trust.receipts = 1
    assert api.post("/v1/consents/batch", json={"consents": [said, said]}).status_code == 502


def test_pseudonym_differs_between_companies() -> None:
    """One person at two companies has two names that nobody can link."""
    assert pseudonym("c", key=b"a" * 32) != pseudonym("c", key=b"b" * 32)
    with pytest.raises(ValueError, match="32 bytes"):
        pseudonym("c", key=b"short")


def test_guard_counts_and_fails_what_the_policy_does_not_name() -> None:
    """A listed address passes; another port, address or name fails and is counted."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        port = server.getsockname()[1]
        guard = ConnectionGuard(policy=ConnectionPolicy(allowed=frozenset({f"localhost:{port}"})))
        install(guard)
        try:
            client.connect(("127.0.0.1", port))
            with socket.socket() as other, pytest.raises(ConnectionForbidden):
                other.connect(("127.0.0.1", port + 1))
            with pytest.raises(ConnectionForbidden):
                socket.getaddrinfo("example.org", 443)
        finally:
            install(None)
    assert guard.refused == 2


def test_release_runs_only_when_published(world: Any) -> None:
    """Signature, log proof, digest, name and order are each checked (promise 9)."""
    node, log = world.open(), world.coordinator_log()
    first = world.publish(log, world.release(1, weights=world.angry_weights()))
    second = world.publish(log, world.release(2))
    forged = world.publish(log, world.release(3), key=SigningKey.generate("coordinator"))
    bad = [forged, first.replace(b"release-1", b"release-9"), b"{}"]
    for bundle in bad:
        with pytest.raises(ReleaseRejected):
            node.releases.load(bundle)
        assert node.releases.current is None
    node.releases.load(second)
    with pytest.raises(ReleaseRejected, match="older"):
        node.releases.load(first)
    node.close()
    again = world.open()
    assert again.releases.current.release.release_id == "release-2"
    assert len(again.log.find(EventKind.RELEASE_REFUSED, 9)) == 4


def test_release_signed_but_not_what_the_log_says_is_refused(world: Any) -> None:
    """A coordinator's signature over a release that its log never published does not do."""
    log = world.coordinator_log()
    key = world.coordinator.verify_key
    body = unseal("release", world.publish(log, world.release(1)), key)
    swapped = {**body, "release": release_to_dict(world.release(1, weights=world.angry_weights()))}
    bundle = seal("release", swapped, world.coordinator)
    with pytest.raises(ReleaseRejected, match="does not say"):
        verify_release(bundle, key, key, encoder_digest=FEATURES_DIGEST)
    with pytest.raises(ReleaseRejected, match="another encoder"):
        verify_release(
            world.publish(log, world.release(1)), key, key, encoder_digest=world.trust.key.name
        )


def test_release_with_a_leaf_that_is_not_in_the_log_is_refused(world: Any) -> None:
    """The proof must be for the very leaf that names this release."""
    log, key = world.coordinator_log(), world.coordinator.verify_key
    first = unseal("release", world.publish(log, world.release(1)), key)
    second = unseal("release", world.publish(log, world.release(2)), key)
    for mixed in (first | {"proof": second["proof"]}, first | {"leaf": second["leaf"]}):
        with pytest.raises(ReleaseRejected):
            verify_release(
                seal("release", mixed, world.coordinator), key, key, encoder_digest=FEATURES_DIGEST
            )
    other = SigningKey.generate("coordinator").verify_key
    bundle = seal("release", first, world.coordinator)
    with pytest.raises(ReleaseRejected):
        verify_release(bundle, key, other, encoder_digest=FEATURES_DIGEST)


def test_commands_answer_in_one_line(world: Any, tmp_path: Path) -> None:
    """A node that cannot start says why; policy and log can be checked by command."""
    world.trust.put(world.standing("c", Purpose.SERVICE))
    world.open().close()
    path = tmp_path / "node.toml"
    values = {k: str(v) if isinstance(v, Path) else v for k, v in world.settings_values.items()}
    path.write_text(tomli_w.dumps(values))
    run = CliRunner()
    for command in (["policy", "check"], ["budget", "show"], ["status"]):
        done = run.invoke(app, [*command, "--settings", str(path), "--json"], standalone_mode=False)
        assert done.exception is None, done.exception
        assert done.output.startswith("{")
    log = str(world.settings_values["folder"] / "log.db")
    key = str(world.node_key.verify_key)
    assert run.invoke(app, ["verify", "--log", log, "--key", key, "--json"]).exit_code == 0
    (tmp_path / "node" / "policy.json").write_bytes(b"{}")
    refused = run.invoke(app, ["serve", "--settings", str(path)])
    assert isinstance(refused.exception, StartRefused)
