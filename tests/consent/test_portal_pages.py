"""The trust service's pages: what they show, whom they name, and what they do not give away."""

from __future__ import annotations

import csv
import html
import io
import re
from typing import Any

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from audit.events import EventKind
from audit.portal.access import SESSION_COOKIE
from audit.portal.decision_index import Search
from audit.portal.frame import csrf_of
from audit.portal.passwords import Passwords
from audit.portal.tables import AccountRow
from audit.staff import StaffRole
from consent.api import create_app
from consent.pages.lacking import lacking
from consent.pages.rulebook import question_words
from consent.rights import EvidenceKind, Identity, Right
from deploy.portal_history import one_time_code
from policies.steps import WORDS
from policies.vocabulary import RuleId, SubjectId
from policies.words import Language, Reader, say
from tests.consent.conftest import World

PASSWORD = "nine calm herons wade"  # noqa: S105 (of tests)
PERSON = "4f" * 16


class Portal:
    """A browser in which somebody is signed in at a world's service."""

    def __init__(self, world: World, name: str = "olga", *roles: StaffRole) -> None:
        self.world, access = world, world.service.access
        access._passwords = access.accounts._passwords = Passwords(
            PasswordHasher(time_cost=1, memory_cost=64)
        )
        token = access.accounts.add(name, roles or [StaffRole.OFFICER], by="bootstrap")
        secret = access.accounts.choose_password(name, token, PASSWORD).secret
        access.accounts.activate(name, token, one_time_code(secret, world.clock.now))
        session = access.sessions.open(access.accounts.known(name), method="test")
        self.http = TestClient(create_app(world.service), base_url="https://trust.example")
        self.http.cookies.set(SESSION_COOKIE, session, domain="trust.example")
        self.csrf = csrf_of({SESSION_COOKIE: session})

    def get(self, path: str) -> str:
        """Open a page."""
        answer = self.http.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, **fields: str) -> Any:
        """Send a form."""
        return self.http.post(
            path, data=fields | {"csrf": self.csrf}, headers={"accept": "text/html"}
        )


@pytest.fixture
def portal(world: World) -> Portal:
    """Return an officer's browser at a service with one person and some decisions."""
    made = Portal(world)
    assert world.grant(PERSON).status_code == 201
    for purpose in ("service", "offers", "service"):
        request = {"node": "north", "action": "infer", "purpose": purpose, "subject": PERSON}
        world.as_node("north", "POST", "/v1/decisions", {"request": request})
    return made


def test_decision_opens_to_rule_statute_and_proof(portal: Portal) -> None:
    """From the list to the refused one: its rule in words, the law, and a proof of its entry."""
    page = portal.get("/decisions?outcome=refused")
    (decision,) = set(re.findall(r'href="/decisions/([0-9a-f]+)"', page))
    shown = portal.get(f"/decisions/{decision}")
    assert "GDPR" in shown
    assert "lie sealed with the person" in shown
    assert PERSON not in shown
    proof = portal.http.get(f"/decisions/{decision}/proof")
    found = portal.world.service.evidence.index.one(decision)
    assert found is not None
    assert proof.text == portal.world.service.witnessing.receipt(found.idx)
    assert "attachment" in proof.headers["content-disposition"]


def test_filters_are_in_the_address_and_pages_go_on_by_key(portal: Portal) -> None:
    """A filter narrows; a broken key or day is as if it were not there."""

    def rows(query: str) -> int:
        decisions, _, branches = portal.get(f"/decisions?{query}").partition('id="branches"')
        assert branches
        return decisions.count('<th scope="row">')

    assert rows("purpose=offers") == 1
    assert rows("purpose=service") == 2
    assert rows("after=x&since=yesterday") == 3


def test_csv_is_what_the_page_shows(portal: Portal) -> None:
    """The export has the page's rows, whole ids, and times in UTC."""
    answer = portal.http.get("/decisions?format=csv&purpose=service")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert len(lines) == 3
    assert re.search(r"^2027-01-15T\d\d:\d\d:\d\dZ,allowed,infer,service,north,", lines[1])


def test_who_works_here_is_saved_as_csv(portal: Portal) -> None:
    """The page leads to the file, which has each account with its roles and state."""
    assert 'href="?format=csv&amp;table=people"' in portal.get("/settings")
    saved = portal.http.get("/settings?format=csv&table=people")
    assert saved.headers["content-type"].startswith("text/csv")
    head, *rows = saved.text.splitlines()
    assert head == "Name,Roles,Waiting for a second yes,State,Signs in"
    assert [row.split(",")[:2] for row in rows] == [["olga", "officer"]]


def test_a_person_is_found_by_their_whole_pseudonym_alone(portal: Portal) -> None:
    """The whole finds; a part, another's, and somebody erased get one and the same answer."""
    found = portal.post("/people", subject=PERSON)
    assert found.status_code == 200
    assert "service" in found.text
    part = portal.post("/people", subject=PERSON[:-1])
    other = portal.post("/people", subject="9" * 32)
    person = portal.world.service.acts.anybody(SubjectId(PERSON))
    portal.world.service.acts.withdraw(person, None)
    erased = portal.post("/people", subject=PERSON)
    assert {one.status_code for one in (part, other, erased)} == {404}
    assert part.text == other.text == erased.text


def test_no_pseudonym_is_in_an_address_or_in_the_log(portal: Portal) -> None:
    """Looking somebody up is logged as an act, without whom; the pages' addresses name nobody."""
    before = portal.world.service.log.size
    answers = [
        portal.post("/people", subject=PERSON),
        portal.post("/decisions", subject=PERSON),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].text.count('<th scope="row">') == 3
    assert "Ask the branches" in answers[1].text
    entries = portal.world.service.log.entries(before, portal.world.service.log.size)
    assert {e.event.kind for e in entries} == {EventKind.STAFF_ACTED}
    assert all(PERSON.encode() not in entry.leaf for entry in entries)
    for answer in answers:
        assert PERSON not in str(answer.url)
        assert not re.search(rf'href="[^"]*{PERSON}', answer.text)
    for path in ("/people", "/decisions"):
        forms = [form for form in portal.get(path).split("<form")[1:] if 'name="subject"' in form]
        assert forms, path
        assert all('method="post"' in form.partition(">")[0] for form in forms), path


def test_tables_about_one_person_are_saved_by_a_form(portal: Portal) -> None:
    """The file has the page's rows; the address by which it came names nobody."""
    page = portal.post("/people", subject=PERSON).text
    assert 'action="/people?format=csv&amp;table=acts" class="under"' in page
    for path in ("/people?format=csv&table=acts", "/decisions?format=csv"):
        saved = portal.post(path, subject=PERSON)
        assert saved.headers["content-type"].startswith("text/csv")
        assert len(saved.text.splitlines()) > 1
        assert PERSON not in str(saved.url)


def test_who_guesses_at_pseudonyms_must_wait(portal: Portal) -> None:
    """After twenty people who are not there even the right one is not told; a hit costs nothing."""
    for _ in range(25):
        assert portal.post("/people", subject=PERSON).status_code == 200
    tries = [portal.post("/people", subject=f"{n:032d}").status_code for n in range(25)]
    assert tries[:20] == [404] * 20
    assert tries[-1] == 429
    assert portal.post("/people", subject=PERSON).status_code == 429
    assert portal.post("/decisions", subject=PERSON).status_code == 429
    portal.world.clock.now += 1000
    assert portal.post("/people", subject=PERSON).status_code == 200


def test_a_request_goes_from_page_to_page_to_its_end(portal: Portal) -> None:
    """Opened for a person, identity confirmed, refused with a reason: each step at its desk."""
    opened = portal.post(
        "/people/requests", company="acme", subject=PERSON, right="access", jurisdiction="EU"
    )
    path = opened.url.path
    assert "the identity is not confirmed" in opened.text
    assert portal.post(f"{path}/identity", method="call-back").status_code == 200
    wrong = portal.post(f"{path}/closing", outcome="refused")
    assert wrong.status_code == 422
    assert "names its reason" in wrong.text
    assert portal.post(f"{path}/closing", outcome="done").status_code == 409
    assert portal.post(f"{path}/delivery", way="letter").status_code == 200
    closed = portal.post(f"{path}/closing", outcome="refused", reason="nothing-held")
    assert "Closed: refused" in closed.text
    assert portal.get("/people").count("/people/requests/") == 1  # among the closed
    saved = portal.http.get("/people?format=csv&table=closed").text.splitlines()
    assert saved[1].split(",")[3:] == ["refused", "nothing-held"]


def test_facts_are_on_the_page_of_an_open_review_alone(portal: Portal) -> None:
    """A decision leads to the review that names it; the auditor sees the review, not the facts."""
    found = portal.world.service.evidence.index.find(Search(), limit=1)[0]
    person = portal.world.service.acts.anybody(SubjectId(PERSON))
    opened = portal.world.service.rights.open(
        Right.REVIEW,
        person,
        by="north",
        about={"decision": found.decision_id},
        jurisdiction="EU",
        method=Identity.BRANCH,
        statement="I was calm",
    )
    request = f"/people/requests/{opened['request']}"
    assert request in portal.get(f"/decisions/{found.decision_id}")
    assert "I was calm" in portal.get(request)
    auditor = Portal(portal.world, "aiko", StaffRole.AUDITOR)
    assert "I was calm" not in auditor.get(request)


def test_today_names_what_is_due_and_the_stop_needs_two(portal: Portal) -> None:
    """A breach's clock is on the page; one proposes to lift the stop, only another confirms."""
    known = portal.post(
        "/incidents", known_at="2027-01-14T08:00", part="controller", risk="high", digest="d" * 64
    )
    assert known.status_code == 200, known.text
    assert "of the 72 hours" in portal.get("/today")
    portal.world.decree("stop", stopped=True, by="O. Officer")
    assert "Everything is stopped" in portal.get("/today")
    assert portal.post("/today/stop/proposal").status_code == 200
    assert portal.post("/today/stop/confirmation").status_code == 409
    second = Portal(portal.world, "otto", StaffRole.OPERATOR)
    agreed = second.post("/today/stop/confirmation")
    assert "Agreed by two" in agreed.text


def test_the_log_is_verified_from_the_page_and_a_forged_one_is_told(portal: Portal) -> None:
    """Verify now says that it holds; after an entry was changed in the file it says what not."""
    service = portal.world.service
    portal.post("/evidence/verification")
    service.evidence.verifier.close()
    assert "It holds" in portal.get("/evidence")
    database = service.log.store._writer  # type: ignore[attr-defined]
    database.execute("DROP TRIGGER entry_UPDATE")
    forged = """UPDATE entry SET leaf = replace(leaf, '"at":18', '"at":17') WHERE idx = 5"""
    database.execute(forged)
    database.execute("UPDATE entry SET leaf = CAST(leaf AS BLOB) WHERE idx = 5")
    portal.post("/evidence/verification")
    service.evidence.verifier.close()
    assert "It does not hold" in portal.get("/evidence")


def test_what_staff_type_is_text(portal: Portal) -> None:
    """A name with markup, in a filter or an account, is shown and not run."""
    wicked = "<script>alert(1)</script>"
    for path in (f"/decisions?decision={wicked}", f"/decisions?node={wicked}"):
        assert wicked not in portal.get(path)
    answer = portal.post("/people", subject=wicked)
    assert wicked not in answer.text


def test_a_refusal_is_a_page_for_people_and_a_problem_for_programs(portal: Portal) -> None:
    """A browser gets the reason in the frame; a program the same as problem+json."""
    shown = portal.http.get("/people/requests/none", headers={"accept": "text/html"})
    assert (shown.status_code, "no request none" in shown.text) == (404, True)
    assert "<nav" in shown.text
    told = portal.http.get("/people/requests/none", headers={"accept": "application/json"})
    assert told.headers["content-type"] == "application/problem+json"


def test_times_are_in_the_zone_that_the_browser_chose(portal: Portal) -> None:
    """The same entry an hour later in Lagos, UTC behind it; an unknown zone becomes UTC."""
    assert "2027-01-15 08:00:00" in portal.get("/evidence")
    portal.post("/account/zone", zone="Africa/Lagos")
    shown = portal.get("/evidence")
    assert "2027-01-15 09:00:00" in shown
    assert 'datetime="2027-01-15T08:00:00Z"' in shown
    portal.post("/account/zone", zone="Moon/Crater")
    assert "2027-01-15 08:00:00" in portal.get("/evidence")


@pytest.mark.parametrize("language", Language)
def test_a_question_to_the_rules_is_answered_in_the_chosen_language(
    portal: Portal, language: Language
) -> None:
    """Every word of the page is there in three languages; ways and rules are in the chosen one."""
    words = question_words()
    assert {frozenset(said) for said in words.values()} == {frozenset(words[language])}
    assert all(map(str.strip, words[language].values()))
    asked = f"/rulebook/question?language={language.value}&node=north&action=infer&purpose=service"
    page = html.unescape(portal.get(asked))
    assert f'<html lang="{language.value}"' in page
    assert WORDS[language]["consent"] in page
    assert say(RuleId("r04-no-consent"), Reader.OFFICER, language) in page
    for name in ("title", "lead", "node", "restricted", "ask", "refused", "ways"):
        assert words[language][name] in page, name
    assert "node=north" in re.search(r'href="(\?[^"]*language=fr[^"]*)"', page).group(1)  # type: ignore[union-attr]
    refused = html.unescape(portal.get(f"{asked}&consent=yes&age=minor"))
    assert words[language]["no_way"] in refused


def test_a_question_to_the_rules_is_recorded_nowhere(portal: Portal) -> None:
    """Would this be allowed: the answer and what would help, and no entry in the log."""
    before = portal.world.service.log.size
    asked = "/rulebook/question?node=north&action=infer&purpose=service"
    assert "the person agrees" in portal.get(asked)
    assert ">Allowed<" in portal.get(f"{asked}&consent=yes")
    assert portal.world.service.log.size == before


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "=cmd|'/c calc'!A0",
        "+1+1",
        "@SUM(1)",
        "\t=1",
        "x\r\nset-cookie: a=1",
        '"; rm',
        "\u202egnp.exe",
    ],
)
def test_a_wicked_name_is_text_wherever_it_is_written(portal: Portal, name: str) -> None:
    """Even one that came past every check, as by a damaged store: page, CSV, headers, link."""
    row = AccountRow(name=name, roles="auditor", active=True, made_at=1.0)
    portal.world.service.access.ledger.put(row)
    page = portal.http.get("/settings")
    assert page.status_code == 200
    assert name not in page.text or not {"<", '"', "'"} & set(name)
    saved = portal.http.get("/settings?format=csv&table=people")
    cells = [cell for line in csv.reader(io.StringIO(saved.text, newline="")) for cell in line]
    found = [cell for cell in cells if cell.removeprefix("'") == name]
    assert len(found) == 1
    assert not found[0].startswith(("=", "+", "@", "\t", "\r"))
    for answer in (page, saved):
        assert name not in str(answer.headers)
        assert "set-cookie" not in answer.headers


def test_entries_of_a_kind_go_on_as_far_as_there_are_some(portal: Portal) -> None:
    """What does not fit on a page has a way to the rest, and each is there once."""
    for _ in range(60):
        portal.post("/people", subject=PERSON)
    seen, path = list[str](), "/evidence?kind=staff-acted"
    while path:
        page = portal.get(path)
        seen += re.findall(r'href="/evidence/entries/(\d+)"', page)
        older = re.search(r'<a href="([^"]+)" rel="next">Older', page)
        path = "" if older is None else f"/evidence{html.unescape(older[1])}"
    log = portal.world.service.log
    wanted = [str(entry.index) for entry in log.find(EventKind.STAFF_ACTED, log.size)]
    assert len(wanted) > 60
    assert seen == wanted


def test_what_an_entry_says_is_for_people(portal: Portal) -> None:
    """Yes and no, lists without brackets, moments as moments; the leaf below has it to the byte."""
    page = portal.get("/evidence?kind=decision")
    assert "allowed no" in page
    assert "False" not in page
    assert not re.search(r"\[&#39;", page)


def test_pages_say_what_is_missing_in_words() -> None:
    """Each kind of evidence has a sentence; who has not answered may be the one that holds it."""
    for kind in set(EvidenceKind) - {EvidenceKind.NODE_ANSWERED, EvidenceKind.VERDICT_APPLIED}:
        assert lacking([f"no evidence: {kind}"]) != [f"no evidence: {kind}"]
    held = "no node holds what it concerns"
    assert lacking(["node a: no answer", held]) == ["node a: no answer"]
    assert lacking(["node a: nothing-here", held])[-1] == held


def test_pages_below_the_account_lead_back_to_it(portal: Portal) -> None:
    """Each stands under the account, by the same line of links as every other page below one."""
    for path in ("sessions", "tokens", "views", "password"):
        page = portal.get(f"/account/{path}")
        assert 'aria-label="Where you are"' in page, path
        assert '<a href="/account">Your account</a>' in page, path
