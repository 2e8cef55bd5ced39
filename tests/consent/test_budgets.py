"""What remains of nodes' budgets, as staff and customers see it at the trust service."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from audit.portal.access import SESSION_COOKIE
from audit.staff import StaffRole
from consent.errors import SettingsInvalid
from consent.privacy_centre.frame import HERE, parse_centre_words
from policies.budget import percent, right_percent
from policies.words import Language
from tests.consent.conftest import World
from tests.consent.test_audiences import _begin

STATE: dict[str, Any] = {
    "day": "2027-01-15",
    "period_days": 30,
    "delta": 1e-5,
    "epsilon_spent": 1.234,
    "epsilon_limit": 2.0,
    "epsilon_at_nodes": 1.9,
    "by_purpose": {"training": 1.234},
    "caps": {},
    "more_like_the_last": 4,
    "first_over_on": "2027-02-14",
    "readable": True,
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def says(world: World, node: str = "north", **changes: Any) -> httpx.Response:
    """Let a node acknowledge, with its budget."""
    body = {"sequence": 0, "budget": STATE | changes}
    return world.as_node(node, "POST", "/v1/acknowledgements", body)


def portal(world: World) -> str:
    """Return the staff page as the officer sees it."""
    _begin(world, "ada", StaffRole.OFFICER)
    session = world.service.access.sessions.open(
        world.service.access.accounts.known("ada"), method="test"
    )
    answer = world.send("GET", "/budget", headers={"Cookie": f"{SESSION_COOKIE}={session}"})
    assert answer.status_code == 200, answer.text
    return answer.text


def centre(world: World, code: str, language: str = "en") -> httpx.Response:
    """Return the customer's page."""
    body = urlencode({"code": code, "language": language}).encode()
    opened = world.send("POST", "/my", body, FORM)
    assert opened.status_code == 303
    mine, _, query = opened.headers["location"].partition("?")
    return world.send("GET", f"{mine}/learned?{query}")


def test_staff_see_what_remains_by_node_and_purpose(world: World) -> None:
    """Words, numbers and a bar with its text for the node that spoke; the others are unheard."""
    assert says(world).status_code == 200
    page = portal(world)
    assert "1.234" in page
    assert "0.766" in page
    assert 'aria-label="training: 1.234 of 2.000 spent"' in page
    assert percent(right_percent(1.234, 1e-5)) in page
    assert page.count("Not heard since") == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon_spent": -1.0},
        {"epsilon_spent": "NaN"},
        {"day": "<script>"},
        {"by_purpose": {"revenge": 1.0}},
        {"period_days": 0},
        {"unknown": 1},
    ],
)
def test_a_state_out_of_range_is_refused(world: World, changes: dict[str, Any]) -> None:
    """One clear line, and nothing is kept of it."""
    answer = says(world, **changes)
    assert answer.status_code == 422
    assert "script" not in json.dumps(answer.json())
    assert all(state is None for _, state in world.service.acknowledgements.budgets())


@pytest.mark.parametrize("language", list(Language))
def test_a_customer_reads_what_remains_in_their_language(world: World, language: Language) -> None:
    """The bound of their company's branches, no other company's, no script, and no pseudonym."""
    code = world.grant("alice").json()["manage_token"]
    says(world)
    says(world, "rival", epsilon_spent=0.5)
    answer = centre(world, code, language.value)
    assert answer.status_code == 200, answer.text
    page = answer.text
    assert f'<html lang="{language.value}" dir="ltr">' in page
    assert percent(right_percent(1.234, 1e-5), language) in page
    assert "north" in page
    assert "south" in page
    assert "rival" not in page
    assert "<script" not in page
    assert "alice" not in page
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers


def test_a_customer_is_told_whether_they_are_learned_from(world: World) -> None:
    """Yes while the consent stands; no after its withdrawal, an objection, or its end."""
    code = world.grant("alice").json()["manage_token"]
    yes, no = "Yes, you allowed it", "No. Nothing is learned"
    assert yes in centre(world, code).text
    body = json.dumps({"manage_token": code, "purpose": "training"}).encode()
    assert world.send("POST", "/v1/withdrawals", body).status_code == 201
    assert no in centre(world, code).text
    other = world.grant("ben").json()["manage_token"]
    objection = json.dumps({"manage_token": other, "purposes": ["training"]}).encode()
    assert world.send("POST", "/v1/objections", objection).status_code == 201
    assert no in centre(world, other).text
    third = world.grant("carl", valid_days=1).json()["manage_token"]
    assert yes in centre(world, third).text
    world.clock.now += 2 * 86_400
    assert no in centre(world, third).text


@pytest.mark.parametrize("body", [b"", b"code=nobody", b"&".join([b"a=b"] * 99), b"\xff=\xfe"])
def test_a_wrong_code_is_said_and_nothing_else(world: World, body: bytes) -> None:
    """An unknown, missing or odd code gets the door again, without a word on anybody."""
    through = world.send("POST", "/my", body, FORM | {"Accept-Language": "de"})
    answer = world.send("GET", through.headers["location"])
    assert answer.status_code == 404
    assert "Dieser Link oder Code öffnet nichts" in answer.text


def test_pages_of_a_language_that_lacks_a_sentence_do_not_load() -> None:
    """Translations are whole, or refused."""
    text = (HERE / "words.toml").read_text(encoding="utf-8")
    with pytest.raises(SettingsInvalid):
        parse_centre_words(text.replace('yes = "Ja', 'ja = "Ja'))
