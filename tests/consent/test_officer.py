"""Notices, DPIAs, the stop switch and enrolment."""

from __future__ import annotations

import json
from typing import Any

import pytest

from audit.events import EventKind
from audit.signing import SigningKey, seal, unseal
from consent.notice import NAMES_EMOTION, as_word


def test_notice_is_published_with_digest_and_seal(empty: Any) -> None:
    """A published notice is served with its text, digest and the officer's seal."""
    assert empty.publish(3).status_code == 201
    assert empty.service.officer.governance().minimum_notice == 3
    notice = empty.send("GET", "/v1/notices/3").json()
    assert notice["version"] == 3
    assert set(notice["digests"]) == set(notice["texts"]) == {"en"}
    sealed = json.dumps(notice["envelope"], separators=(",", ":"), sort_keys=True).encode()
    body = unseal("notice", sealed, empty.officer.verify_key)
    assert body["texts"] == notice["texts"]
    assert empty.send("GET", "/v1/notices/4").status_code == 404


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"en": "We improve our service."},
        {"en": "We analyse emotion.", "hu": "Javítjuk a szolgáltatást."},
        {"xx": "emotion"},
    ],
)
def test_notice_must_name_emotion_analysis_in_each_language(
    empty: Any, texts: dict[str, str]
) -> None:
    """A text that does not name emotions, or that cannot be checked, is not published."""
    assert empty.decree("notice", version=1, texts=texts).status_code == 422
    assert empty.send("GET", "/v1/notices/1").status_code == 404


def test_notice_can_be_checked_in_all_official_languages() -> None:
    """The check knows the 24 official languages of the EU."""
    assert len(NAMES_EMOTION) == 24


def test_notice_version_only_rises(empty: Any) -> None:
    """A published version cannot be replaced or preceded."""
    empty.publish(2)
    assert empty.publish(2).status_code == 409
    assert empty.publish(1).status_code == 409
    assert empty.publish(3).status_code == 201


def test_material_notice_raises_the_minimum(world: Any) -> None:
    """Only a material notice makes earlier consents insufficient."""
    world.publish(2)
    assert world.feed()["governance"]["minimum_notice"] == 1
    world.publish(3, material=True)
    assert world.feed()["governance"]["minimum_notice"] == 3


@pytest.mark.parametrize("kind", ["notice", "dpia", "stop"])
def test_decree_needs_the_officers_key(empty: Any, kind: str) -> None:
    """An envelope sealed by anybody else, even under the officer's name, is refused."""
    bodies: dict[str, dict[str, Any]] = {
        "notice": {"version": 1, "texts": {"en": "emotion"}},
        "dpia": {"dpia": "d", "purposes": [], "mitigations": [], "approved_by": "x"},
        "stop": {"stopped": True, "by": "x"},
    }
    size = empty.service.log.size
    for name in ("mallory", "officer"):
        assert empty.decree(kind, SigningKey.generate(name), **bodies[kind]).status_code == 401
    assert empty.service.log.size == size


def test_decree_of_another_kind_is_refused(empty: Any) -> None:
    """An envelope sealed for one endpoint is not taken at another."""
    body = {"stopped": False, "by": "officer", "issued_at": empty.clock.now}
    assert empty.send("POST", "/v1/dpias", seal("stop", body, empty.officer)).status_code == 422
    assert empty.send("POST", "/v1/stop", b"not an envelope").status_code == 422


def test_stop_cannot_be_cleared_by_an_old_envelope(world: Any) -> None:
    """Sending an earlier 'clear' again does not let uses go on."""
    body = {"stopped": False, "by": "officer", "issued_at": world.clock.now}
    old = seal("stop", body, world.officer)
    assert world.send("POST", "/v1/stop", old).status_code == 201
    world.clock.now += 10
    assert world.decree("stop", stopped=True, by="officer").status_code == 201
    assert world.send("POST", "/v1/stop", old).status_code == 409
    unsent = seal("stop", body | {"by": "other"}, world.officer)
    assert world.send("POST", "/v1/stop", unsent).status_code == 409
    assert world.feed()["governance"]["stopped"]


def test_decree_sealed_long_ago_is_refused(world: Any) -> None:
    """An envelope that lay about for an hour is not put in force."""
    late = {"stopped": False, "by": "officer", "issued_at": world.clock.now - 3600}
    assert world.decree("stop", **late).status_code == 409


def test_dpia_is_replaced_by_a_later_one_of_its_id(world: Any) -> None:
    """A later DPIA narrows an earlier one; another id adds to it."""
    world.clock.now += 1
    assert world.approve("service").status_code == 201
    assert world.feed()["governance"]["dpia_purposes"] == ["service"]
    assert world.approve("offers", dpia="dpia-2").status_code == 201
    assert world.feed()["governance"]["dpia_purposes"] == ["offers", "service"]


def test_dpia_without_mitigation_is_refused(empty: Any) -> None:
    """An assessment that mitigates nothing approves nothing."""
    answer = empty.decree("dpia", dpia="d", purposes=["service"], mitigations=[], approved_by="A")
    assert answer.status_code == 422


def test_decrees_survive_a_restart(world: Any) -> None:
    """Notices, DPIAs and the stop switch are in force again after a restart."""
    world.decree("stop", stopped=True, by="officer")
    before = world.feed()
    world.reopen()
    assert world.feed()["governance"] == before["governance"]
    assert world.send("GET", "/v1/notices/1").status_code == 200


def test_every_decree_is_in_the_log(world: Any) -> None:
    """Notice, DPIA, stop and enrolment each leave their event."""
    world.decree("stop", stopped=True, by="Ö. Tisztviselő")
    for kind in (
        EventKind.NOTICE_PUBLISHED,
        EventKind.DPIA_APPROVED,
        EventKind.STOP_SET,
        EventKind.NODE_ENROLLED,
    ):
        assert world.service.log.find(kind)
    assert world.service.log.find(EventKind.STOP_SET)[0].event.fields["by"] == "O.-Tisztviselo"


def test_name_becomes_one_word_for_the_log() -> None:
    """A name of any alphabet is an id in the log; the envelope has it in full."""
    assert as_word("Anna Kovács") == "Anna-Kovacs"
    assert as_word("Άννα") == "unnamed"


def test_enrolment_needs_the_admin_token(empty: Any) -> None:
    """Without the operator's token nobody enrols a node."""
    key = str(SigningKey.generate("north").verify_key)
    body = json.dumps({"node": "north", "key": key, "company": "acme"}).encode()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        assert empty.send("POST", "/v1/nodes", body, headers).status_code == 401
    assert empty.service.enrolment.count() == 0


def test_enrolment_again_changes_nothing_and_never_moves_a_node(world: Any) -> None:
    """The same enrolment is taken again; another company, key or node name is refused."""
    log, size = world.service.log, world.service.log.size
    assert world.enrol("north", "acme").status_code == 201
    recorded = [log.entry(index).event.kind for index in range(size, log.size)]
    assert recorded == [EventKind.STAFF_ACTED]  # who asked, and nothing more
    assert world.enrol("north", "other").status_code == 409
    world.keys["west"] = world.keys["north"]
    assert world.enrol("west", "acme").status_code == 409
    world.keys["north"] = SigningKey.generate("north")
    assert world.enrol("north", "acme").status_code == 409


def test_enrolment_of_a_malformed_key_is_refused(empty: Any) -> None:
    """A key that is not a C2SP verify key enrols nobody."""
    body = json.dumps({"node": "n", "key": "nonsense", "company": "acme"}).encode()
    headers = {"Authorization": "Bearer an-admin-token-of-tests"}
    answer = empty.send("POST", "/v1/nodes", body, headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
