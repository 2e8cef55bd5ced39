"""Documents for an authority: generated from the live system, approved by named people, stale."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pyotp
import pypdf
import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.portal.passwords import Passwords
from audit.staff import Staff, StaffRole
from consent.document_pages import body_of
from consent.documents import DOCUMENTS, Name
from consent.risks import RISKS, parse_risks
from consent.settings import Declared
from policies.canonical import digest
from policies.errors import PolicyInvalid
from policies.vocabulary import Purpose
from tests.consent.conftest import START, World

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent import options_cli
    from consent.cli import app as command_line

DIGEST = "ab" * 32
CENTRE = "centre"
PARTY = {
    "name": "Acme <b>Ltd</b>",
    "address": "1 Main Street",
    "contact": "privacy@acme.example",
    "authority": "Data Protection Commission",
}
DECLARED = dict.fromkeys(Declared().words(), "As it is in this test.") | {
    "purposes": ["service", "training"],
    "people_consulted": "<b>Asked</b> at two branches.",
}
CARD: dict[str, Any] = {
    "data": "Redacted turns of consenting customers.",
    "unit": "a person at a node",
    "epsilon": 2.0,
    "delta": 1e-6,
    "plan_digest": DIGEST,
    "rounds": 20,
    "intended_use": "Hints and routing.",
    "limits": ["It reads expressed cues."],
    "metrics": [
        {"name": "gap in error by sex", "value": 0.09, "measured_by": "the maker"},
        {"name": "macro-F1", "value": 0.7, "measured_by": "the maker"},
    ],
    "epsilon_at_nodes": [[2, 2.7]],
}


def desk(world: World, name: str = "dora", *roles: StaffRole) -> TestClient:
    """Return the application as one member of staff sees it.

    It is one for all who call: whoever comes by the world's own address is known by what they send.
    """
    app, staff = world.app, Staff(name=name, roles=frozenset(roles or {StaffRole.DPO}))
    known = app.state.admit
    app.state.admit = lambda request: (
        staff if request.url.hostname == "testserver" else known(request)
    )
    return TestClient(app)


def appoint(world: World, *purposes: str, until: float = START + 1e6) -> None:
    """Appoint an operator to oversee these purposes."""
    world.hire("olga", StaffRole.OPERATOR)
    for purpose in purposes:
        said = {"person": "olga", "purpose": purpose, "since": START, "until": until}
        answer = desk(world).post("/v1/desk/oversight", json=said | {"competence": DIGEST})
        assert answer.status_code == 201, answer.text


@pytest.fixture
def make_governed(make_world: Callable[..., World]) -> Callable[..., World]:
    """Return a maker of services about which everything is declared, with two branches."""

    def make(**changes: Any) -> World:
        settings = {"parties": {"acme": PARTY}, "declared": DECLARED, "coordinator": CENTRE}
        world = make_world(**(settings | changes))
        assert world.publish().status_code == 201
        for node in ("north", "south"):
            assert world.enrol(node, "acme").status_code == 201
        assert world.enrol(CENTRE, "the-centre").status_code == 201
        return world

    return make


@pytest.fixture
def governed(make_governed: Callable[..., World]) -> World:
    """Return such a service, overseen."""
    world = make_governed()
    appoint(world, "service", "training")
    return world


@pytest.fixture
def centre(governed: World, tmp_path: Path) -> Iterator[EvidenceLog]:
    """Return the coordinator's own log."""
    key = governed.keys[CENTRE]
    path = tmp_path / "centre.db"
    with closing(EvidenceLog(path, key, origin=key.name, clock=governed.clock)) as log:
        yield log


def published(log: EvidenceLog, card: dict[str, Any], name: str = "release-1") -> dict[str, Any]:
    """Log a release at the coordinator; return what it tells the trust service."""
    fields = {
        "release": name,
        "digest": DIGEST,
        "run": "run-1",
        "approved_by": "ada",
        "card_digest": digest(card),
    }
    index = log.append(Event(kind=EventKind.RELEASE_PUBLISHED, at=START, fields=fields))
    leaf = base64.b64encode(log.entry(index).leaf).decode()
    return {"card": card, "leaf": leaf, "receipt": log.receipt(index)}


def tell(world: World, said: dict[str, Any], node: str = CENTRE) -> Any:
    """Bring a card."""
    return world.as_node(node, "POST", "/v1/release-cards", said)


def read(world: World, name: str) -> dict[str, Any]:
    """Return a document."""
    answer = desk(world).get(f"/v1/desk/documents/{name}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def approve(world: World, name: str, who: str, *roles: StaffRole, shown: str = "") -> Any:
    """Approve a document as it is now, or as it was shown."""
    said = {"digest": shown or read(world, name)["digest"]}
    return desk(world, who, *roles).post(f"/v1/desk/documents/{name}/approval", json=said)


def approve_by_two(world: World, name: str = "dpia") -> None:
    """Have an officer and a DPO approve a document."""
    assert approve(world, name, "ada", StaffRole.OFFICER).status_code == 201
    last = approve(world, name, "dora", StaffRole.DPO)
    assert last.json()["approved"], last.text


# --- what they say, and what they lack -----------------------------------------------------


def test_documents_are_what_the_live_system_is(governed: World, centre: EvidenceLog) -> None:
    """Branches, rules, releases, figures, retention and overseers are those of the service."""
    assert tell(governed, published(centre, CARD)).status_code == 201
    ropa, technical = read(governed, "ropa")["document"], read(governed, "technical")["document"]
    assert [row["node"] for row in ropa["recipients"]] == ["north", "south"]
    assert ropa["controllers"][0]["contact"] == PARTY["contact"]
    general = technical["general_description"]
    assert [r["card_digest"] for r in general["releases"]] == [digest(CARD)]
    assert technical["monitoring_and_control"]["accuracy_for_groups"] == CARD["metrics"][:1]
    assert technical["monitoring_and_control"]["logs"]["days_at_least"] == 184
    assert technical["changes"]["rules"]["policy_digest"] == governed.service.engine.policy_digest
    instructions = read(governed, "instructions")["document"]
    assert instructions["accuracy"]["limits"] == CARD["limits"]
    assert [row["person"] for row in instructions["human_oversight"]] == ["olga", "olga"]
    assert len(instructions["foreseeable_misuse"]) > 20
    model = read(governed, "dpia")["document"]["model"]
    assert (model["release"], model["epsilon"]) == ("release-1", 2.0)
    assert read(governed, "fria")["document"]["when_it_happens"]["complaints"][0]["authority"]


@pytest.mark.parametrize("name", Name)
def test_a_document_that_lacks_something_is_not_approved(empty: World, name: Name) -> None:
    """Where nothing is declared, appointed or published each says what it lacks, and is refused."""
    assert empty.enrol("north", "acme").status_code == 201
    assert read(empty, name)["missing"]
    refused = approve(empty, name, "dora", StaffRole.DPO)
    assert refused.status_code == 409
    assert "cannot be approved" in refused.json()["detail"]
    assert not read(empty, name)["approval"]["approvals"]


@pytest.mark.parametrize("name", Name)
def test_a_whole_document_is_approved_by_as_many_as_it_needs(
    governed: World, centre: EvidenceLog, name: Name
) -> None:
    """With everything there nothing is missing, and each seat filled makes it approved."""
    tell(governed, published(centre, CARD))
    assert read(governed, name)["missing"] == []
    first = approve(governed, name, "ada", StaffRole.OFFICER).json()
    assert first["approved"] == (len(DOCUMENTS[name].seats) == 1)
    if not first["approved"]:
        assert first["waits_for"] == ["dpo"]
        assert approve(governed, name, "dora").json()["approved"]
    step = governed.service.log.find(EventKind.REGISTER_STEP)[0].event.fields
    assert (step["register"], step["entry"], step["step"]) == ("document", name, "approved")


# --- approvals -----------------------------------------------------------------------------


def test_one_person_does_not_approve_an_assessment_twice(governed: World) -> None:
    """Neither with both roles nor under another spelling; a second person is needed."""
    both = (StaffRole.OFFICER, StaffRole.DPO)
    assert approve(governed, "dpia", "ada", *both).status_code == 201
    for name in ("ada", "Ada"):
        again = approve(governed, "dpia", name, *both)
        assert again.status_code == 409
        assert "ask another" in again.json()["detail"]
    other_officer = approve(governed, "dpia", "ben", StaffRole.OFFICER)
    assert "waits for dpo" in other_officer.json()["detail"]
    assert not read(governed, "dpia")["approval"]["approved"]
    assert approve(governed, "dpia", "dora").json()["approved"]


def test_an_approval_goes_stale_and_says_where(governed: World) -> None:
    """A new branch, a lapsed overseer: no longer approved, the sections named, old digest dead."""
    approve_by_two(governed)
    seen = read(governed, "dpia")
    assert seen["approval"]["changed"] == []
    assert governed.enrol("west", "acme").status_code == 201
    stale = read(governed, "dpia")["approval"]
    assert not stale["approved"]
    assert stale["changed"] == ["processing", "risks", "rules"]
    assert stale["waits_for"] == ["officer", "dpo"]
    (due,) = desk(governed).get("/v1/desk/reminders").json()
    assert (due["what"], due["entry"]) == ("document", "dpia")
    assert "changed in processing" in due["why"]
    late = approve(governed, "dpia", "eve", StaffRole.DPO, shown=seen["digest"])
    assert late.status_code == 409
    assert "read it again" in late.json()["detail"]
    approve_by_two(governed)
    governed.clock.now += 2e6
    lapsed = read(governed, "dpia")
    assert not lapsed["approval"]["approved"]
    assert any("oversight does not hold" in why for why in lapsed["missing"])


def test_an_assessment_does_not_rest_on_an_overseer_who_cannot_act(governed: World) -> None:
    """Once the overseer's account is closed, documents say who cannot act and why; all go stale."""
    approve_by_two(governed)
    governed.service.access.accounts.disable("olga", by="otto")
    seen = read(governed, "dpia")
    assert not seen["approval"]["approved"]
    said = "oversight does not hold: nobody who can act is appointed for: service, training"
    assert any(said in why for why in seen["missing"])
    assert any("olga has an account that is closed" in why for why in seen["missing"])
    page = desk(governed).get("/v1/desk/documents/dpia?format=markdown").text
    assert "olga has an account that is closed" in page
    assert read(governed, "instructions")["document"]["human_oversight"] == []
    page = desk(governed).get("/v1/desk/documents/instructions?format=markdown").text
    assert "## Human oversight (3)(d)\n\nnone\n" in page, "an empty section says so"


def test_an_approval_of_what_the_system_is_again_holds(governed: World) -> None:
    """What was approved word for word is approved, also after it was something else meanwhile."""
    approve_by_two(governed)
    assert governed.decree("stop", stopped=True, by="officer").status_code == 201
    assert read(governed, "dpia")["approval"]["approved"], "a stop changes no processing"


def test_outsiders_neither_read_nor_approve(governed: World) -> None:
    """An auditor reads and approves nothing; an operator does neither; nobody hears nothing."""
    auditor = desk(governed, "aud", StaffRole.AUDITOR)
    assert auditor.get("/v1/desk/documents").status_code == 200
    assert approve(governed, "ropa", "aud", StaffRole.AUDITOR).status_code == 403
    assert desk(governed, "op", StaffRole.OPERATOR).get("/v1/desk/documents").status_code == 403
    assert governed.send("GET", "/v1/desk/documents").status_code == 401
    assert desk(governed).get("/v1/desk/documents/nothing").status_code == 404


# --- mitigations and their controls --------------------------------------------------------


def test_every_risk_is_high_without_and_lower_with_its_controls(governed: World) -> None:
    """What is left is computed: never high while all controls hold, never lower than before."""
    for row in read(governed, "dpia")["document"]["risks"]:
        assert row["left"] != "high"
        assert all(m["holds"] and m["now"] for m in row["mitigations"])
    assert {row["before"] for row in read(governed, "dpia")["document"]["risks"]} >= {"high"}
    assert len(RISKS) >= 10


@pytest.mark.parametrize(
    ("changes", "control"),
    [
        ({"standing_max_age_s": 7200}, "fresh-standing"),
        ({"parties": {}}, "contact"),
        ({"coordinator": None}, "fairness"),
        ({"coordinator": None}, "privacy"),
        ({}, "oversight"),
    ],
)
def test_a_control_that_does_not_hold_leaves_its_risk_and_stops_approval(
    make_governed: Callable[..., World], changes: dict[str, Any], control: str
) -> None:
    """Each is taken away in turn: its mitigation says why, its risk stays as it was before."""
    world = make_governed(**changes)
    found = read(world, "dpia")
    assert any(f"control {control} does not hold" in why for why in found["missing"])
    for row in found["document"]["risks"]:
        if any(m["control"] == control for m in row["mitigations"]):
            assert row["left"] == row["before"]
    assert approve(world, "dpia", "ada", StaffRole.OFFICER).status_code == 409


@pytest.mark.parametrize(
    ("change", "control"), [({"metrics": []}, "fairness"), ({"epsilon": None}, "privacy")]
)
def test_a_card_that_states_too_little_stops_approval(
    governed: World, centre: EvidenceLog, change: dict[str, Any], control: str
) -> None:
    """A release without gaps between groups, or trained without a bound, breaks its control."""
    tell(governed, published(centre, CARD | change))
    assert any(f"control {control}" in why for why in read(governed, "dpia")["missing"])


def test_without_notice_or_witness_those_controls_break(make_world: Callable[..., World]) -> None:
    """No notice, and nobody who witnesses the log: both are named."""
    missing = " ".join(read(make_world(), "dpia")["missing"])
    assert "control notice does not hold" in missing
    assert "control witnesses does not hold" in missing


@pytest.mark.parametrize(
    "wrong",
    [
        ("after = 1", "after = 3\nseverity = 9"),
        ('control = "notice"', 'control = "good-will"'),
        ("before = 3\nafter = 1", "before = 1\nafter = 2"),
        ('words = "', 'wrods = "'),
    ],
)
def test_a_mitigation_without_a_control_is_refused_at_load(wrong: tuple[str, str]) -> None:
    """An unknown control, a wrong number or a field that is none: no such list of risks."""
    text = (Path("consent") / "risks.toml").read_text("utf-8")
    with pytest.raises(PolicyInvalid):
        parse_risks(text.replace(*wrong, 1))


# --- rule 27 -------------------------------------------------------------------------------


def staffed(world: World) -> None:
    """Make an active officer's account, so that the sealing key alone is no longer enough."""
    access = world.service.access
    access._passwords = access.accounts._passwords = Passwords(
        PasswordHasher(time_cost=1, memory_cost=64)
    )
    token = access.accounts.add("ada", [StaffRole.OFFICER], by="bootstrap")
    secret = access.accounts.choose_password("ada", token, "nine calm herons wade").secret
    access.accounts.activate("ada", token, pyotp.TOTP(secret).at(int(world.clock.now)))


def sealed(world: World, by: str = "ada", *purposes: str) -> Any:
    """Seal a DPIA for purposes with the officer's key."""
    world.clock.now += 1
    return world.decree(
        "dpia", dpia="d1", purposes=purposes or ("service",), mitigations=["m"], approved_by=by
    )


def test_a_use_is_blocked_until_named_people_approved_its_assessment(governed: World) -> None:
    """The officer's key alone opens nothing once there is an officer (rule 27)."""
    staffed(governed)
    early = sealed(governed)
    assert early.status_code == 409
    assert "no impact assessment is approved" in early.json()["detail"]
    assert approve(governed, "dpia", "ada", StaffRole.OFFICER).status_code == 201
    assert sealed(governed).status_code == 409, "one of two is not enough"
    assert governed.service.officer.governance().dpia_purposes == frozenset()
    assert approve(governed, "dpia", "dora").status_code == 201
    assert "names nobody" in sealed(governed, "somebody else").json()["detail"]
    assert "does not cover offers" in sealed(governed, "ada", "offers").json()["detail"]
    assert sealed(governed, "ada").status_code == 201
    assert governed.service.officer.governance().dpia_purposes == {Purpose.SERVICE}
    assert governed.enrol("west", "acme").status_code == 201
    assert sealed(governed, "ada", "service", "training").status_code == 409, "stale"
    taken_back = governed.decree(
        "dpia",
        dpia="d1",
        purposes=[],
        mitigations=[],
        approved_by="ada",
        issued_at=governed.clock.now + 1,
    )
    assert taken_back.status_code == 201, "a purpose is taken back at any time"


def test_a_stale_approval_counts_for_nothing(governed: World) -> None:
    """An assessment approved before the system changed opens no purpose afterwards."""
    staffed(governed)
    approve_by_two(governed)
    assert governed.enrol("west", "acme").status_code == 201
    assert sealed(governed).status_code == 409
    approve_by_two(governed)
    assert sealed(governed).status_code == 201


# --- cards ---------------------------------------------------------------------------------


def test_a_card_is_taken_from_the_coordinators_log_alone(
    governed: World, centre: EvidenceLog
) -> None:
    """Not from a branch, not another card than the logged one, not an entry of another log."""
    said = published(centre, CARD)
    assert tell(governed, said, "north").status_code == 401
    forged = said | {"card": CARD | {"epsilon": 0.1}}
    assert tell(governed, forged).status_code == 422
    other = governed.service.log
    leaf = base64.b64encode(other.entry(0).leaf).decode()
    elsewhere = said | {"leaf": leaf, "receipt": other.receipt(0)}
    assert "no entry of its log" in tell(governed, elsewhere).json()["detail"]
    started = centre.append(
        Event(kind=EventKind.WITNESSED, at=START, fields={"origin": "x", "size": 1, "root": DIGEST})
    )
    leaf = base64.b64encode(centre.entry(started).leaf).decode()
    another = said | {"leaf": leaf, "receipt": centre.receipt(started)}
    assert "another kind" in tell(governed, another).json()["detail"]
    assert governed.service.cards.every() == []
    assert tell(governed, said).status_code == 201


def test_a_card_is_told_once_and_makes_approvals_stale(
    governed: World, centre: EvidenceLog
) -> None:
    """The same again adds nothing; another card of that name is refused; a new release is news."""
    approve_by_two(governed)
    said = published(centre, CARD)
    assert tell(governed, said).status_code == 201
    size = governed.service.log.size
    assert tell(governed, said).status_code == 201
    assert governed.service.log.size == size
    assert tell(governed, published(centre, CARD | {"rounds": 9})).status_code == 409
    assert "model" in read(governed, "dpia")["approval"]["changed"]


# --- how they are written ------------------------------------------------------------------


@pytest.mark.parametrize("name", Name)
def test_every_document_is_an_accessible_pdf(governed: World, name: Name) -> None:
    """PDF/UA-1 with its title and every heading, named by the digest it has."""
    digest_, client = read(governed, name)["digest"], desk(governed)
    answer = client.get(f"/v1/desk/documents/{name}?format=pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert f'"{name}-{digest_[:12]}.pdf"' in answer.headers["content-disposition"]
    assert b"<pdfuaid:part>1</pdfuaid:part>" in answer.content
    opened = pypdf.PdfReader(io.BytesIO(answer.content))
    text = "".join(normalize("NFKC", sheet.extract_text()) for sheet in opened.pages)
    words = "".join(text.split())
    assert opened.metadata is not None
    assert opened.metadata.title == DOCUMENTS[name].title
    assert digest_ in words
    for heading in DOCUMENTS[name].headings.values():
        assert "".join(heading.split()) in words


def test_a_letter_that_no_font_has_loses_no_document(
    governed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be set is; only what is not readable aloud whole does not say that it is."""
    stamp = governed.service.documents.read("ropa") | {"missing": ["\U0010fffd and the rest"]}
    monkeypatch.setattr(governed.service.documents, "read", lambda _: stamp)
    answer = desk(governed).get("/v1/desk/documents/ropa?format=pdf")
    assert answer.status_code == 200
    assert b"pdfuaid" not in answer.content
    sheets = pypdf.PdfReader(io.BytesIO(answer.content)).pages
    assert "and the rest" in sheets[-1].extract_text() + sheets[-2].extract_text()


@pytest.mark.parametrize("name", Name)
def test_every_form_says_every_section(governed: World, name: Name) -> None:
    """Page, Markdown and JSON-LD carry each heading and the digest; the page runs no script."""
    route = f"/v1/desk/documents/{name}"
    digest_, client = read(governed, name)["digest"], desk(governed)
    page = client.get(f"{route}?format=html")
    markdown = client.get(f"{route}?format=markdown").text
    assert "<script" not in page.text
    assert "<b>" not in page.text, "what was declared is text, not markup"
    for heading in DOCUMENTS[name].headings.values():
        assert f"## {heading}" in markdown
    assert page.text.count("<section>") == markdown.count("\n## ")
    assert digest_ in markdown
    assert digest_ in page.text
    linked = client.get(f"{route}?format=json-ld").json()
    assert linked["@id"] == f"urn:sha256:{digest_}"
    assert linked["dct:hasPart"] == read(governed, name)["document"]


def test_a_document_on_paper_is_made_to_be_read() -> None:
    """Rows that say the same are one table, seconds are dates, digests break, figures are short."""
    rows = [{"release": f"r{n}", "published_at": 1.8e9 + n} for n in range(2)]
    document = {"releases": rows, "mixed": [{"a": 1}, {"b": 2.123456}], "digest": DIGEST}
    page = body_of(DOCUMENTS[Name.ROPA], {"document": document})
    assert '<th scope="col">release</th><th scope="col">published at</th>' in page
    assert '<td data-name="published at">2027-01-15 08:00 UTC</td>' in page
    assert page.count("<thead>") == 1
    assert "<td>2.123</td>" in page
    assert "<wbr>".join([DIGEST[:16]] * 4) in page


@pytest.mark.parametrize("name", Name)
def test_headings_and_sections_are_the_same(governed: World, name: Name) -> None:
    """No heading without a section; a section without a heading is one of the record's own."""
    sections = set(read(governed, name)["document"])
    assert set(DOCUMENTS[name].headings) <= sections
    assert sections - set(DOCUMENTS[name].headings) <= {"notices", "assessments", "oversight"}


def test_the_command_line_lists_shows_approves_and_exports(
    governed: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 1 while a document is not approved; a file is never overwritten; bad input one line."""
    client = desk(governed, "ada", StaffRole.OFFICER)

    def carried(path: str, *, said: Any = None, **_: Any) -> Any:
        answer = client.get(path) if said is None else client.post(path, json=said)
        assert answer.status_code < 400, answer.text
        is_json = "json" in answer.headers["content-type"]
        return answer.json() if is_json else answer.text

    monkeypatch.setattr(options_cli, "staff_call", carried)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            command_line(["documents", *map(str, words), "--token-file", str(tmp_path / "t")])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    code, out, _ = run("list", "--json")
    assert (code, [row["name"] for row in json.loads(out)]) == (1, [str(name) for name in Name])
    assert "## Controllers" in run("show", "ropa")[1]
    shown = json.loads(run("show", "ropa", "--json")[1])
    code, out, _ = run("approve", "ropa", "--digest", shown["digest"], "--json")
    assert (code, json.loads(out)["approvals"][0]["by"]) == (0, "ada")
    for suffix in ("pdf", "html", "md", "json", "jsonld"):
        assert run("export", "ropa", tmp_path / f"ropa.{suffix}")[0] == 0
    assert (tmp_path / "ropa.pdf").read_bytes().startswith(b"%PDF-")
    assert json.loads((tmp_path / "ropa.jsonld").read_text())["@type"].startswith("dpv:")
    for name in ("ropa.html", "ropa.docx"):
        code, _, err = run("export", "ropa", tmp_path / name)
        assert (code, err.count("\n")) == (2, 1)
