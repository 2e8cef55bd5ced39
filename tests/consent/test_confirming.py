"""Asking by a page, confirming by a token sent elsewhere, and consents that run out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from consent.answers import Ticks
from consent.capture import Layer
from consent.cli import app
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.taken import verify_taken
from policies.vocabulary import Purpose
from tests.consent.conftest import World, a_grant, captured
from tests.consent.test_channels import decided, states

SERVICE = frozenset({Purpose.SERVICE})
TICKED = Ticks(purposes=SERVICE, language="en", layer=Layer.FULL)
NOTHING = Ticks(purposes=frozenset(), language="en", layer=Layer.FULL)


def waiting(world: World, subject: str = "alice", **changes: Any) -> dict[str, Any]:
    """Return the answer to a yes that waits for its confirmation."""
    grant = a_grant(subject, **{"purposes": ["service"]} | changes)
    body = {"grant": grant, "confirm_hours": 48}
    answer = world.as_node("north", "POST", "/v1/unconfirmed-consents", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def confirm(world: World, token: str) -> httpx.Response:
    """Send a confirmation, as whoever has the token."""
    body = json.dumps({"confirmation_token": token}).encode()
    return world.send("POST", "/v1/confirmations", body)


def invited(world: World, subject: str = "alice", **changes: Any) -> dict[str, Any]:
    """Return the answer to an invitation to a page."""
    body = {
        "subject": subject, "purposes": ["service", "training"], "modalities": ["text"],
        "notice_version": 1, "channel": "kiosk", "valid_days": 30, "age": "adult",
    } | changes  # fmt: skip
    answer = world.as_node("north", "POST", "/v1/invitations", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_yes_counts_for_nothing_until_its_token_comes_back(world: World) -> None:
    """Unconfirmed the gate is shut; confirmed it opens, with a receipt that names both."""
    yes = waiting(world, **captured(world, "web"))
    assert "manage_token" not in yes
    assert decided(world, "alice", Purpose.SERVICE) != []
    assert states(world)["service"]["text"] == "dpv:ConsentRequested"
    given = confirm(world, yes["confirmation_token"])
    assert given.status_code == 201, given.text
    assert decided(world, "alice", Purpose.SERVICE) == []
    holds = verify_taken(given.content, world.service.key.verify_key)
    assert holds.receipt["undertone:confirms"] == yes["record"]
    assert holds.receipt["undertone:capture"]["undertone:evidence"] == "a" * 64
    assert confirm(world, yes["confirmation_token"]).status_code == 409


def test_confirmation_in_time_alone(world: World) -> None:
    """At the last second it is too late, and nothing is granted."""
    yes = waiting(world)
    world.clock.now += 48 * 3600
    late = confirm(world, yes["confirmation_token"])
    assert late.status_code == 409
    assert "time to answer is over" in late.json()["detail"]
    assert decided(world, "alice", Purpose.SERVICE) != []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/refusals", {"purposes": ["service"]}),
        ("/v1/withdrawals", {"purpose": "service"}),
        ("/v1/objections", {"purposes": ["service"]}),
        ("/v1/withdrawals", {"purpose": None}),
    ],
)
def test_confirmation_does_not_turn_a_later_no_into_a_yes(
    world: World, path: str, said: dict[str, Any]
) -> None:
    """A no between yes and confirmation is the last word; after an erasure nothing is known."""
    yes = waiting(world)
    assert world.as_node("north", "POST", path, {"subject": "alice"} | said).status_code == 201
    expected = 404 if said.get("purpose", "") is None else 409
    assert confirm(world, yes["confirmation_token"]).status_code == expected
    assert decided(world, "alice", Purpose.SERVICE) != []


def test_token_is_good_for_its_own_kind_alone(world: World) -> None:
    """No token stands in for another: to manage, to confirm, to answer."""
    yes, page = waiting(world, "alice"), invited(world, "bob")
    manage = world.grant("carla").json()["manage_token"]
    confirms, answers = yes["confirmation_token"], page["invitation_token"]
    for token in (confirms, answers):
        body = json.dumps({"manage_token": token, "purpose": "service"}).encode()
        assert world.send("POST", "/v1/withdrawals", body).status_code == 404
    for token in (manage, answers):
        assert confirm(world, token).status_code == 404
    for token in (manage, confirms):
        with pytest.raises(NotFound):
            world.service.answers.answer(token, TICKED)


def test_page_grants_what_was_ticked_and_refuses_the_rest(world: World) -> None:
    """One box ticked of two: one consent by kiosk, one no, and the page is used up."""
    page = invited(world)
    given, _ = world.service.answers.answer(page["invitation_token"], TICKED)
    holds = verify_taken(json.dumps(given).encode(), world.service.key.verify_key)
    assert holds.receipt["undertone:answers"] == page["record"]
    assert holds.receipt["dpv:hasNotice"]["undertone:channel"] == "kiosk"
    assert states(world)["training"]["text"] == "dpv:ConsentRefused"
    assert decided(world, "alice", Purpose.SERVICE) == []
    with pytest.raises(Conflict, match="answered already"):
        world.service.answers.answer(page["invitation_token"], TICKED)


def test_page_without_a_tick_grants_nothing(world: World) -> None:
    """No box, no consent: a no to all, which rule 18 hears."""
    page = invited(world)
    (no,) = world.service.answers.answer(page["invitation_token"], NOTHING)
    assert no["receipt"]["dpv:hasConsentStatus"] == "dpv:ConsentRefused"
    assert world.standing("alice")["grants"] == []


def test_page_takes_no_purpose_that_was_not_asked_and_no_minor(world: World) -> None:
    """A forged box is refused; who does not say that they are of age is not asked further."""
    page = invited(world, age="unknown")
    forged = Ticks(purposes=frozenset({Purpose.OFFERS}), language="en", layer=Layer.FULL)
    with pytest.raises(RequestInvalid, match="not asked for"):
        world.service.answers.answer(page["invitation_token"], forged)
    with pytest.raises(RequestInvalid, match="18 or older"):
        world.service.answers.answer(page["invitation_token"], TICKED)
    world.clock.now += 15 * 60
    with pytest.raises(Conflict, match="time to answer is over"):
        world.service.answers.answer(page["invitation_token"], TICKED)


def test_page_keeps_recording_apart(world: World) -> None:
    """Both boxes ticked are two consents with two receipts."""
    world.approve("recording", dpia="calls")
    page = invited(world, purposes=["service", "recording"], modalities=["voice"])
    both = Ticks(purposes=SERVICE | {Purpose.RECORDING}, language="en", layer=Layer.FULL)
    taken = world.service.answers.answer(page["invitation_token"], both)
    assert [one["receipt"]["dpv:hasPurpose"] for one in taken] == [
        ["undertone:service"],
        ["undertone:recording"],
    ]


def test_page_with_double_opt_in_waits_for_the_message(world: World) -> None:
    """The page alone grants nothing; its answer does not show the token that the message has."""
    page = invited(world, confirm_hours=2)
    token = page["confirmation_token"]
    assert confirm(world, token).status_code == 404, "confirmed before the page was answered"
    taken = world.service.answers.answer(page["invitation_token"], TICKED)
    assert token not in json.dumps(taken)
    assert decided(world, "alice", Purpose.SERVICE) != []
    assert confirm(world, token).status_code == 201
    assert decided(world, "alice", Purpose.SERVICE) == []


def test_nobody_is_asked_again_within_the_months_of_rule_18(world: World) -> None:
    """After a no neither a request nor a page; after the months both; each decision is logged."""
    no = {"subject": "alice", "purposes": ["service"]}
    assert world.as_node("north", "POST", "/v1/refusals", no).status_code == 201
    asked = no | {"modalities": ["text"], "notice_version": 1}
    page = asked | {"channel": "kiosk", "valid_days": 30}
    for path, body in (("/v1/consent-requests", asked), ("/v1/invitations", page)):
        answer = world.as_node("north", "POST", path, body)
        assert answer.status_code == 403
        assert answer.json()["rules"] == ["r18-asked-again"]
        kind = world.service.log.entry(world.service.log.size - 1).event.kind
        assert kind == "decision"
    world.clock.now += 200 * 86_400
    assert world.as_node("north", "POST", "/v1/consent-requests", asked).status_code == 201


def test_expiring_consents_are_listed_and_never_renewed_in_silence(world: World) -> None:
    """Who runs out soon is listed with whether they may be asked; looking renews nothing."""
    world.grant("alice", purposes=["service"], valid_days=20)
    world.grant("bob", purposes=["service"], valid_days=10)
    world.grant("carla", purposes=["service"], valid_days=90)
    world.grant("rosa", "rival", purposes=["service"], valid_days=5)
    crisis: dict[str, Any] = {"vulnerabilities": ["crisis"], "valid_days": 25}
    world.grant("dora", purposes=["service"], **crisis)
    found = world.as_node("north", "GET", "/v1/expiring-consents?within_days=30").json()
    assert [(one["subject"], one["may_be_asked"]) for one in found] == [
        ("bob", True), ("alice", True), ("dora", False),
    ]  # fmt: skip
    assert found[2]["rules"] == ["r18-in-distress"]
    world.clock.now += 20 * 86_400
    assert states(world)["service"]["text"] == "dpv:ConsentExpired"
    assert decided(world, "alice", Purpose.SERVICE) == ["r04-not-in-force"]
    world.grant("alice", purposes=["service"])
    assert states(world)["service"]["text"] == "dpv:RenewedConsentGiven"
    counts = world.service.asking.expiring_counts({"acme", "other"}, within_days=30)
    assert counts == [{"company": "acme", "purpose": "service", "consents": 1}]


def test_consent_commands_answer_misuse_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token's file that is not there, a layer without a language: one line and exit 2."""
    gone, key = str(tmp_path / "none"), str(tmp_path / "key")
    publish = ["notice", "publish", "--version", "1", "--text", "en=x", "--key", key]
    for arguments in (
        ["consent", "confirm", "--token-file", gone],
        ["consent", "expiring", "--token-file", gone],
        [*publish, "--short", "x"],
    ):
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
