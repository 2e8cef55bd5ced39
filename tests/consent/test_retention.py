"""Retention at the trust service: by the clock, by staff, held back by two, told to the person."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from audit.archive import Archive, verify_archive
from audit.errors import EvidenceUnavailable
from audit.events import EventKind
from audit.hold import hold_from_dict
from audit.retention_policy import DAY_S, SHIPPED
from audit.staff import Staff, StaffRole
from audit.verify import verify_log
from consent.api import create_app
from consent.errors import SettingsInvalid
from policies.vocabulary import SubjectId
from tests.consent.conftest import START, World

REVIEW = START + 90 * DAY_S


def desk(world: World, name: str = "dora", role: StaffRole = StaffRole.DPO) -> TestClient:
    """Return the application as one member of staff sees it."""
    app = create_app(world.service)
    app.state.admit = lambda _: Staff(name=name, roles=frozenset({role}))
    return TestClient(app)


def place(world: World, **said: Any) -> str:
    """Place a hold by two people; return its id."""
    body = {"reason": "legal-claim", "review_at": REVIEW} | said
    made = desk(world).post("/v1/desk/holds", json=body)
    assert made.status_code == 201, made.text
    hold = str(made.json()["hold"])
    second = desk(world, "olga", StaffRole.OFFICER)
    assert second.post(f"/v1/desk/holds/{hold}/confirmation").status_code == 201
    return hold


def lift(world: World, hold: str) -> None:
    """Lift a hold by two people."""
    assert desk(world).post(f"/v1/desk/holds/{hold}/lift/proposal").status_code == 201
    second = desk(world, "olga", StaffRole.OFFICER)
    assert second.post(f"/v1/desk/holds/{hold}/lift/confirmation").status_code == 201


def erase(world: World, token: str) -> Any:
    """Ask for erasure by manage token."""
    body = json.dumps({"manage_token": token, "purpose": None}).encode()
    return world.send("POST", "/v1/withdrawals", body)


def facts(world: World, granted: dict[str, Any]) -> Any:
    """Return what is kept of a grant beside the log."""
    return world.service.log.payload(granted["log_index"])


def test_erasure_under_a_hold_is_refused_with_reasons_and_done_when_it_is_lifted(
    world: World,
) -> None:
    """Nothing of theirs is used meanwhile; whoever is not covered is erased at once."""
    alice, bob = world.grant("alice").json(), world.grant("bob").json()
    hold = place(world, subject="alice")
    refused = erase(world, alice["manage_token"])
    assert refused.status_code == 409
    told = refused.json()["detail"]
    assert all(words in told for words in ("legal claim", "17(3)(e)", "2027-04-15", "18(1)(c)"))
    assert "alice" not in told
    assert world.standing("alice")["restricted"]
    assert not world.standing("alice")["erased"]
    assert facts(world, alice)["subject"] == "alice"
    assert erase(world, bob["manage_token"]).status_code == 201
    lift(world, hold)
    assert world.standing("alice")["erased"]
    assert facts(world, alice) is None
    assert world.service.keystore.labels(SubjectId("alice")) == frozenset()
    assert erase(world, alice["manage_token"]).status_code == 404


def test_erasure_under_a_hold_is_done_after_a_restart_between(world: World) -> None:
    """A crash after the lifting and before the erasure is made good at the next start."""
    alice = world.grant("alice").json()
    hold = place(world, kinds=["grant-recorded"])
    assert erase(world, alice["manage_token"]).status_code == 409
    world.reopen()
    assert erase(world, alice["manage_token"]).status_code == 409
    world.service.holds.propose_lift(hold, by="dora")
    world.service.holds.lift(hold, by="olga")
    assert not world.standing("alice")["erased"]
    world.reopen()
    assert world.standing("alice")["erased"]
    assert facts(world, alice) is None
    assert world.service.holds.released() == frozenset()


def test_nodes_are_told_what_is_held_and_of_people_only_their_own(world: World) -> None:
    """A node of another company hears that something is held, never about whom; lifted is gone."""
    world.grant("alice")
    by_kind, on_alice = place(world, kinds=["decision"]), place(world, subject="alice")
    told = {node: world.feed(node)["holds"] for node in ("north", "south", "rival")}
    for node in ("north", "south"):
        assert [(h["hold"], h["subject"]) for h in told[node]] == [
            (by_kind, None),
            (on_alice, "alice"),
        ]
        assert hold_from_dict(told[node][1]).holds(world.clock.now)
    assert [h["hold"] for h in told["rival"]] == [by_kind]
    lift(world, on_alice)
    assert [h["hold"] for h in world.feed("north")["holds"]] == [by_kind]


def test_request_for_erasure_under_a_hold_stays_open_and_says_why(world: World) -> None:
    """The person follows it by token; it goes on by itself once the hold is lifted."""
    token = world.grant("alice").json()["manage_token"]
    hold = place(world, subject="alice")
    body = json.dumps({"manage_token": token, "right": "erasure"}).encode()
    opened = world.send("POST", "/v1/requests", body)
    assert opened.status_code == 201, opened.text
    assert "17(3)(e)" in opened.json()["held"]
    lift(world, hold)
    mine = {"Authorization": f"Bearer {opened.json()['request_token']}"}
    state = world.send("GET", "/v1/requests/mine", b"", mine).json()
    assert "held" not in state
    assert {e["kind"] for e in state["evidence"]} >= {"keys-destroyed", "standing-recorded"}
    assert world.standing("alice")["erased"]


def test_another_hold_keeps_on_what_the_first_no_longer_does(world: World) -> None:
    """Lifting one of two frees nobody whom the other covers."""
    alice = world.grant("alice").json()
    first = place(world, subject="alice")
    assert erase(world, alice["manage_token"]).status_code == 409
    second = place(world, subject="alice", reason="authority-request")
    lift(world, first)
    assert not world.standing("alice")["erased"]
    assert "authority" in erase(world, alice["manage_token"]).json()["detail"]
    lift(world, second)
    assert world.standing("alice")["erased"]


@pytest.mark.parametrize("role", [StaffRole.AUDITOR, StaffRole.OPERATOR, StaffRole.DATA_SCIENTIST])
def test_holds_and_expiry_are_for_officer_and_dpo(world: World, role: StaffRole) -> None:
    """Others neither place, lift nor run; auditors and operators may look."""
    client = desk(world, "eve", role)
    for path in ("holds", "holds/x/confirmation", "retention/run", "archive/drop"):
        assert client.post(f"/v1/desk/{path}", json={}).status_code == 403
    looks = 403 if role is StaffRole.DATA_SCIENTIST else 200
    for path in ("holds", "retention"):
        assert client.get(f"/v1/desk/{path}").status_code == looks
    bad = desk(world).post("/v1/desk/holds", json={"reason": "because", "review_at": REVIEW})
    assert bad.status_code == 422
    assert desk(world).post("/v1/desk/holds/none/confirmation").status_code == 404


def test_expiry_by_the_clock_is_daily_and_shows_what_it_did(world: World) -> None:
    """Once a day, unattended; a hold is heeded; dry run and state say what would go."""
    alice, bob = world.grant("alice").json(), world.grant("bob").json()
    keeper = world.service.retention
    assert keeper.tick(), "the first run notes the clock"
    assert not keeper.tick()
    hold = place(world, subject="alice")
    policy = keeper.retention.policy
    for _ in range(40):
        world.clock.now += 30 * DAY_S
        keeper.tick()
    assert world.clock.now > START + policy.kept_s(EventKind.GRANT_RECORDED)
    assert facts(world, bob) is None
    assert facts(world, alice)["subject"] == "alice"
    state = desk(world).get("/v1/desk/retention").json()
    assert state["due"]["held"]["grant-recorded"] == 1
    assert state["last_run"]["policy_digest"] == state["policy"]["digest"] == policy.digest
    lift(world, hold)
    said = desk(world).post("/v1/desk/retention/run", json={"dry_run": True}).json()
    assert (said["kinds"]["grant-recorded"], said["first"]) == (1, alice["log_index"])
    assert facts(world, alice)
    assert desk(world).post("/v1/desk/retention/run", json={}).json()["first"] == said["first"]
    assert facts(world, alice) is None
    key, log = world.service.key.verify_key, world.folder / "state" / "log.db"
    world.service.close()
    verify_log(log, key)


def test_archive_is_sealed_and_dropped_by_staff_and_answers_as_before(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    """Old entries leave the live store; each receipt by HTTP, and the archive alone, verify."""
    text = SHIPPED.read_text("utf-8").replace("fewest_entries = 1024", "fewest_entries = 256")
    (tmp_path / "retention.toml").write_text(text, encoding="utf-8")
    world = make_world(retention=tmp_path / "retention.toml", archive=tmp_path / "archive")
    assert world.publish().status_code == 201
    for number in range(300):
        world.service.retention.retention._record((), 0, float(number))
    index = world.service.log.find(EventKind.NOTICE_PUBLISHED)[0].index
    before = world.send("GET", f"/v1/log/{index}").json()
    world.clock.now += 100 * DAY_S
    operator = desk(world, "otto", StaffRole.OPERATOR)
    assert operator.post("/v1/desk/archive/segments").json()["sealed"] == {"start": 0, "end": 256}
    assert operator.post("/v1/desk/archive/segments").json()["sealed"] is None
    assert desk(world).post("/v1/desk/archive/drop").json()["dropped"] > 0
    assert world.service.log.store.leaves(index, index + 1) == []
    assert world.send("GET", f"/v1/log/{index}").json()["leaf"] == before["leaf"]
    key = world.service.key.verify_key
    assert verify_archive(Archive(tmp_path / "archive", key), key).size == 256
    (tmp_path / "archive").rename(tmp_path / "away")
    world.reopen()
    offline = world.send("GET", f"/v1/log/{index}")
    assert offline.status_code == 503
    assert "mount it" in offline.json()["detail"]


def test_archive_that_is_not_set_is_said(world: World) -> None:
    """One line that names the setting."""
    answer = desk(world).post("/v1/desk/archive/segments")
    assert answer.status_code == 409
    assert "`archive`" in answer.json()["detail"]


def test_service_with_too_short_a_policy_does_not_start(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    """The line says what the law asks for."""
    text = SHIPPED.read_text("utf-8").replace("days = 366", "days = 90")
    (tmp_path / "short.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=r"26\(6\).*184 days or more"):
        make_world(retention=tmp_path / "short.toml")


def test_keeper_says_what_failed_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot be logged removes nothing, and the state names it."""
    keeper = world.service.retention

    def broken() -> bool:
        keeper._stop.set()
        raise EvidenceUnavailable("the disk is full")

    monkeypatch.setattr(keeper, "tick", broken)
    keeper._run()
    assert "disk is full" in keeper.state()["failure"]
