"""What a branch tells of a person's decisions: held against its log and what it handed over."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from audit.considered import COMPLETE, KEPT_SHUT, NOTHING_HERE
from audit.events import Event, EventKind
from consent.search_desk import SearchAsk
from policies.canonical import digest
from policies.vocabulary import SubjectId
from tests.consent.test_portal_pages import Portal
from tests.journeys.test_branch_decisions import Place, officer, place, redactor, town
from tests.journeys.test_person_search import WHERE, about, anna, asked, desk, named
from tests.promises.town import consents, says

__all__ = ["anna", "officer", "place", "redactor", "town"]


def sent(
    place: Place,
    made: SearchAsk,
    report: dict[str, Any],
    outcome: str = COMPLETE,
    *,
    sending: dict[str, Any] | None = None,
    entry_of: SearchAsk | None = None,
) -> int:
    """Answer as the branch's node, with an entry of its log that commits to it; return the status.

    Nothing of it need be true; what is sent is what the entry commits to, unless it is said.
    """
    fields = {"request": (entry_of or made).ask, "right": "decisions", "outcome": outcome}
    event = Event(
        kind=EventKind.REQUEST_ANSWERED,
        at=place.town.clock.now,
        fields=fields | {"digest": digest(report)},
    )
    log = place.node.log
    index = log.append(event)
    leaf = base64.b64encode(log.entry(index).leaf).decode()
    said = {"report": sending or report, "leaf": leaf, "receipt": log.receipt(index)}
    path = f"/v1/requests/{made.ask}/answers"
    return place.trust.as_node(place.branch.name, "POST", path, said).status_code


def _row(place: Place) -> Any:
    rows = place.trust.service.ledger.nodes()
    return next(row for row in rows if row.node == place.branch.name)


def test_an_answer_that_cannot_be_true_is_refused(place: Place, anna: SubjectId) -> None:
    """Other entries, other ids, twice the same, too many, no list: 422; then the truth."""
    made = desk(place).ask(anna, named())
    (place_1, id_1), (place_2, id_2) = about(place, anna)[:2]
    good = [{"entry": place_1, "decision": id_1}, {"entry": place_2, "decision": id_2}]
    wrong: list[Any] = [
        [{"entry": place_1, "decision": id_2}],
        [{"entry": place_1, "decision": "f" * 32}],
        [good[0], good[0]],
        [{"entry": True, "decision": id_1}],
        [{"entry": -1, "decision": id_1}],
        [{"entry": str(place_1), "decision": id_1}],
        [{"entry": place_1, "decision": ""}],
        [{"entry": place_1, "decision": "x" * 201}],
        [place_1],
        {"entry": place_1},
        None,
        [],
        [{"entry": n, "decision": "x"} for n in range(10_000, 10_201)],
    ]
    for told in wrong:
        assert sent(place, made, {"decisions": told, "cut": False}) == 422, told
        assert not made.answers
    for outcome in ("done", NOTHING_HERE, KEPT_SHUT):
        assert sent(place, made, {"decisions": good, "cut": False}, outcome) == 422, outcome
    shut = {"decisions": [], "cut": False, "kept_shut_by": "r05"}
    assert sent(place, made, shut, KEPT_SHUT) == 422
    huge = {"decisions": [{"entry": 2**60, "decision": id_1}], "cut": False}
    assert sent(place, made, {"decisions": good, "cut": False}, sending=huge) == 422
    assert sent(place, made, {"decisions": good, "cut": False}) == 201
    assert sent(place, made, {"decisions": good, "cut": False}) == 409


def test_a_batch_is_not_about_one_person(
    place: Place, anna: SubjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that names a batch is refused: whose case was which in it is not told so."""
    made, index = desk(place).ask(anna, named()), place.index
    found = index.at(place.branch.name, [entry for entry, _ in about(place, anna)])
    report = {"decisions": [{"entry": found[0].idx, "decision": found[0].decision_id}]}
    with monkeypatch.context() as patch:
        patch.setattr(index, "at", lambda *_: [found[0]._replace(batch=True)])
        assert sent(place, made, report) == 422
    assert sent(place, made, report) == 201


def test_a_lie_about_what_is_not_here_yet_comes_out(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """A branch names an entry to come; handed over, it is another's: said, and no decision."""
    where = asked(officer, anna).url.path
    made = desk(place).of(where.rsplit("/", 1)[1], by="olga")
    consents(place.api, "carla")
    place.node.keeper.poll()
    desk(place).end(made.ask, by="olga")
    made = desk(place).ask(anna, named())
    says(place.api, "carla")
    entry = about(place, place.branch.subject("carla"))[0][0]
    report = {"decisions": [{"entry": entry, "decision": "f" * 32}], "cut": False}
    assert sent(place, made, report) == 201
    where = f"{WHERE}/{made.ask}"
    assert "has not handed over yet" in officer.post(where).text
    place.meet()
    shown = officer.post(where).text
    assert "something else in its own log" in shown
    assert "f" * 32 not in shown


def test_a_branch_answers_what_it_was_asked_alone(place: Place, anna: SubjectId) -> None:
    """Not another's ask, not one that is over, and not for facts; each is no such request."""
    other = f"{place.branch.name}-z"
    assert place.trust.enrol(other, "elsewhere").status_code == 201
    made = desk(place).ask(anna, named())
    path = f"/v1/requests/{made.ask}/answers"
    said = {"report": {"decisions": [], "cut": False}, "leaf": "", "receipt": ""}
    assert other not in made.nodes
    assert place.trust.as_node(other, "POST", path, said).status_code == 404
    desk(place).end(made.ask, by="olga")
    assert sent(place, made, {"decisions": [], "cut": False}, NOTHING_HERE) == 404
    assert desk(place).tasks(_row(place)) == []


def test_an_answer_is_what_the_branchs_log_commits_to(place: Place, anna: SubjectId) -> None:
    """Another report than the entry's, or the entry of another ask: 422, nothing is taken."""
    made, other = desk(place).ask(anna, named()), desk(place).ask(anna, named("A-2"))
    good = {"decisions": [{"entry": i, "decision": d} for i, d in about(place, anna)]}
    assert sent(place, made, good, sending={"decisions": good["decisions"][:1]}) == 422
    assert sent(place, made, good, entry_of=other) == 422
    assert not made.answers
    assert sent(place, made, good) == 201
