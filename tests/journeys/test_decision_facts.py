"""The facts a decision considered: for a named request, under a permit, shown once, not kept."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from audit.considered import COMPLETE, KEPT_SHUT
from audit.events import Event, EventKind
from audit.portal.access import SESSION_COOKIE
from audit.portal.decision_index import Found
from audit.portal.frame import csrf_of
from audit.staff import StaffRole
from consent.errors import Conflict
from consent.facts_desk import FactsDesk
from consent.officer_asks import KEPT_S, WAITS_S, Named, Why
from policies.canonical import digest
from tests.consent.test_portal_pages import Portal
from tests.journeys.test_branch_decisions import Place, officer, place, redactor, town
from tests.promises.town import consents, says

__all__ = ["officer", "place", "redactor", "town"]

REASON = {"why": "authority", "reference": "DPC-2027/114"}


def named(reference: str, *, by: str = "olga") -> Named:
    """Return that an authority asks."""
    return Named(why=Why.AUTHORITY, reference=reference, by=by)


def reading(place: Place) -> Found:
    """Return the newest reading that the branch allowed, as an officer finds it."""
    place.meet()
    return place.found(action="infer", allowed=True)[0]


def reading_of(place: Place, customer: str) -> Found:
    """Return the reading of somebody who has only just come."""
    consents(place.api, customer)
    place.node.keeper.poll()
    place.town.pass_time(5)
    says(place.api, customer)
    return reading(place)


def confirmed(place: Place, name: str, role: StaffRole) -> Portal:
    """Return the browser of somebody whose role a second person confirmed."""
    made, access = Portal(place.trust, name, role), place.trust.service.access
    access.accounts.confirm(name, by="olga")
    session = access.sessions.open(access.accounts.known(name), method="test")
    made.http.cookies.set(SESSION_COOKIE, session, domain="trust.example")
    made.csrf = csrf_of({SESSION_COOKIE: session})
    return made


def asked(officer: Portal, one: Found, **changed: str) -> Any:
    """Ask for the facts of a decision by the form of its page; return where that leads."""
    where = f"?log={one.log}" if one.log else ""
    return officer.post(f"/decisions/{one.decision_id}/facts{where}", **(REASON | changed))


def steps(place: Place, step: str) -> list[dict[str, Any]]:
    """Return the service's entries of a step about facts, newest first."""
    found = place.trust.service.log.find(EventKind.REQUEST_STEP)
    of_facts = [dict(e.event.fields) for e in found if e.event.fields["right"] == FactsDesk.right]
    return [fields for fields in of_facts if fields["step"] == step]


def test_facts_are_fetched_for_a_named_request_and_shown_once(
    place: Place, officer: Portal
) -> None:
    """Asked, waited for, answered under a permit, shown once; who, why and for what is logged."""
    one, subject = reading(place), str(place.branch.subject("anna"))
    page = officer.get(f"/decisions/{one.decision_id}?log={one.log}")
    assert subject not in page
    assert "Why do you ask" in page
    waiting = asked(officer, one)
    assert "has not answered yet" in waiting.text
    where = waiting.url.path
    assert officer.post(where).status_code == 409
    assert "Go on with what you asked" in officer.get(f"/decisions/{one.decision_id}?log={one.log}")
    before = place.node.log.size
    place.node.keeper.poll()
    mine = [e.event for e in place.node.log.entries(before, place.node.log.size)]
    (permit,) = [e.fields for e in mine if e.kind is EventKind.DECISION]
    assert (permit["action"], permit["allowed"]) == ("infer", True)
    (answered,) = [e.fields for e in mine if e.kind is EventKind.REQUEST_ANSWERED]
    assert (answered["right"], answered["outcome"]) == (FactsDesk.right, COMPLETE)
    assert subject not in officer.get(where)
    shown = officer.post(where)
    assert shown.status_code == 200
    assert subject in shown.text
    assert "&#34;granted_at&#34;" in shown.text or '"granted_at"' in shown.text
    assert "<dt>minimum notice</dt><dd>1</dd>" in shown.text
    assert "<dt>restricted</dt><dd>no</dd>" in shown.text
    assert re.search(r"<dt>grants 1 granted at</dt><dd><time datetime=", shown.text)
    assert shown.headers["cache-control"] == "no-store"
    assert officer.post(where).status_code == 404
    assert officer.http.get(where).status_code == 404
    for step in ("asked", "shown"):
        fields = steps(place, step)[0]
        assert (fields["by"], fields["reason"], fields["evidence"]) == (
            "olga",
            "authority",
            "DPC-2027/114",
        )
        assert fields["decision"] == one.decision_id
        assert subject not in str(fields)


def test_facts_are_nowhere_after_they_were_shown(place: Place, officer: Portal) -> None:
    """Neither in memory nor in any file of the service: only the digest that the node logged."""
    one, subject = reading(place), str(place.branch.subject("anna"))
    desk = place.trust.service.facts
    where = asked(officer, one).url.path
    place.node.keeper.poll()
    (kept,) = [a for a in desk._asks.values() if a.found == one]
    assert kept.answer is not None
    assert officer.post(where).status_code == 200
    assert kept.answer is None
    assert kept not in desk._asks.values()
    secret = kept.found.decision_id.encode()
    for file in (place.town.folder / "trust").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            for at in [m.start() for m in re.finditer(re.escape(secret), data)]:
                assert subject.encode() not in data[max(0, at - 2000) : at + 2000], file.name


def test_an_answer_that_nobody_looks_at_is_gone(place: Place) -> None:
    """After its time an answer is forgotten, and an ask that nobody answered as well."""
    one, clock = reading(place), place.town.clock
    desk, began = place.trust.service.facts, clock.now
    made = desk.ask(one, named("A-1"))
    place.node.keeper.poll()
    assert made.answer is not None
    clock.now = began + KEPT_S + 1
    assert desk.open_of(one, by="olga") is None
    assert made.answer is None
    place.town.carrier.away = True
    clock.now = began
    again = desk.ask(one, named("A-2"))
    clock.now = began + WAITS_S - 1
    assert desk.open_of(one, by="olga") is again
    clock.now = began + WAITS_S + 1
    assert desk.open_of(one, by="olga") is None
    clock.now = began
    place.town.carrier.away = False


@pytest.mark.parametrize(
    "changed",
    [{"why": ""}, {"why": "curious"}, {"reference": ""}, {"reference": "anna of Main Street"}],
)
def test_without_a_named_request_nothing_is_asked(
    place: Place, officer: Portal, changed: dict[str, str]
) -> None:
    """No reason, no reference, or one with a blank in it: 422, and the branch hears of nothing."""
    one = reading(place)
    answer = asked(officer, one, **changed)
    assert answer.status_code == 422
    assert place.trust.service.facts.open_of(one, by="olga") is None


def test_a_branch_tells_nothing_that_was_not_asked(place: Place) -> None:
    """An answer to no question, or to a question to another branch, is not taken."""
    one = reading(place)
    report = {"node": place.branch.name, "facts": {}}
    said = _as_answered(place, "f" * 32, report)
    path = f"/v1/requests/{'f' * 32}/answers"
    assert place.trust.as_node(place.branch.name, "POST", path, said).status_code == 404
    made = place.trust.service.facts.ask(one, named("A-1"))
    other = place.town.branch(f"{place.branch.name}-x")
    said = _as_answered(place, made.ask, report)
    path = f"/v1/requests/{made.ask}/answers"
    assert place.trust.as_node(other.name, "POST", path, said).status_code == 404
    assert made.answer is None


def _as_answered(
    place: Place, ask: str, report: dict[str, Any], outcome: str = COMPLETE
) -> dict[str, Any]:
    """Return an answer with an entry of the branch's log that commits to it."""
    fields = {
        "request": ask,
        "right": FactsDesk.right,
        "outcome": outcome,
        "digest": digest(report),
    }
    log = place.node.log
    index = log.append(
        Event(kind=EventKind.REQUEST_ANSWERED, at=place.town.clock.now, fields=fields)
    )
    leaf = base64.b64encode(log.entry(index).leaf).decode()
    return {"report": report, "leaf": leaf, "receipt": log.receipt(index)}


def test_facts_that_the_decision_did_not_consider_are_refused(place: Place) -> None:
    """Changed in one field, or of another decision: 422; the true ones are taken."""
    one = reading(place)
    made = place.trust.service.facts.ask(one, named("A-1"))
    true = place.node.log.payload(one.idx)
    assert true is not None
    path = f"/v1/requests/{made.ask}/answers"
    for facts in (
        true | {"request": true["request"] | {"setting": "workplace"}},
        true | {"standing": true["standing"] | {"restricted": True}},
        {"request": true["request"]},
        None,
    ):
        said = _as_answered(place, made.ask, {"facts": facts})
        answer = place.trust.as_node(place.branch.name, "POST", path, said)
        assert answer.status_code == 422, facts
        assert made.answer is None
    said = _as_answered(place, made.ask, {"facts": true})
    assert place.trust.as_node(place.branch.name, "POST", path, said).status_code == 201
    assert made.answer is not None
    assert made.answer.outcome == COMPLETE


def test_only_officer_and_dpo_ask_and_only_for_themselves(place: Place, officer: Portal) -> None:
    """An auditor, operator or scientist is refused and sees no form; nobody sees another's ask."""
    one = reading(place)
    where = asked(officer, one).url.path
    place.node.keeper.poll()
    number = len(place.town.branches)
    dpo = confirmed(place, f"dora{number}", StaffRole.DPO)
    assert dpo.http.get(where).status_code == 404
    assert dpo.post(where).status_code == 404
    for role in (StaffRole.AUDITOR, StaffRole.OPERATOR, StaffRole.DATA_SCIENTIST):
        reader = Portal(place.trust, f"{role.value}-{number}", role)
        assert asked(reader, one).status_code == 403, role
        assert reader.post(where).status_code == 403
    auditor = Portal(place.trust, f"aiko{number}", StaffRole.AUDITOR)
    page = auditor.get(f"/decisions/{one.decision_id}?log={one.log}")
    assert "Officer and DPO may ask" in page
    assert "Why do you ask" not in page
    assert officer.post(where).status_code == 200


def test_what_the_gate_keeps_shut_stays_shut(place: Place, officer: Portal) -> None:
    """After a withdrawal the branch tells standing and rules; no cue, and not whose data it was."""
    one, subject = reading_of(place, "walter"), str(place.branch.subject("walter"))
    place.api.post("/v1/withdrawals", json={"customer": "walter", "purpose": "service"})
    place.node.keeper.poll()
    where = asked(officer, one).url.path
    place.node.keeper.poll()
    made = next(a for a in place.trust.service.facts._asks.values() if a.found == one)
    assert made.answer is not None
    assert made.answer.outcome == KEPT_SHUT
    shown = officer.post(where).text
    assert "What stays shut" in shown
    assert subject not in shown
    assert "read_at" not in shown


def test_what_was_erased_is_said_to_be_gone(place: Place, officer: Portal) -> None:
    """Once the person's keys are destroyed there is nothing to open, and the page says so."""
    one, subject = reading_of(place, "ella"), place.branch.subject("ella")
    person = place.trust.service.acts.anybody(subject)
    place.trust.service.acts.withdraw(person, None)
    place.node.keeper.poll()
    where = asked(officer, one).url.path
    place.node.keeper.poll()
    shown = officer.post(where).text
    assert "There is nothing to open" in shown
    assert str(subject) not in shown


def test_a_branch_that_is_away_answers_when_it_is_back(place: Place, officer: Portal) -> None:
    """Meanwhile the page says since when it is silent; afterwards the facts are there."""
    one = reading(place)
    place.town.carrier.away = True
    place.town.pass_time(1000)
    waiting = asked(officer, one)
    assert "It has said nothing since" in waiting.text
    place.town.carrier.away = False
    place.node.keeper.poll()
    assert "They are here" in officer.get(waiting.url.path)


def test_our_own_decisions_open_at_once(place: Place, officer: Portal) -> None:
    """What this service considered itself is opened by its own gate, shown once as well."""
    subject, name = str(place.branch.subject("anna")), place.branch.name
    request = {"node": name, "action": "infer", "purpose": "service", "subject": subject}
    said = place.trust.as_node(name, "POST", "/v1/decisions", {"request": request}).json()
    found = place.trust.service.evidence.index.one(said["decision_id"])
    assert found is not None
    ready = asked(officer, found)
    assert "They are here" in ready.text
    assert subject not in ready.text
    shown = officer.post(ready.url.path)
    assert subject in shown.text
    assert officer.post(ready.url.path).status_code == 404


def test_a_batch_is_not_opened_and_asks_are_bounded(place: Place) -> None:
    """A batch considered nobody alone; who has many asks open looks at those first."""
    one, desk = reading(place), place.trust.service.facts
    with pytest.raises(Conflict, match="nobody alone"):
        desk.ask(one._replace(batch=True), named("A-1", by="many"))
    for number in range(20):
        desk.ask(one, named(f"A-{number}", by="many"))
    with pytest.raises(Conflict, match="20 asks of yours"):
        desk.ask(one, named("A-21", by="many"))
