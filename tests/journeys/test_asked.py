"""A branch asks its customers: by a code, by a message to confirm, by a digit on the telephone."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import segno

from audit.signing import SigningKey, seal
from client_node.client import NodeClient
from client_node.errors import NodeProblem, StartRefused
from client_node.service import NodeService
from client_node.telephone import FRESH_S, KIND
from consent.code_api import WORDS
from consent.code_picture import QUIET_ZONE
from policies.words import Language
from tests.client_node.conftest import Api
from tests.consent.conftest import NOTICE_TEXT, proof
from tests.promises.town import CONSENT, Branch, Town, says

ASKED = {"purposes": ["service"], "modalities": ["text"], "notice_version": 1, "valid_days": 30}


def grants(town: Town) -> list[str]:
    """Return the purposes that are in force for the person whose standing is newest."""
    return [grant["purpose"] for grant in town.trust.feed("branch-1")["standings"][-1]["grants"]]


# --- a code, or a message ---------------------------------------------------------------------


def test_a_branch_starts_an_invitation_and_its_customer_answers(town: Town) -> None:
    """The node's answer has the page and its picture; the yes opens the gate at the branch."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    said = ASKED | {"customer": "anna", "channel": "kiosk", "age": "adult"}
    asked = api.post("/v1/invitations", json=said)
    assert asked.status_code == 201, asked.text
    page = asked.json()["page"]
    assert town.trust.send("GET", page).status_code == 200
    ticked = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = town.trust.send("POST", page, b"answer=yes&purpose=service", ticked)
    assert answer.status_code == 201
    node.keeper.poll()
    assert says(api, "anna")["answer"] != "refused"


def test_a_refused_invitation_says_why(town: Town) -> None:
    """What the trust service refuses comes back as its own line, without the customer's id."""
    branch = town.branch()
    api = branch.api(branch.open())
    for wrong, why in (({"channel": "ivr"}, "no page by ivr"), ({"notice_version": 9}, "notice")):
        said = ASKED | {"customer": "anna-4711", "channel": "web"} | wrong
        refused = api.post("/v1/invitations", json=said)
        assert refused.status_code == 409
        assert why in refused.json()["detail"]
        assert "anna" not in refused.text


def test_a_yes_that_must_be_confirmed_counts_when_it_is(town: Town) -> None:
    """The node gets the token for another way; until it comes back the gate stays shut."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    yes = CONSENT | proof() | {"customer": "anna"}
    asked = api.post("/v1/unconfirmed-consents", json={"consent": yes})
    assert asked.status_code == 201, asked.text
    node.keeper.poll()
    assert says(api, "anna")["answer"] == "refused"
    token = asked.json()["confirmation_token"]
    body = f'{{"confirmation_token": "{token}"}}'.encode()
    assert town.trust.send("POST", "/v1/confirmations", body).status_code == 201
    node.keeper.poll()
    assert says(api, "anna")["answer"] != "refused"


def test_the_typed_client_asks_and_shows_the_notice(town: Town) -> None:
    """A CRM shows the notice, asks by code, and lets a yes wait, all through `NodeClient`."""
    branch = town.branch()
    api = branch.api(branch.open())

    def handle(request: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        got = (
            api.get(request.url.path)
            if request.method == "GET"
            else api.post(request.url.path, content=request.read(), headers=headers)
        )
        return httpx.Response(got.status_code, content=got.content)

    with httpx.Client(base_url="https://node", transport=httpx.MockTransport(handle)) as http:
        client = NodeClient(http=http)
        notice = client.notice(1)
        assert notice["texts"] == {"en": NOTICE_TEXT}
        more: dict[str, Any] = {"modalities": ["text"], "notice_version": 1, "valid_days": 9}
        asked = client.invite("anna", ["service"], channel="kiosk", **more)
        assert asked["code"] == f"{asked['page']}/code.svg"
        waiting = client.await_confirmation(CONSENT | proof() | {"customer": "ben"})
        assert len(waiting["confirmation_token"]) == 43
        with pytest.raises(NodeProblem, match="no enrolled telephone system"):
            client.pressed(seal(KIND, {"event": "e"}, SigningKey.generate("nobody")))


# --- the picture ------------------------------------------------------------------------------


def modules(svg: str) -> list[list[int]]:
    """Return the dark modules of a drawn code, read off its one path of horizontal lines."""
    size = int(re.findall(r'viewBox="0 0 (\d+) \d+"', svg)[0]) // 8
    grid = [[0] * size for _ in range(size)]
    path = next(p for p in ET.fromstring(svg).iter() if "stroke" in p.attrib).attrib["d"]  # noqa: S314
    x = y = 0.0
    for letter, numbers in re.findall(r"([MmhH])([-\d. ]+)", path):
        values = [float(v) for v in re.findall(r"-?\d*\.?\d+", numbers)]
        if letter == "h":
            for column in range(int(x), int(x + values[0])):
                grid[int(y)][column] = 1
            x += values[0]
        else:
            x, y = (values[0], values[1]) if letter == "M" else (x + values[0], y + values[1])
    return grid


def test_the_picture_is_the_code_of_the_page(make_town: Any) -> None:
    """Module by module the code of the public address, with a title and text in each language."""
    town = make_town(settings_changes={"public_url": "https://choices.example/"})
    branch = town.branch()
    said = ASKED | {"customer": "anna", "channel": "kiosk"}
    asked = branch.api(branch.open()).post("/v1/invitations", json=said).json()
    for language, (title, description) in WORDS.items():
        drawn = town.trust.send("GET", f"{asked['code']}?language={language}")
        assert drawn.status_code == 200
        assert drawn.headers["content-type"] == "image/svg+xml"
        assert drawn.headers["cache-control"] == "no-store"
        assert "<script" not in drawn.text
        root = ET.fromstring(drawn.text)  # noqa: S314 (our own drawing)
        words = [node.text for node in root if node.tag.endswith(("title", "desc"))]
        assert words == [title, description]
        assert root.attrib["role"] == "img"
    address = f"https://choices.example{asked['page']}"
    wanted = segno.make_qr(address, error="q", boost_error=False).matrix_iter(border=QUIET_ZONE)
    assert modules(drawn.text) == [list(row) for row in wanted]
    assert set(WORDS) == set(Language)
    nobody = town.trust.send("GET", f"/consent/{'x' * 43}/code.svg")
    town.trust.clock.now += 366 * 86_400
    over = town.trust.send("GET", asked["code"])
    assert nobody.status_code == over.status_code == 404
    assert nobody.json()["detail"] == over.json()["detail"]


# --- a digit on the telephone -----------------------------------------------------------------


class Exchange:
    """A telephone system with its own key, and the branch whose node knows it."""

    def __init__(self, town: Town, branch: Branch, key: SigningKey) -> None:
        self.town, self.branch, self.key = town, branch, key
        self.node: NodeService = branch.open()
        self.api: Api = branch.api(self.node)

    def envelope(self, key: SigningKey | None = None, **changed: Any) -> bytes:
        """Return a signed event: one was pressed."""
        shown = {"language": "en", "layer": "full", "text_digest": proof()["shown"]["text_digest"]}
        body = {
            "event": "e-1", "at": int(self.town.clock.now), "customer": "anna", "call": "call-1",
            "script": "s-1", "pressed": "1", "shown": shown, "consent": ASKED,
        } | changed  # fmt: skip
        return seal(KIND, body, key or self.key)

    def send(self, envelope: bytes) -> httpx.Response:
        """Pass an event on to the node."""
        headers = {"Content-Type": "application/json"}
        answer = self.api.post("/v1/telephone-events", content=envelope, headers=headers)
        self.node.keeper.poll()
        return answer


@pytest.fixture
def exchange(town: Town) -> Exchange:
    """Enrol a telephone system with a branch's node."""
    key = SigningKey.generate("telephone")
    branch = town.branch()
    branch.settings_values |= {
        "telephone_keys": (str(key.verify_key),),
        "telephone_scripts": {"s-1": "1"},
    }
    return Exchange(town, branch, key)


def test_a_signed_digit_is_a_consent_with_its_proof(exchange: Exchange) -> None:
    """The event's digest is the proof in the log; channel, call and script are in the receipt."""
    taken = exchange.send(exchange.envelope())
    assert taken.status_code == 201, taken.text
    assert grants(exchange.town) == ["service"]
    event = exchange.town.trust.service.log.entry(taken.json()["log_index"]).event.fields
    assert event["channel"] == "ivr"
    kept = taken.json()["receipt"]["undertone:capture"]
    assert kept["undertone:evidence"] == event["evidence"]
    assert "anna" not in taken.text


def test_another_digit_is_a_no(exchange: Exchange) -> None:
    """What is not the script's yes is recorded as a refusal, and takes back what was given."""
    exchange.send(exchange.envelope())
    assert exchange.send(exchange.envelope(event="e-2", pressed="2")).status_code == 201
    standing = exchange.town.trust.feed("branch-1")["standings"][-1]
    assert standing["grants"] == []
    assert [purpose for purpose, _ in standing["refused"]] == ["service"]


def test_a_telephone_event_counts_once(exchange: Exchange) -> None:
    """Replayed at once, after a no, after a restart: refused; and later it is too old."""
    envelope = exchange.envelope()
    assert exchange.send(envelope).status_code == 201
    exchange.send(exchange.envelope(event="e-2", pressed="2"))
    assert exchange.send(envelope).status_code == 409
    exchange.branch.close()
    exchange.node = exchange.branch.open()
    exchange.api = exchange.branch.api(exchange.node)
    assert exchange.send(envelope).status_code == 409
    exchange.town.pass_time(FRESH_S + 1)
    assert exchange.send(envelope).status_code == 422
    assert grants(exchange.town) == []


def test_only_an_enrolled_telephone_system_is_heard(exchange: Exchange) -> None:
    """Another's key, a changed byte, another kind, an unknown script, another time: no consent."""
    good = exchange.envelope()
    other = SigningKey.generate("telephone")
    now = int(exchange.town.clock.now)
    for wrong in (
        exchange.envelope(key=other),
        good.replace(b'"pressed":"1"', b'"pressed":"3"'),
        seal("telephone-test", {"event": "e"}, exchange.key),
        exchange.envelope(script="s-2"),
        exchange.envelope(at=now - FRESH_S - 1),
        exchange.envelope(at=now + 3600),
        exchange.envelope(consent=ASKED | {"purposes": []}),
        b"{}",
    ):
        refused = exchange.send(wrong)
        assert refused.status_code == 422, wrong
        assert "anna" not in refused.text
    assert exchange.town.trust.feed("branch-1")["standings"] == []


def test_a_digit_is_taken_from_the_telephone_system_alone(exchange: Exchange) -> None:
    """An integration that says itself that somebody pressed a digit is refused."""
    proven = proof()
    proven["shown"]["channel"] = "ivr"
    proven["capture"] |= {"reference": "call-1", "script": "s-1"}
    whole = CONSENT | proven | {"customer": "anna", "act": "pressed_digit"}
    refused = exchange.api.post("/v1/consents", json=whole)
    assert refused.status_code == 422
    assert exchange.town.trust.feed("branch-1")["standings"] == []


def test_a_key_that_is_none_stops_the_start(town: Town) -> None:
    """The setting's line says so, before anything is taken."""
    branch = town.branch()
    branch.settings_values |= {"telephone_keys": ("no key",)}
    with pytest.raises(StartRefused, match="telephone_keys"):
        branch.open()


# --- no proof, no consent ---------------------------------------------------------------------


def test_a_grant_without_channel_and_proof_is_refused(town: Town) -> None:
    """The line names what is missing and how to change over; nothing is recorded."""
    branch = town.branch()
    api = branch.api(branch.open())
    for body in (CONSENT | {"customer": "anna"}, {"consent": CONSENT | {"customer": "anna"}}):
        path = "unconfirmed-consents" if "consent" in body else "consents"
        refused = api.post(f"/v1/{path}", json=body)
        assert refused.status_code == 409
        assert "uncaptured_until" in refused.json()["detail"]
    assert town.trust.feed("branch-1")["standings"] == []


def test_the_change_over_ends_on_its_day(make_town: Any) -> None:
    """Until the day that is set, a grant without proof counts; on the day after, none does."""
    town = make_town(settings_changes={"uncaptured_until": "2027-01-16"})
    branch = town.branch()
    api = branch.api(branch.open())
    assert api.post("/v1/consents", json=CONSENT | {"customer": "anna"}).status_code == 201
    town.pass_time(2 * 86_400)
    assert api.post("/v1/consents", json=CONSENT | {"customer": "ben"}).status_code == 409
    assert len(town.trust.feed("branch-1")["standings"]) == 1
