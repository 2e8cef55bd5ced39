"""A customer scans a kiosk's code, agrees on their telephone, and withdraws as easily."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.promises.town import CONSENT, Town


class Phone(HTMLParser):
    """A telephone without script: reads forms and links, and counts its owner's steps."""

    def __init__(self, town: Town) -> None:
        super().__init__()
        self.town, self.steps, self.at = town, 0, ""
        self.answer = httpx.Response(200)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ticked: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep every tag with its attributes."""
        self.tags.append((tag, dict(attrs)))

    def open(self, path: str) -> None:
        """Scan a code or open a link: one step."""
        self.steps, self.at = self.steps + 1, path
        self._show(self.town.trust.send("GET", path, b"", {"Accept-Language": "de"}))

    def tick(self, name: str, value: str) -> None:
        """Tick a box: one step."""
        assert any(a.get("name") == name and a.get("value") == value for a in self.all("input"))
        self.steps += 1
        self.ticked.append((name, value))

    def press(self, name: str, value: str) -> None:
        """Press a button of the page's form: one step."""
        assert any(a.get("name") == name and a.get("value") == value for a in self.all("button"))
        hidden = [
            (a["name"] or "", a["value"] or "")
            for a in self.all("input")
            if a["type"] == "hidden" or "checked" in a
        ]
        body = urlencode([*hidden, *self.ticked, (name, value)]).encode()
        self.steps += 1
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._show(self.town.trust.send("POST", self.at.split("?")[0], body, headers))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of each such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def _show(self, answer: httpx.Response) -> None:
        self.reset()
        self.answer, self.tags, self.ticked = answer, [], []
        self.feed(answer.text)


def invited(town: Town) -> dict[str, Any]:
    """Return a branch's invitation to its kiosk's page."""
    branch = town.branch()
    body = {
        "subject": branch.subject("anna"), "purposes": ["service", "training"], "valid_days": 30,
        "modalities": ["text"], "notice_version": 1, "channel": "kiosk", "age": "adult",
    }  # fmt: skip
    answer = town.trust.as_node(branch.name, "POST", "/v1/invitations", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.promise(11)
def test_customer_grants_by_code_and_withdraws_in_no_more_steps(town: Town) -> None:
    """Scan, tick, press to give; the kept link and one press to withdraw: counted."""
    phone, page = Phone(town), invited(town)
    phone.open(f"/consent/{page['invitation_token']}")
    assert phone.all("script") == []
    assert any("width=device-width" in (a.get("content") or "") for a in phone.all("meta"))
    assert "script" not in phone.answer.headers["content-security-policy"]
    boxes = [a for a in phone.all("input") if a["type"] == "checkbox"]
    assert [a["value"] for a in boxes] == ["service", "training"]
    assert not any("checked" in a for a in boxes), "a box was ticked beforehand"
    assert {a.get("for") for a in phone.all("label")} == {a["id"] for a in boxes}
    assert "Sie entscheiden" in phone.answer.text

    phone.press("answer", "yes")
    assert phone.answer.status_code == 422, "a press without a tick is no consent"
    phone.steps = 1
    phone.tick("purpose", "service")
    phone.press("answer", "yes")
    assert phone.answer.status_code == 201
    giving, phone.steps = phone.steps, 0
    (link,) = [a["href"] or "" for a in phone.all("a") if a.get("class") == "button"]
    feed = town.trust.feed("branch-1")["standings"][-1]
    assert [grant["purpose"] for grant in feed["grants"]] == ["service"]
    assert [purpose for purpose, _ in feed["refused"]] == ["training"]

    phone.open(link)
    phone.press("stop", "service")
    assert phone.answer.status_code == 200
    assert phone.steps <= giving
    assert town.trust.feed("branch-1")["standings"][-1]["grants"] == []

    phone.open(f"/consent/{page['invitation_token']}")
    assert phone.answer.status_code == 404, "the code gives nothing back after the no"


def test_no_identity_reaches_the_trust_service(town: Town) -> None:
    """Customer, guardian and agent are known at the branch; no byte kept elsewhere names them."""
    branch = town.branch()
    node = branch.open()
    api = branch.api(node)
    digest = town.trust.service.officer.notice(1).text_digests()["en"]
    names = ["anna.muster@mail.example", "berta-muster-0176-55501", "agent-carl-gustav"]
    read_out = CONSENT | {
        "customer": names[0],
        "age": "minor",
        "act": "spoken_yes",
        "shown": {"language": "en", "text_digest": digest, "channel": "agent"},
        "capture": {"evidence": "a" * 64, "reference": "c1", "script": "s1", "agent": names[2]},
        "guardian": {
            "customer": names[1], "relation": "parent", "verified": "account", "evidence": "b" * 64,
        },
    }  # fmt: skip
    taken = api.post("/v1/consents", json=read_out)
    assert taken.status_code == 201, taken.text
    assert taken.json()["receipt"]["dpv:hasDataSubject"] == branch.subject(names[0])
    files = [path for path in (town.folder / "trust").rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    assert branch.subject(names[0]).encode() in kept, "the ledger was not looked at"
    for name in names:
        assert name.encode() not in kept
        assert name not in taken.text
