"""A person's decisions, searched over branches: asked by name, under each branch's own permit."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest

from audit.events import EventKind
from audit.staff import StaffRole
from consent.errors import Conflict, RequestInvalid
from consent.officer_asks import KEPT_S, MOST_OPEN, WAITS_S, Named, Why
from consent.search_desk import SearchDesk
from policies.vocabulary import Purpose, SubjectId
from tests.consent.test_portal_pages import Portal
from tests.journeys.test_branch_decisions import Place, officer, place, redactor, town
from tests.journeys.test_decision_facts import confirmed
from tests.promises.town import consents, says

__all__ = ["officer", "place", "redactor", "town"]

REASON = {"why": "authority", "reference": "DPC-2027/114"}
WHERE = "/decisions/about"


@pytest.fixture
def anna(place: Place) -> Iterator[SubjectId]:
    """Return the pseudonym of somebody who came to the test's own branch alone, and spoke."""
    consents(place.api, _customer(place))
    place.node.keeper.poll()
    place.town.pass_time(5)
    says(place.api, _customer(place))
    place.meet()
    yield place.branch.subject(_customer(place))
    for one in desk(place).open_by("olga"):
        desk(place).end(one.ask, by="olga")


def _customer(place: Place) -> str:
    return f"anna-{place.branch.name}"


def desk(place: Place) -> SearchDesk:
    """Return the service's desk."""
    return place.trust.service.searches


def named(reference: str = "A-1", *, by: str = "olga") -> Named:
    """Return that an authority asks."""
    return Named(why=Why.AUTHORITY, reference=reference, by=by)


def asked(officer: Portal, whom: str, **changed: str) -> Any:
    """Ask by the form; return where that leads."""
    return officer.post(WHERE, **({"subject": whom} | REASON | changed))


def about(place: Place, subject: str) -> list[tuple[int, str]]:
    """Return a person's decisions in the branch's own log, newest first."""
    log = place.node.log
    found = list[tuple[int, str]]()
    for entry in log.entries(0, log.size):
        facts = log.payload(entry.index)
        if entry.event.kind is not EventKind.DECISION or facts is None:
            continue
        if facts["request"]["subject"] == subject:
            found.insert(0, (entry.index, str(entry.event.fields["decision_id"])))
    return found


def test_an_officer_finds_a_persons_decisions_at_their_branch(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """From the pseudonym to each decision's own page; nobody is in an address or in the log."""
    theirs = about(place, anna)
    own = officer.post("/decisions", subject=anna)
    assert "Ask the branches" in own.text
    waiting = asked(officer, anna)
    where = waiting.url.path
    assert "No branch has answered yet" in waiting.text
    assert anna not in waiting.text
    assert officer.post(where).status_code == 409
    assert f'href="{where}"' in officer.get("/decisions")
    place.node.keeper.poll()
    assert "branches have answered" in officer.get(where)
    assert theirs[0][1] not in officer.get(where)
    for _ in range(2):  # as often as wanted
        shown = officer.post(where)
        assert shown.status_code == 200
        assert anna in shown.text
        named = re.findall(rf'href="/decisions/([0-9a-f]+)\?log={place.branch.name}"', shown.text)
        assert named == [decision for _, decision in theirs]
    saved = officer.post(f"{where}?format=csv&table=decisions")
    assert saved.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(saved.text)))
    assert len(rows) == 1 + len(theirs)
    assert anna not in saved.text
    opened = officer.get(f"/decisions/{theirs[0][1]}?log={place.branch.name}")
    assert anna not in opened
    logged = [f for f in _steps(place) if f["request"] == where.rsplit("/", 1)[1]]
    assert [fields["step"] for fields in logged] == ["shown", "shown", "shown", "asked"]
    for fields in logged:
        told = (fields["by"], fields["reason"], fields["evidence"])
        assert told == ("olga", "authority", "DPC-2027/114")
        assert anna not in str(fields)
    assert officer.post(f"{where}/end").status_code == 200
    assert officer.http.get(where).status_code == 404


def _steps(place: Place) -> list[dict[str, Any]]:
    found = place.trust.service.log.find(EventKind.REQUEST_STEP)
    return [dict(e.event.fields) for e in found if e.event.fields["right"] == SearchDesk.right]


def test_nobody_elses_decisions_are_among_them(place: Place, anna: SubjectId) -> None:
    """Of two people who spoke at one branch each search names its own alone."""
    consents(place.api, "berta")
    place.node.keeper.poll()
    says(place.api, "berta")
    place.meet()
    berta = place.branch.subject("berta")
    for subject in (anna, berta):
        expected = [decision for _, decision in about(place, subject)]
        made = desk(place).ask(subject, named())
        place.node.keeper.poll()
        (told,) = [t for t in desk(place).show(made.ask, by="olga")[1] if t.node == _name(place)]
        assert expected
        assert [one.decision_id for one in told.found] == expected
        desk(place).end(made.ask, by="olga")


def _name(place: Place) -> str:
    return place.branch.name


def test_the_pseudonym_is_on_no_disk(place: Place, officer: Portal, anna: SubjectId) -> None:
    """What an ask adds to the service's files is neither whom it is about nor what was told."""
    folder = place.town.folder / "trust"

    def count() -> dict[str, int]:
        files = [file for file in folder.rglob("*") if file.is_file()]
        return {str(f): f.read_bytes().count(anna.encode()) for f in files}

    before = count()
    where = asked(officer, anna).url.path
    place.node.keeper.poll()
    assert officer.post(where).status_code == 200
    assert count() == before


def test_what_was_not_handed_over_is_said_and_comes_later(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """A branch names newer decisions than it has handed over: they are counted, then shown."""
    says(place.api, _customer(place))
    where = asked(officer, anna).url.path
    place.node.keeper.poll()
    shown = officer.post(where).text
    assert "has not handed over yet" in shown
    newest = about(place, anna)[1][1]  # newest of all is the permit of this very answer
    assert newest not in shown
    place.meet()
    shown = officer.post(where).text
    assert "has not handed over yet" not in shown
    assert newest in shown


def test_only_officer_and_dpo_ask_and_only_for_themselves(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """An auditor, operator or scientist is refused and sees no form; nobody sees another's ask."""
    where = asked(officer, anna).url.path
    place.node.keeper.poll()
    number = len(place.town.branches)
    dpo = confirmed(place, f"dora-s{number}", StaffRole.DPO)
    assert dpo.http.get(where).status_code == 404
    assert dpo.post(where).status_code == 404
    assert dpo.post(f"{where}/end").status_code == 404
    for role in (StaffRole.AUDITOR, StaffRole.OPERATOR, StaffRole.DATA_SCIENTIST):
        reader = Portal(place.trust, f"{role.value}-s{number}", role)
        assert asked(reader, anna).status_code == 403, role
        assert reader.post(where).status_code == 403
        assert reader.post(f"{where}/end").status_code == 403
    auditor = Portal(place.trust, f"aiko-s{number}", StaffRole.AUDITOR)
    page = auditor.post("/decisions", subject=anna).text
    assert "Officer and DPO may ask" in page
    assert "Ask the branches" not in page
    assert where not in auditor.get("/decisions")
    assert officer.post(where).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"why": ""},
        {"why": "curious"},
        {"reference": ""},
        {"reference": "anna of Main Street"},
        {"reference": "ANNA"},
        {"subject": ""},
        {"subject": "a b"},
    ],
)
def test_without_a_named_request_nobody_is_asked(
    place: Place, officer: Portal, anna: SubjectId, changed: dict[str, str]
) -> None:
    """No reason, no reference, one that is the pseudonym, or no pseudonym: 422, nothing logged."""
    if changed.get("reference") == "ANNA":
        changed = {"reference": f"file:{anna}"}
    before = len(_steps(place))
    answer = asked(officer, anna, **changed)
    assert answer.status_code == 422
    assert anna not in answer.text
    assert desk(place).open_by("olga") == []
    assert len(_steps(place)) == before


def test_unknown_and_erased_look_alike_and_are_counted(place: Place, anna: SubjectId) -> None:
    """The same page, no branch hears of it; whoever goes on guessing has to wait."""
    officer = confirmed(place, f"gustav{len(place.town.branches)}", StaffRole.OFFICER)
    consents(place.api, "ella")
    place.node.keeper.poll()
    ella, service = place.branch.subject("ella"), place.trust.service
    service.acts.withdraw(service.acts.anybody(ella), None)
    erased, unknown = asked(officer, ella), asked(officer, "f" * len(ella))
    assert (erased.status_code, unknown.status_code) == (404, 404)
    assert _body(erased.text) == _body(unknown.text)
    assert desk(place)._asks == {}
    statuses = [asked(officer, f"{number:064x}").status_code for number in range(30)]
    assert 429 in statuses
    assert asked(officer, anna).status_code == 429


def _body(page: str) -> str:
    return re.sub(r'value="[^"]*"', "", page)


def test_who_withdraws_meanwhile_is_asked_about_again(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """What was told before is not shown: the gate is asked again, and keeps it shut."""
    where = asked(officer, anna).url.path
    place.node.keeper.poll()
    assert officer.post(where).status_code == 200
    acts = place.trust.service.acts
    acts.withdraw(acts.anybody(anna), Purpose.SERVICE)
    assert "No branch has answered yet" in officer.get(where)
    assert officer.post(where).status_code == 409
    place.node.keeper.poll()
    shown = officer.post(where).text
    assert "keeps it shut" in shown
    assert "/decisions/" + about(place, anna)[-1][1] not in shown


def test_who_is_erased_meanwhile_is_forgotten(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """The search is over with everything that was told."""
    where = asked(officer, anna).url.path
    made = desk(place).of(where.rsplit("/", 1)[1], by="olga")
    place.node.keeper.poll()
    assert made.answers
    service = place.trust.service
    service.acts.withdraw(service.acts.anybody(anna), None)
    assert officer.post(where).status_code == 404
    assert not made.answers
    assert not desk(place).knows(made.ask)


def test_a_silent_branch_is_named_and_answers_when_it_is_back(
    place: Place, officer: Portal, anna: SubjectId
) -> None:
    """Meanwhile the page says since when it is silent."""
    place.town.carrier.away = True
    place.town.pass_time(1000)
    waiting = asked(officer, anna)
    assert "silent since" in waiting.text
    place.town.carrier.away = False
    place.node.keeper.poll()
    assert officer.post(waiting.url.path).status_code == 200


def test_what_nobody_looks_at_is_gone(place: Place, anna: SubjectId) -> None:
    """An hour after the first answer, and a day without one."""
    clock, began = place.town.clock, place.town.clock.now
    made = desk(place).ask(anna, named())
    place.node.keeper.poll()
    assert made.answers
    clock.now = began + KEPT_S + 1
    assert desk(place).open_by("olga") == []
    assert not made.answers
    clock.now = began
    place.town.carrier.away = True
    again = desk(place).ask(anna, named())
    clock.now = began + WAITS_S - 1
    assert desk(place).open_by("olga") == [again]
    clock.now = began + WAITS_S + 1
    assert desk(place).open_by("olga") == []
    clock.now = began
    place.town.carrier.away = False


def test_asks_are_bounded_and_need_a_branch(
    place: Place, anna: SubjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has many open ends one first; where no branch is enrolled there is nobody to ask."""
    made = [desk(place).ask(anna, named(f"A-{n}", by="many")) for n in range(MOST_OPEN)]
    with pytest.raises(Conflict, match=f"{MOST_OPEN} asks of yours"):
        desk(place).ask(anna, named(by="many"))
    for one in made:
        desk(place).end(one.ask, by="many")
    monkeypatch.setattr(desk(place), "_branches", list)
    with pytest.raises(Conflict, match="nobody to ask"):
        desk(place).ask(anna, named(by="many"))
    with pytest.raises(RequestInvalid):
        desk(place).ask(anna, named(f"x{anna}"))
