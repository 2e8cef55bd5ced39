"""A branch tells which of its decisions are about one person, under its own gate's permit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from audit import decisions_about
from audit.considered import COMPLETE, KEPT_SHUT, NOTHING_HERE
from audit.errors import EntryMissing
from audit.events import Event, EventKind
from client_node.people_requests import PeopleRequests
from client_node.trust_client import TrustClient
from policies.canonical import digest
from policies.decision import UseRequest
from policies.vocabulary import Action, NodeId, Purpose, SubjectId
from tests.journeys.test_branch_decisions import Place, place, redactor, town
from tests.promises.town import consents, says

__all__ = ["place", "redactor", "town"]


@dataclass
class Desk:
    """Keeps what a node answers."""

    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer_request(self, request: str, said: dict[str, Any]) -> None:
        """Keep one answer."""
        self.said.append((request, said))


def told(place: Place, subject: str) -> tuple[dict[str, Any], Event]:
    """Ask a branch for a person's decisions; return its report and the entry that commits to it."""
    desk, node = Desk(), place.node
    requests = cast("Any", node.keeper.answering).__self__
    assert isinstance(requests, PeopleRequests)
    task = {"request": "ask-1", "right": "decisions", "subject": subject, "about": {}}
    replace(requests, client=cast("TrustClient", desk)).answer([task])
    ((request, said),) = desk.said
    assert request == "ask-1"
    entry = node.log.entry(node.log.size - 1).event
    assert entry.kind is EventKind.REQUEST_ANSWERED
    assert entry.fields["digest"] == digest(said["report"])
    assert subject not in str(entry.fields)
    return said["report"], entry


def others(place: Place) -> str:
    """Have somebody else consent and speak; return their pseudonym."""
    consents(place.api, "berta")
    place.node.keeper.poll()
    says(place.api, "berta")
    return str(place.branch.subject("berta"))


def test_a_person_is_told_of_alone_newest_first(place: Place) -> None:
    """Every decision about them that stood before the ask, at its place; nobody else's."""
    anna, berta = str(place.branch.subject("anna")), others(place)
    log = place.node.log
    of: dict[str, list[int]] = {anna: [], berta: []}
    for kept in log.entries(0, log.size):
        facts = log.payload(kept.index)
        if kept.event.kind is EventKind.DECISION and facts is not None:
            of[facts["request"]["subject"]].insert(0, kept.index)
    for subject, places in of.items():
        report, entry = told(place, subject)
        assert places
        assert [one["entry"] for one in report["decisions"]] == places
        assert [one["decision"] for one in report["decisions"]] == [
            log.entry(index).event.fields["decision_id"] for index in places
        ]
        assert (entry.fields["outcome"], report["cut"]) == (COMPLETE, False)


def test_an_answer_is_bounded_and_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are told, and that there are more."""
    anna = str(place.branch.subject("anna"))
    whole, _ = told(place, anna)
    monkeypatch.setattr(decisions_about, "MOST", 1)
    report, _ = told(place, anna)
    assert report["cut"] is True
    assert len(report["decisions"]) == 1
    assert report["decisions"][0]["entry"] > whole["decisions"][0]["entry"]


def test_who_is_unknown_looks_like_who_was_never_decided_about(place: Place) -> None:
    """Nothing is found, the gate is not asked, and the words are the same for both."""
    before = place.node.log.size
    unknown, entry = told(place, "f" * len(place.branch.subject("anna")))
    assert entry.fields["outcome"] == NOTHING_HERE
    assert place.node.log.size == before + 1
    never, _ = told(place, str(place.branch.subject("carla")))
    assert unknown == never


def test_who_was_erased_looks_like_who_is_unknown(place: Place) -> None:
    """With the keys the way from a person to their decisions is gone."""
    berta = others(place)
    assert told(place, berta)[0]["decisions"]
    place.node.log.forget(SubjectId(berta))
    erased, entry = told(place, berta)
    assert entry.fields["outcome"] == NOTHING_HERE
    assert erased == told(place, "f" * len(berta))[0]


def test_a_permit_for_somebody_else_opens_nothing(place: Place) -> None:
    """Whatever a gate was asked for, the permit says whose decisions may be told."""
    anna, berta = place.branch.subject("anna"), SubjectId(others(place))
    node = place.node
    request = UseRequest(
        node=NodeId(place.branch.name),
        action=Action.INFER,
        purpose=Purpose.SERVICE,
        subject=berta,
    )
    permit = node.gate.open(request, node.cache.standing(berta), node.cache.governance)
    with pytest.raises(EntryMissing, match="somebody else"):
        decisions_about.decisions_about(node.log, anna, lambda _: permit)


def test_what_the_gate_refuses_is_not_told(place: Place) -> None:
    """Once the permit has run out, no id leaves: only by which rules."""
    anna = str(place.branch.subject("anna"))
    place.town.pass_time(400 * 86_400)
    report, entry = told(place, anna)
    assert entry.fields["outcome"] == KEPT_SHUT
    assert report["decisions"] == []
    assert report["kept_shut_by"]
