"""Requests: the clock, the identity, and that nothing is closed without evidence."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from audit.drafts import Draft
from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.staff import Staff, StaffRole
from consent import acts, rights_page
from consent.api import create_app
from consent.errors import Conflict, EvidenceMissing
from consent.rights import (
    REQUIRED,
    Case,
    EvidenceKind,
    Extension,
    Refusal,
    Right,
    Step,
    StepKind,
    after,
    due,
    missing,
)
from consent.rights_page import letter, package_page
from consent.working_days import period_end, working_day
from policies.canonical import digest
from policies.vocabulary import SubjectId
from tests.consent.conftest import World

DAY_S = 86_400
NODES = ("north", "south")


def at(year: int, month: int, day: int) -> float:
    """Return noon of a day as Unix seconds."""
    return datetime(year, month, day, 12, tzinfo=UTC).timestamp()


def opened(right: Right, *, when: float = 0.0, method: str | None = "branch") -> Case:
    """Return a request just opened."""
    details = {
        "case": "c1",
        "right": right.value,
        "company": "acme",
        "subject": "alice",
        "nodes": list(NODES),
        "jurisdiction": "IE",
        "method": method,
    }
    return after(None, Step(kind=StepKind.OPENED, at=when, by="north", details=details))


def take(case: Case, kind: StepKind, when: float = 1.0, **details: Any) -> Case:
    """Return the request with one more step."""
    return after(case, Step(kind=kind, at=when, by="dora", details=details))


def proofs(right: Right) -> list[dict[str, Any]]:
    """Return all the evidence that a right requires, a node's for each node."""
    others = sorted(REQUIRED[right] - {EvidenceKind.NODE_ANSWERED})
    return [{"evidence": kind.value, "digest": "d"} for kind in others] + [
        {"evidence": "node-answered", "node": node} for node in NODES
    ]


def show(case: Case, evidence: list[dict[str, Any]]) -> Case:
    """Return the request with this evidence."""
    for details in evidence:
        case = take(case, StepKind.EVIDENCE, **details)
    return case


@pytest.mark.parametrize(
    ("received", "jurisdiction", "expected"),
    [
        (at(2027, 3, 5), "IE", date(2027, 4, 5)),
        (at(2027, 1, 31), "IE", date(2027, 3, 1)),  # 28 February is a Sunday
        (at(2026, 11, 25), "IE", date(2026, 12, 28)),  # Christmas, St Stephen's, Sunday
        (at(2026, 11, 25), "EU", date(2026, 12, 25)),  # no calendar: weekends alone
        (at(2027, 9, 3), "DE", date(2027, 10, 4)),  # Unity Day, a Sunday
        (at(2027, 3, 17), "GB-ENG", date(2027, 4, 19)),  # a Saturday
    ],
)
def test_a_month_ends_as_the_regulation_says(
    received: float, jurisdiction: str, expected: date
) -> None:
    """Regulation 1182/71: same date, or the month's last; off a holiday to the next working day."""
    assert period_end(received, months=1, jurisdiction=jurisdiction) == expected


@given(day=st.dates(date(2020, 1, 1), date(2040, 1, 1)), where=st.sampled_from(["IE", "DE-BE"]))
def test_a_working_day_is_never_earlier_and_never_far(day: date, where: str) -> None:
    """The end moves forward only, and by less than a fortnight."""
    found = working_day(day, where)
    assert 0 <= (found - day).days < 14
    assert found.weekday() < 5


def test_the_clock_stands_still_for_the_identity_alone() -> None:
    """Ten days between asking and knowing move the last day by ten; nothing else moves it."""
    case = opened(Right.ACCESS, when=at(2027, 3, 1), method=None)
    before = due(case, now=at(2027, 3, 9))
    assert before == date(2027, 4, 1)
    assert due(case, now=at(2027, 6, 1)) == before
    asked = take(case, StepKind.IDENTITY_ASKED, at(2027, 3, 2), way="letter")
    known = take(asked, StepKind.IDENTITY_CONFIRMED, at(2027, 3, 12), method="document-seen")
    assert due(known, now=at(2027, 6, 1)) == date(2027, 4, 12)
    with pytest.raises(Conflict, match="not paused"):
        take(known, StepKind.IDENTITY_ASKED, at(2027, 3, 13), way="letter")


def test_time_is_extended_once_in_the_first_month_and_with_a_reason() -> None:
    """Two further months, once, while the first runs (GDPR 12(3))."""
    case = opened(Right.ACCESS, when=at(2027, 3, 1))
    longer = take(case, StepKind.EXTENDED, at(2027, 3, 20), reason="complexity", way="e-mail")
    assert due(longer, now=at(2027, 3, 20)) == date(2027, 6, 1)
    for extended, when in ((longer, at(2027, 3, 21)), (case, at(2027, 4, 2))):
        with pytest.raises(Conflict):
            take(extended, StepKind.EXTENDED, when, reason="complexity", way="e-mail")
    with pytest.raises(Exception, match="particular"):
        take(case, StepKind.EXTENDED, at(2027, 3, 20), reason="busy", way="e-mail")
    with pytest.raises(Exception, match="particular"):
        take(case, StepKind.EXTENDED, at(2027, 3, 20), reason="complexity")


@pytest.mark.parametrize("right", Right)
def test_nothing_is_closed_without_all_its_evidence(right: Right) -> None:
    """With everything shown it closes; without any one piece it does not, and says which."""
    everything = proofs(right)
    done = take(show(opened(right), everything), StepKind.CLOSED, outcome="done")
    assert done.outcome is not None
    for left_out in everything:
        case = show(opened(right), [e for e in everything if e is not left_out])
        assert len(missing(case)) == 1
        with pytest.raises(EvidenceMissing, match=str(left_out.get("node", "no evidence"))):
            take(case, StepKind.CLOSED, outcome="done")


def test_an_incomplete_answer_is_no_evidence() -> None:
    """A node that says anything but complete or nothing-here leaves the request open."""
    evidence = proofs(Right.RECTIFICATION)[:-2]
    evidence += [{"evidence": "node-answered", "node": n, "outcome": "refused"} for n in NODES]
    with pytest.raises(EvidenceMissing):
        take(show(opened(Right.RECTIFICATION), evidence), StepKind.CLOSED, outcome="done")


@pytest.mark.parametrize("right", Right)
def test_an_answer_that_is_not_there_yet_is_not_delivered(right: Right) -> None:
    """A delivery recorded too early counts once it is recorded again, after all the rest."""
    delivery = {"evidence": "delivered", "outcome": "letter"}
    rest = [e for e in proofs(right) if e["evidence"] != "delivered"]
    for place in range(len(rest)):
        case = replace(opened(right), told_last=True)
        early = show(case, [*rest[:place], delivery, *rest[place:]])
        assert missing(early) == ("no evidence: delivered",)
        with pytest.raises(EvidenceMissing, match="delivered"):
            take(early, StepKind.CLOSED, outcome="done")
        assert take(show(early, [delivery]), StepKind.CLOSED, outcome="done").outcome is not None


def test_a_request_taken_in_now_is_answered_last(world: Any, desk: TestClient) -> None:
    """The desk takes a letter's delivery for a refusal, and for no answer that is still to come."""
    token = world.grant("alice").json()["manage_token"]
    body = {"manage_token": token, "right": "access", "jurisdiction": "IE"}
    made = world.send("POST", "/v1/requests", json.dumps(body).encode()).json()
    path = f"/v1/desk/requests/{made['request']}"
    told = desk.post(f"{path}/delivery", json={"way": "letter"}).json()
    assert "no evidence: delivered" in told["missing"]
    closed = desk.post(f"{path}/closing", json={"outcome": "refused", "reason": "excessive"})
    assert closed.status_code == 201


def test_a_refusal_is_closed_only_after_the_person_was_told() -> None:
    """Reason and complaint go out before a refusal is closed (GDPR 12(4))."""
    case = opened(Right.ACCESS)
    with pytest.raises(EvidenceMissing, match="not told"):
        take(case, StepKind.CLOSED, outcome="refused", reason="excessive")
    told = show(case, [{"evidence": "delivered", "outcome": "letter"}])
    assert take(told, StepKind.CLOSED, outcome="refused", reason="excessive").refusal == "excessive"


def test_nothing_is_done_before_the_identity_is_known() -> None:
    """No evidence of doing anything is taken for somebody unknown."""
    with pytest.raises(Conflict, match="identity"):
        show(opened(Right.ERASURE, method=None), [{"evidence": "keys-destroyed"}])


STATE = {
    "right": "access",
    "request": "c1",
    "due": "2027-04-01",
    "extension": "complexity",
    "reason": "excessive",
    "decided": {"outcome": "overturned", "by": "dora", "at": 1.0},
}


def test_an_answer_on_paper_says_dates_and_rules_in_words() -> None:
    """Nobody counts seconds since 1970 or knows a rule by its number; strange values stay."""
    decision = {"at": 1_800_000_000.5, "rules": ["r06-restricted", "own-1"], "released_at": 9e99}
    found = package_page({"request": "c1", "right": "access", "by": {"north": {"d": [decision]}}})
    assert '<time datetime="2027-01-15T08:00:00Z">2027-01-15 08:00 UTC</time>' in found
    assert "1800000000" not in found
    assert "r06-restricted: The person has asked t" in found
    assert "own rule own-1 decides" in found
    assert "<dd>9e+99</dd>" in found


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize("name", sorted(rights_page._letters()))
def test_every_letter_is_there_in_every_language(name: str, language: str) -> None:
    """Filled from a request's state, in that language's own words; of people it names nobody."""
    found = letter(name, language, STATE)
    assert "c1" in found
    assert "{" not in found
    assert "dora" not in found
    if language != "en":
        assert not {"access", "complexity", "excessive", "overturned"} & set(found.split())


def test_every_closed_word_is_there_in_every_language() -> None:
    """Each right, ground and outcome has words, and none is one too many."""
    closed = {
        "right": set(Right),
        "extension": set(Extension),
        "reason": set(Refusal),
        "decision": {"upheld", "changed", "overturned"},
    }
    for words in rights_page._words().values():
        assert {field: set(said) for field, said in words.items()} == closed


@pytest.mark.parametrize(
    ("name", "field"), [("extended", "extension"), ("refused", "reason"), ("reviewed", "decided")]
)
def test_a_letter_of_what_has_not_happened_is_not_written(name: str, field: str) -> None:
    """No letter of an extension, a refusal or a decision before there is one."""
    with pytest.raises(Conflict, match="cannot be written"):
        letter(name, "en", STATE | {field: None})


def test_a_decision_on_review_is_once_and_with_reasons() -> None:
    """Without the digest of its reasons none is recorded; a second one is a new request."""
    case = opened(Right.REVIEW)
    with pytest.raises(EvidenceMissing, match="reasons"):
        take(case, StepKind.EVIDENCE, evidence="human-decided", outcome="upheld")
    decided = take(case, StepKind.EVIDENCE, evidence="human-decided", outcome="upheld", digest="d")
    assert decided.decided() == {"outcome": "upheld", "by": "dora", "at": 1.0}
    with pytest.raises(Conflict, match="opens a new one"):
        take(decided, StepKind.EVIDENCE, evidence="human-decided", outcome="changed", digest="e")


# --- the desk, by its routes --------------------------------------------------------------


@pytest.fixture
def desk(world: Any) -> TestClient:
    """Return the application as a DPO sees it."""
    app = create_app(world.service)
    roles = frozenset({StaffRole.DPO})
    app.state.admit = lambda _: Staff(name="dora", roles=roles)
    return TestClient(app)


def test_a_letter_is_begun_only_when_the_identity_is_known(world: Any, desk: TestClient) -> None:
    """An erasure asked by letter erases nothing until somebody says how the person was known."""
    world.grant("alice")
    said = {"company": "acme", "subject": "alice", "right": "erasure", "jurisdiction": "IE"}
    made = desk.post("/v1/desk/requests", json=said).json()
    path = f"/v1/desk/requests/{made['request']}"
    assert desk.post(f"{path}/identity-asked", json={"way": "letter"}).json()["paused"]
    assert not world.standing("alice")["erased"]
    assert world.feed("north")["requests"] == []
    known = desk.post(f"{path}/identity", json={"method": "document-seen"}).json()
    assert known["identity"] == "document-seen"
    assert world.standing("alice")["erased"]
    assert [task["right"] for task in world.feed("north")["requests"]] == ["erasure"]
    assert world.feed("rival")["requests"] == [], "another company hears of nobody here"


@pytest.mark.parametrize("named", [True, False])
def test_erasure_asked_for_again_names_the_entries_of_that_erasure(
    world: Any, desk: TestClient, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    """However many were erased since, and though an earlier version's entries name no record."""
    if not named:

        def without_name(_record: str, count: int, at: float) -> Draft:
            fields = {"reason": "erasure", "purpose": None, "count": count}
            return Draft(event=Event(kind=EventKind.KEYS_DESTROYED, at=at, fields=fields))

        monkeypatch.setattr(acts, "_destroyed", without_name)
    places: dict[str, int] = {}
    for number in range(20):
        who = f"person-{number}"
        world.grant(who)
        gone = {"subject": who, "purpose": None}
        places[who] = world.as_node("north", "POST", "/v1/withdrawals", gone).json()["log_index"]
    for who in ("person-0", "person-7", "person-19"):
        said = {"company": "acme", "subject": who, "right": "erasure"}
        made = desk.post("/v1/desk/requests", json=said).json()
        path = f"/v1/desk/requests/{made['request']}"
        shown = desk.post(f"{path}/identity", json={"method": "document-seen"}).json()["evidence"]
        assert {e["kind"]: e["log_index"] for e in shown} == {
            "standing-recorded": places[who],
            "keys-destroyed": places[who] + 1,
        }
        assert (
            f"/evidence/entries/{places[who] + 1}"
            in desk.get(f"/people/requests/{made['request']}").text
        )


def test_reminders_name_what_is_late_and_what_it_lacks(world: Any, desk: TestClient) -> None:
    """The most urgent comes first, with its days and everything that is missing."""
    for name in ("alice", "bob"):
        token = world.grant(name).json()["manage_token"]
        body = {"manage_token": token, "right": "access", "jurisdiction": "IE"}
        assert world.send("POST", "/v1/requests", json.dumps(body).encode()).status_code == 201
        world.clock.now += 40 * DAY_S
    first, second = desk.get("/v1/desk/requests").json()
    assert first["overdue"]
    assert not first["paused"]
    assert first["due"] < second["due"]
    assert "node north: no answer" in first["missing"]


def test_a_node_cannot_claim_an_erasure_that_its_log_does_not_show(world: Any) -> None:
    """An answer without an entry of the node's own log is refused and counts for nothing."""
    token = world.grant("alice").json()["manage_token"]
    body = {"manage_token": token, "right": "erasure"}
    made = world.send("POST", "/v1/requests", json.dumps(body).encode()).json()
    leaf, other = world.service.log.entry(0).leaf, world.service.log.receipt(0)
    said = {"report": {}, "leaf": base64.b64encode(leaf).decode(), "receipt": other}
    answer = world.as_node("north", "POST", f"/v1/requests/{made['request']}/answers", said)
    assert answer.status_code == 422
    assert "no entry of its log" in answer.json()["detail"]
    assert len(world.feed("north")["requests"]) == 1


def test_every_step_is_in_the_log_without_the_person(world: Any, desk: TestClient) -> None:
    """Steps name the request, the right and who did it, and no pseudonym."""
    world.grant("alice")
    said = {"company": "acme", "subject": "alice", "right": "access"}
    made = desk.post("/v1/desk/requests", json=said).json()
    path = f"/v1/desk/requests/{made['request']}"
    desk.post(f"{path}/identity", json={"method": "call-back"})
    steps = world.service.log.find(EventKind.REQUEST_STEP)
    assert {step.event.fields["step"] for step in steps} == {
        "opened",
        "identity-confirmed",
        "evidence",
    }
    assert {step.event.fields["by"] for step in steps} == {"dora", "trust-service"}
    assert not any(b"alice" in step.leaf for step in steps)


def test_what_was_gathered_for_someone_erased_since_is_destroyed(
    world: Any, desk: TestClient
) -> None:
    """An erasure overtakes an open access request, and takes along what it had gathered."""
    token = world.grant("alice").json()["manage_token"]
    body = {"manage_token": token, "right": "access"}
    made = world.send("POST", "/v1/requests", json.dumps(body).encode()).json()
    holder = SubjectId(f"request.{made['request']}")
    assert world.service.keystore.labels(holder)
    gone = json.dumps({"manage_token": token, "purpose": None}).encode()
    assert world.send("POST", "/v1/withdrawals", gone).status_code == 201
    assert world.feed("north")["requests"] == []
    assert world.service.keystore.labels(holder) == frozenset()
    state = desk.get(f"/v1/desk/requests/{made['request']}").json()
    assert state["outcome"] == "overtaken-by-erasure"


def test_staff_routes_are_closed_to_everybody_else(world: Any) -> None:
    """Without a sign-in no request is shown or moved."""
    for method, path in (("GET", "/v1/desk/requests"), ("POST", "/v1/desk/requests/x/closing")):
        assert world.send(method, path).status_code == 401


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 201),
        ({"digest": "00" * 32}, 422),
        ({"request": "another"}, 422),
        ({"right": "access"}, 422),
        ({"keys_left": 1}, 422),
    ],
)
def test_an_answer_is_what_the_nodes_own_entry_commits_to(
    world: World, tmp_path: Path, changed: dict[str, Any], status: int
) -> None:
    """Another report, request or right than its entry's, or a key left: refused, still asked."""
    token = world.grant("alice").json()["manage_token"]
    body = {"manage_token": token, "right": "erasure"}
    made = world.send("POST", "/v1/requests", json.dumps(body).encode()).json()
    report = {"node": "north"}
    fields = {
        "request": made["request"],
        "right": "erasure",
        "outcome": "complete",
        "digest": digest(report),
        "keys_left": 0,
    } | changed
    key = world.keys["north"]
    with closing(
        EvidenceLog(tmp_path / "north.db", key, origin="undertone/north", clock=world.clock)
    ) as log:
        event = Event(kind=EventKind.REQUEST_ANSWERED, at=world.clock.now, fields=fields)
        index = log.append(event)
        leaf = base64.b64encode(log.entry(index).leaf).decode()
        said = {"report": report, "leaf": leaf, "receipt": log.receipt(index)}
    answer = world.as_node("north", "POST", f"/v1/requests/{made['request']}/answers", said)
    assert answer.status_code == status, answer.text
    assert len(world.feed("north")["requests"]) == (0 if status == 201 else 1)
