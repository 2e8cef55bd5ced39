"""A branch's decisions at the trust service: handed over, proven, found, and none on its word."""

from __future__ import annotations

import base64
import copy
import csv
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import httpx
import pytest

from audit.branch_leaves import HANDED, MOST_LEAVES, make_page
from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.portal.branch_index import BranchIndex
from audit.portal.decision_index import Found, Key, Search
from audit.portal.decision_sources import Sources
from audit.portal.moments import moment
from audit.receipt import open_receipt
from audit.signing import SigningKey
from client_node.service import NodeService
from consent.branches import source_of
from policies.vocabulary import SubjectId
from tests.client_node.conftest import Api
from tests.consent.conftest import World as TrustWorld
from tests.consent.test_portal_pages import Portal
from tests.promises.conftest import redactor
from tests.promises.town import Branch, Town, consents, says

__all__ = ["redactor"]

PATH = "/v1/branch-decisions"


@dataclass
class Place:
    """One town for the module, and a branch in it that a test has to itself."""

    town: Town
    branch: Branch
    node: NodeService
    api: Api

    @property
    def trust(self) -> TrustWorld:
        """The trust service and its callers."""
        return self.town.trust

    @property
    def index(self) -> BranchIndex:
        """What the trust service keeps of branches' decisions."""
        return self.trust.service.branches.index

    def meet(self) -> None:
        """Have the log cosigned, and one page handed over, as the node's own thread does."""
        self.town.pass_time(61)
        self.node.witnesses.meet_when_due()

    def cosign(self) -> None:
        """Have the log cosigned, and hand nothing over."""
        self.node.witnesses.meet()

    def page(self) -> dict[str, Any]:
        """Return the next page as the node would send it."""
        state = self.said(None).json()
        return make_page(self.node.log, state["start"], state["size"])

    def said(self, page: Any) -> httpx.Response:
        """Send a page signed by the node, or ask how far it is."""
        method = "GET" if page is None else "POST"
        return self.trust.as_node(self.branch.name, method, PATH, page)

    def found(self, **wanted: Any) -> list[Found]:
        """Return this branch's decisions as they were found."""
        search = Search(node=self.branch.name, **wanted)
        return [one for one in self.index.find(search, limit=500) if one.log == self.branch.name]

    def decided(self) -> list[Event]:
        """Return the decisions of the branch's own log, oldest first."""
        entries = self.node.log.entries(0, self.node.log.size)
        kinds = {EventKind.DECISION, EventKind.BATCH_DECISION}
        return [entry.event for entry in entries if entry.event.kind in kinds]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, redactor: Any) -> Iterator[Town]:
    """Return one town for all tests of the module."""
    made = Town(tmp_path_factory.mktemp("town"), redactor)
    yield made
    made.close()


@pytest.fixture
def place(town: Town) -> Iterator[Place]:
    """Open a branch of its own for each test, where anna consented and spoke."""
    name = f"b{len(town.branches)}"
    branch = town.branch(name)
    node = branch.open()
    api = branch.api(node)
    consents(api, "anna")
    node.keeper.poll()
    says(api, "anna")
    yield Place(town, branch, node, api)
    branch.close()


def test_a_branch_hands_its_decisions_over_with_proofs(place: Place) -> None:
    """After one meeting every decision is found; its receipt holds offline by the node's key."""
    place.meet()
    theirs = place.decided()
    assert theirs
    found = place.found()
    assert {one.decision_id for one in found} == {e.fields["decision_id"] for e in theirs}
    for one in found:
        leaf, receipt = place.index.leaf(one.log, one.idx), place.index.receipt(one.log, one.idx)
        key = place.branch.node_key.verify_key
        trust = place.trust.service.key.verify_key
        index, checkpoint = open_receipt(
            receipt, leaf, key, origin=f"undertone/{one.log}", witnesses=[trust], at_least=1
        )
        assert (index, leaf) == (one.idx, place.node.log.entry(one.idx).leaf)
        assert checkpoint.size > index


def test_nothing_of_a_person_travels(place: Place) -> None:
    """A page holds leaves of few kinds; no pseudonym, no word, no payload, nor does the file."""
    place.cosign()
    page = place.page()
    sent = [base64.b64decode(row["leaf"]) for row in page["leaves"]]
    kinds = {place.node.log.entry(row["index"]).event.kind for row in page["leaves"]}
    assert kinds <= HANDED
    assert EventKind.TURN_SEALED not in kinds
    assert EventKind.TURN_SEALED in {
        e.event.kind for e in place.node.log.entries(0, place.node.log.size)
    }
    subject = place.branch.subject("anna").encode()
    assert all(subject not in leaf and b"terrible" not in leaf for leaf in sent)
    assert place.said(page).status_code == 200
    for file in (place.town.folder / "trust").glob("branches.db*"):
        assert subject not in file.read_bytes()


def _forged(page: dict[str, Any]) -> None:
    row = next(r for r in page["leaves"] if b'"allowed":true' in base64.b64decode(r["leaf"]))
    leaf = base64.b64decode(row["leaf"]).replace(b'"allowed":true', b'"allowed":false')
    row["leaf"] = base64.b64encode(leaf).decode()


def _moved(page: dict[str, Any]) -> None:
    page["leaves"][0]["index"] += 1
    page["leaves"] = page["leaves"][:1]


def _proof_of_another(page: dict[str, Any]) -> None:
    rows = page["leaves"]
    rows[0]["proof"], rows[-1]["proof"] = rows[-1]["proof"], rows[0]["proof"]


def _out_of_order(page: dict[str, Any]) -> None:
    page["leaves"].reverse()


def _twice(page: dict[str, Any]) -> None:
    page["leaves"].append(page["leaves"][-1])


def _beyond(page: dict[str, Any]) -> None:
    page["end"] = page["leaves"][-1]["index"]


@pytest.mark.parametrize(
    "spoil", [_forged, _moved, _proof_of_another, _out_of_order, _twice, _beyond]
)
def test_a_page_that_does_not_hold_is_refused_whole(place: Place, spoil: Any) -> None:
    """One leaf that is forged, moved or unproven: 422, nothing kept, the position unchanged."""
    place.cosign()
    page = place.page()
    before = place.said(None).json()
    spoilt = copy.deepcopy(page)
    spoil(spoilt)
    answer = place.said(spoilt)
    assert answer.status_code == 422, answer.text
    assert "\n" not in answer.json()["detail"]
    assert place.said(None).json() == before
    assert place.found() == []
    assert place.said(page).status_code == 200


def test_a_leaf_of_another_kind_is_refused(place: Place) -> None:
    """What was not asked for is not taken, ever so well proven: a turn stays at its branch."""
    place.cosign()
    page = place.page()
    state = place.said(None).json()
    (turn,) = [
        e
        for e in place.node.log.entries(0, state["size"])
        if e.event.kind is EventKind.TURN_SEALED and e.event.fields["purpose"] == "service"
    ]
    proof = place.node.log.inclusion(turn.index, state["size"])
    row = {
        "index": turn.index,
        "leaf": base64.b64encode(turn.leaf).decode(),
        "proof": [base64.b64encode(part).decode() for part in proof],
    }
    page["leaves"] = [*page["leaves"], row]
    page["leaves"].sort(key=lambda one: one["index"])
    page["end"] = max(page["end"], turn.index + 1)
    answer = place.said(page)
    assert answer.status_code == 422
    assert "nothing else" in answer.json()["detail"]


def test_a_leaf_of_another_node_is_refused(place: Place) -> None:
    """Another branch's page, sent under one's own name or logged in one's own log, is refused."""
    other = place.town.branch(f"{place.branch.name}-other")
    node = other.open()
    try:
        place.cosign()
        node.witnesses.meet()
        theirs = place.trust.as_node(other.name, "GET", PATH).json()
        page = make_page(node.log, theirs["start"], theirs["size"])
        mine = place.said(None).json()
        assert place.said(page | {"size": mine["size"]}).status_code in {409, 422}
        copied = place.decided()[-1]
        named = dict(copied.fields) | {"node": other.name, "decision_id": "5" * 32}
        place.node.log.append(Event(kind=copied.kind, at=copied.at, fields=named))
        place.cosign()
        answer = place.said(place.page())
        assert answer.status_code == 422
        assert "its own node" in answer.json()["detail"]
    finally:
        other.close()


def test_a_leaf_that_was_not_cosigned_is_refused(place: Place) -> None:
    """Proven at a size that this service has not cosigned, or beyond it: 409 or 422."""
    place.cosign()
    says(place.api, "anna")
    log, state = place.node.log, place.said(None).json()
    assert log.size > state["size"]
    ahead = make_page(log, state["start"], log.size)
    answer = place.said(ahead)
    assert answer.status_code == 409
    assert str(state["size"]) in answer.json()["detail"]
    assert place.said(ahead | {"size": state["size"]}).status_code == 422
    assert place.found() == []


def test_a_page_before_any_checkpoint_is_refused(town: Town) -> None:
    """Of a node whose log was never cosigned nothing is taken."""
    name = f"fresh{len(town.branches)}"
    branch = town.branch(name)
    log = EvidenceLog(
        branch.folder / "log.db", branch.node_key, origin=f"undertone/{name}", clock=town.clock
    )
    fields = {"service": "undertone-node", "version": "1", "policy_digest": "a" * 64, "node": name}
    log.append(Event(kind=EventKind.SERVICE_STARTED, at=town.clock.now, fields=fields))
    page = make_page(log, 0, log.size)
    log.close()
    answer = town.trust.as_node(name, "POST", PATH, page)
    assert answer.status_code == 409
    assert "cosigned size 0" in answer.json()["detail"]


def test_a_page_that_comes_twice_changes_nothing(place: Place) -> None:
    """The same page again is answered alike; the very same request again is a replay: 401."""
    place.cosign()
    page = place.page()
    body = json.dumps(page).encode()
    headers = place.trust.signed(place.branch.name, "POST", PATH, body)
    first = place.trust.send("POST", PATH, body, headers)
    assert first.status_code == 200
    kept = place.found()
    assert place.trust.send("POST", PATH, body, headers).status_code == 401
    again = place.said(page)
    assert (again.status_code, again.json()) == (200, first.json())
    assert place.found() == kept


def test_a_gap_is_refused(place: Place) -> None:
    """A page that does not begin where the last one ended is told where to begin."""
    place.cosign()
    page = place.page()
    later = make_page(place.node.log, page["end"] - 1, page["size"])
    answer = place.said(later)
    assert answer.status_code == 409
    assert "begins at 0" in answer.json()["detail"]


def test_nobody_hands_over_for_another(place: Place) -> None:
    """Unsigned, or signed by a key that is not enrolled: 401."""
    place.cosign()
    body = json.dumps(place.page()).encode()
    assert place.trust.send("POST", PATH, body).status_code == 401
    place.trust.keys["stranger"] = SigningKey.generate(place.branch.name)
    signed = place.trust.signed("stranger", "POST", PATH, body)
    assert place.trust.send("POST", PATH, body, signed).status_code == 401


def test_an_outage_of_either_side_loses_and_doubles_nothing(place: Place) -> None:
    """Away for a while, the node restarted meanwhile: afterwards each decision is there once."""
    place.meet()
    place.town.carrier.away = True
    says(place.api, "anna")
    place.meet()
    assert place.node.witnesses.handing_over.fault
    place.town.carrier.away = False
    place.branch.close()
    node = place.branch.open()
    again = Place(place.town, place.branch, node, place.branch.api(node))
    says(again.api, "anna")
    again.meet()
    again.meet()
    ids = [one.decision_id for one in again.found()]
    assert sorted(ids) == sorted(str(e.fields["decision_id"]) for e in again.decided())
    assert again.node.witnesses.handing_over.fault is None


def test_much_goes_in_many_pages_one_a_turn(place: Place) -> None:
    """A page has a bounded number of leaves; each call of the node's thread brings one."""
    fields = dict(place.decided()[-1].fields)
    for number in range(2 * MOST_LEAVES + 5):
        event = Event(
            kind=EventKind.DECISION,
            at=place.town.clock.now,
            fields=fields | {"decision_id": f"{place.branch.name}{number:028x}"},
        )
        place.node.log.append(event)
    posts = f"POST {PATH}"
    before = place.town.carrier.carried.count(posts)
    place.meet()
    assert place.town.carrier.carried.count(posts) == before + 1
    assert len(place.found()) <= MOST_LEAVES
    for _ in range(3):
        place.node.witnesses.meet_when_due()
    assert place.town.carrier.carried.count(posts) == before + 3
    assert len(place.found()) == len(place.decided())


def test_a_busy_service_asks_to_come_again(place: Place) -> None:
    """While pages are read, one more is answered 503; the node waits and brings it later."""
    turns = place.trust.service.branches._turns
    taken = [turns.acquire(blocking=False) for _ in range(2)]
    assert all(taken)
    place.meet()
    assert "503" in str(place.node.witnesses.handing_over.fault)
    assert place.found() == []
    turns.release(2)
    place.town.pass_time(61)
    place.node.witnesses.meet_when_due()
    assert place.found()


def test_the_index_forgets_as_the_policy_says_and_spares_what_is_held(place: Place) -> None:
    """After its period a decision is gone with its proof; one of a held time stays."""
    place.meet()
    (*_, oldest) = place.found()
    branches, clock = place.trust.service.branches, place.town.clock
    kept_s = branches._retention.kept_s(EventKind.DECISION)
    now = clock.now
    held = [(0.0, float("inf"))]
    later = dict.fromkeys((EventKind.DECISION, EventKind.BATCH_DECISION), now + 1)
    assert place.index.forget(later, held=held) == 0
    assert place.found()
    try:
        clock.now = oldest.at + kept_s - 10
        branches._forgot_at = float("-inf")
        branches.forget()
        assert oldest in place.found()
        clock.now = max(one.at for one in place.found()) + kept_s + 10
        branches._forgot_at = float("-inf")
        branches.forget()
        assert place.found() == []
        assert not place.index._rows("SELECT 1 FROM rule WHERE log = ?", (place.branch.name,))
    finally:
        clock.now = now


def test_the_index_comes_back_from_the_branches(place: Place) -> None:
    """Deleted, it is handed over from the beginning again, the same as before."""
    place.meet()
    before = place.found()
    with place.index._writing() as database:
        for table in ("decision", "rule", "mark", "page", "reached"):
            database.execute(f"DELETE FROM {table}")  # noqa: S608 (our own words)
    place.meet()
    place.node.witnesses.meet_when_due()
    assert place.found() == before
    assert SubjectId(place.branch.subject("anna")) not in str(before)


# --- the page ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def officer(town: Town) -> Portal:
    """Return the officer's browser at the town's trust service."""
    return Portal(town.trust)


def test_a_branch_decision_opens_to_rule_statute_proof_and_trace(
    place: Place, officer: Portal
) -> None:
    """From the list, filtered by node, to one refused decision: words, law, proof and trace."""
    says(place.api, "nobody-who-consented")
    place.meet()
    name = place.branch.name
    listed = officer.get(f"/decisions?node={name}&outcome=refused")
    link, *_ = sorted(set(re.findall(r'href="(/decisions/[0-9a-f]+\?log=[^"]+)"', listed)))
    assert link.endswith(f"?log={name}")
    shown = officer.get(link)
    assert re.search(r'href="/rules#r0[0-9][a-z0-9-]*"', shown)
    assert "GDPR" in shown
    assert f"the branch {name}" in shown
    assert place.branch.subject("nobody-who-consented") not in shown
    key = str(place.branch.node_key.verify_key)
    assert html.escape(key) in shown
    assert f"in the log undertone/{name}" in shown
    assert "/evidence/entries/" not in shown.partition('id="proof"')[2]
    (download,) = re.findall(r'href="(/decisions/[0-9a-f]+/proof[^"]*)"', shown)
    proof = officer.http.get(download)
    leaf = html.unescape(shown.partition("<pre>")[2].partition("</pre>")[0]).encode()
    witness = place.trust.service.key.verify_key
    open_receipt(
        proof.text, leaf, place.branch.node_key.verify_key, witnesses=[witness], at_least=1
    )
    assert f"decision-{name}-" in proof.headers["content-disposition"]


def test_decisions_are_filtered_by_who_decided(place: Place, officer: Portal) -> None:
    """This service's, the branches', or both, in one order that goes on by key."""
    place.meet()
    name = place.branch.name
    subject = place.branch.subject("anna")
    asked = {"node": name, "action": "infer", "purpose": "service", "subject": subject}
    for _ in range(3):
        answer = place.trust.as_node(name, "POST", "/v1/decisions", {"request": asked})
        assert answer.status_code == 200, answer.text

    def rows(query: str) -> list[list[str]]:
        saved = officer.http.get(f"/decisions?format=csv&node={name}{query}").text
        return list(csv.reader(saved.splitlines()))[1:]

    here, branch = rows("&by=this+service"), rows("&by=a+branch")
    assert len(here) == 3
    assert len(branch) == len(place.found())
    assert rows("") == sorted([*here, *branch], key=lambda row: row[0], reverse=True)
    assert rows("&by=nobody") == rows("")


def test_pages_over_both_sources_go_on_by_key(place: Place) -> None:
    """Every decision of both is met once, however the pages are cut, also within one second."""
    place.meet()
    subject, name = place.branch.subject("anna"), place.branch.name
    asked = {"node": name, "action": "infer", "purpose": "service", "subject": subject}
    for _ in range(3):
        place.trust.as_node(name, "POST", "/v1/decisions", {"request": asked})
    newest = place.decided()[-1]
    for number in range(3):
        fields = dict(newest.fields) | {"decision_id": f"{name}{number:029x}"}
        place.node.log.append(
            Event(kind=EventKind.DECISION, at=place.town.clock.now, fields=fields)
        )
    place.cosign()
    assert place.said(place.page()).status_code == 200
    service = place.trust.service
    sources = Sources(
        desk=service.evidence, branches=source_of(service.branches, service.enrolment)
    )
    whole = sources.find(Search(node=name), limit=500)
    assert {one.log for one in whole} == {"", name}
    assert len({one.at for one in whole}) < len(whole)
    for size in (1, 2, 3):
        met, after = list[Found](), None
        while part := sources.find(Search(node=name), limit=size, after=after):
            met += part
            after = Key(part[-1].at, part[-1].idx, part[-1].log)
        assert met == whole


def test_the_page_says_who_is_silent_and_since_when(place: Place, officer: Portal) -> None:
    """A branch that stopped reporting is named with the time; one that never did as well."""
    place.meet()
    name = place.branch.name
    assert "has said nothing since" not in officer.get(f"/decisions?node={name}")
    row = officer.get("/decisions").partition(f'href="/decisions?node={name}"')[2]
    assert "up to date" in row.partition("</tr>")[0]
    never = f"never{len(place.town.branches)}"
    place.town.branch(never)
    place.town.pass_time(1000)
    shown = officer.http.get("/decisions?format=csv&table=branches").text
    rows = {row[0]: row for row in csv.reader(shown.splitlines())}
    assert rows[name][2] == "silent"
    assert rows[never][2] == "has never handed over"
    since = moment(place.town.clock.now - 1000, UTC)
    assert f"{name} has said nothing since {since}" in officer.get(f"/decisions?node={name}")
    assert f"yet by {never}" in officer.get(f"/decisions?node={never}")
    place.meet()
    shown = officer.http.get("/decisions?format=csv&table=branches").text
    rows = {row[0]: row for row in csv.reader(shown.splitlines())}
    assert rows[name][2] == "up to date"


def test_a_branch_cannot_take_the_place_of_our_own_decision(place: Place, officer: Portal) -> None:
    """A branch that logs an id of ours hides nothing: without a branch named, ours opens."""
    name, subject = place.branch.name, place.branch.subject("anna")
    asked = {"node": name, "action": "infer", "purpose": "offers", "subject": subject}
    ours = place.trust.as_node(name, "POST", "/v1/decisions", {"request": asked}).json()
    copied = dict(place.decided()[-1].fields) | {"decision_id": ours["decision_id"]}
    place.node.log.append(Event(kind=EventKind.DECISION, at=place.town.clock.now, fields=copied))
    place.meet()
    assert f"the branch {name}" not in officer.get(f"/decisions/{ours['decision_id']}")
    assert f"the branch {name}" in officer.get(f"/decisions/{ours['decision_id']}?log={name}")
