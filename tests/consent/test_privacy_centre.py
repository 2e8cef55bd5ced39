"""The customer's pages from outside: what a link may do, what it never tells, how it reads."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from consent.code_picture import code_svg
from consent.privacy_centre.frame import centre_words, frame_of
from consent.privacy_centre.used import copies_of, lines_of
from consent.settings import Party
from policies.vocabulary import RuleId
from policies.words import Language, Reader, rule_pages, say
from tests.consent.conftest import World
from tests.consent.test_confirming import invited, waiting

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MOST_LIX = 40.0
"""Björnsson's LIX at Anderson's eighth grade, in which people turn fourteen."""
MOST_WORDS = 25


def opened(world: World, path: str) -> httpx.Response:
    """Open a page in English."""
    return world.send("GET", path, headers={"Accept-Language": "en"})


def pressed(world: World, path: str, **fields: str) -> httpx.Response:
    """Press a button of a page."""
    return world.send("POST", path, urlencode(fields).encode(), FORM | {"Accept-Language": "en"})


# --- how it reads --------------------------------------------------------------------------------


def lix(text: str) -> float:
    """Return words a sentence plus long words in a hundred (Björnsson 1968; long: over six)."""
    sentences = [one for one in re.split(r"[.!?:]+(?:\s|$)", text) if one.strip()]
    words = re.findall(r"[^\W\d_]+", text)
    return len(words) / len(sentences) + 100 * sum(len(w) > 6 for w in words) / len(words)


@pytest.mark.parametrize("language", list(Language))
def test_words_are_readable_at_fourteen(language: Language) -> None:
    """LIX of all sentences of a language is at most 40, and none has more than 25 words."""
    words = centre_words()[language]
    said = [s for name, s in words.items() if not name.endswith("_format") and s[-1] in ".?!:"]
    whole = " ".join(said)
    assert lix(whole) <= MOST_LIX, f"{language}: {lix(whole):.1f}"
    for text in said:
        for sentence in re.split(r"[.!?:]+(?:\s|$)", text):
            assert len(re.findall(r"[^\W\d_]+", sentence)) <= MOST_WORDS, sentence


def test_measure_tells_hard_from_easy() -> None:
    """A sentence of a statute is far above the bound, so that the test can fail."""
    hard = (
        "Notwithstanding the aforementioned provisions, controllers implementing appropriate "
        "organisational measures shall demonstrate accountability throughout processing operations."
    )
    assert lix(hard) > MOST_LIX + 20


def test_frame_turns_with_the_writing() -> None:
    """Ours are written from left to right; the style asks for start and end alone."""
    assert {frame_of(each)["dir"] for each in Language} == {"ltr"}
    from consent.privacy_centre.frame import HERE  # noqa: PLC0415

    style = (HERE / "static" / "privacy.css").read_text("utf-8")
    assert not re.search(r"(margin|padding|border)-(left|right)|[^-]\b(left|right):", style)


# --- what a link never tells ---------------------------------------------------------------------


def test_links_that_open_nothing_are_not_told_apart(world: World) -> None:
    """Unknown, expired, used and erased: the same bytes and the same status."""
    alice = world.grant("alice", valid_days=1).json()["manage_token"]
    bob = world.grant("bob").json()["manage_token"]
    late, used = invited(world, "carl"), invited(world, "dora")
    answer = pressed(world, f"/consent/{used['invitation_token']}", answer="no")
    assert answer.status_code == 201
    yes = waiting(world, "emil")["confirmation_token"]
    assert pressed(world, f"/confirm/{yes}").status_code == 201
    body = json.dumps({"manage_token": bob, "purpose": None}).encode()
    assert world.send("POST", "/v1/withdrawals", body).status_code == 201
    assert opened(world, f"/my/{alice}").status_code == 200
    world.clock.now += 367 * 86_400
    answers = [
        (opened(world, path), path)
        for path in (
            "/my/nobody", f"/my/{alice}", f"/my/{bob}", f"/my/{alice}/learned",
            f"/my/{alice}/rights", f"/my/{alice}/code.svg", "/my/nobody/code.svg",
            f"/consent/{late['invitation_token']}",
            f"/consent/{used['invitation_token']}", f"/confirm/{yes}", "/consent/nobody",
            "/confirm/nobody", "/asked/nobody", f"/my/{bob}/asked/none",
        )
    ]  # fmt: skip
    seen = {(a.status_code, a.text.replace(path, "")) for a, path in answers}
    assert len(seen) == 1
    assert next(iter(seen))[0] == 404


def test_too_many_wrong_links_are_told_to_wait_and_a_right_one_is_not(world: World) -> None:
    """After thirty wrong links an address gets 429; the holder of a link is served all the same."""
    token = world.grant("alice").json()["manage_token"]
    codes = [opened(world, f"/my/wrong-{number}").status_code for number in range(32)]
    assert codes[0] == 404
    assert codes[-1] == 429
    assert opened(world, f"/my/{token}").status_code == 200


def test_pages_are_framed_by_nobody_stored_nowhere_and_leak_no_address(world: World) -> None:
    """Strict policy without script, no frame, no store, no referrer, no cookie, no pseudonym."""
    token = world.grant("alice").json()["manage_token"]
    for path in (f"/my/{token}", f"/my/{token}/rights", f"/my/{token}/learned", "/my/x", "/check"):
        answer = opened(world, path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src" in policy) == (path == "/check")
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        assert "alice" not in answer.text
        assert not re.search(r"\son\w+=|\sstyle=|<style|https?://", answer.text)


def test_a_link_is_a_picture_for_whoever_has_it(world: World) -> None:
    """It leads to the person's own page, leaks nothing, and stands where the link stands alone.

    The receipt's file, which people hand on to be checked, has neither link nor picture.
    """
    token = world.grant("alice").json()["manage_token"]
    answer = opened(world, f"/my/{token}/code.svg")
    said = centre_words()[Language.ENGLISH]
    base = (world.service.settings.public_url or "https://trust").rstrip("/")
    drawn = code_svg(f"{base}/my/{token}", title=said["code_title"], description=said["take_words"])
    assert answer.text == drawn
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert f'src="/my/{token}/code.svg?language=en"' in opened(world, f"/my/{token}").text
    behind = world.send("GET", f"http://trust/my/{token}/code.svg", headers={"host": "trust"})
    assert behind.text == drawn, "a code leads to TLS, where a proxy ended it too"
    asked = invited(world, "carl")
    done = pressed(
        world, f"/consent/{asked['invitation_token']}", answer="yes", purpose="service", adult="yes"
    ).text
    manage = re.search(r'href="/my/([^?"]+)', done)
    assert manage is not None
    assert f'src="/my/{manage[1]}/code.svg' in done
    for receipt in re.findall(r'name="receipt" value="([^"]+)"', done):
        assert "code.svg" not in receipt


def test_other_methods_do_nothing(world: World) -> None:
    """HEAD, OPTIONS, PUT and a GET with a form's words change nothing."""
    token = world.grant("alice").json()["manage_token"]
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE"):
        assert world.send(method, f"/my/{token}?stop=all").status_code == 405
    opened(world, f"/my/{token}?stop=all")
    assert len(world.standing("alice")["grants"]) == 2


def test_names_of_a_company_are_shown_as_text(make_world: Any) -> None:
    """Markup in a company's name is escaped."""
    party = Party(name="<script>alert(1)</script>", address="-", contact="<b>", authority="&")
    world = make_world(parties={"acme": party})
    world.publish()
    world.approve("service")
    world.enrol("north", "acme")
    token = world.grant("alice", purposes=["service"]).json()["manage_token"]
    page = opened(world, f"/my/{token}").text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


# --- what a link may do --------------------------------------------------------------------------


def test_one_press_stops_one_purpose_or_all_and_gives_a_receipt(world: World) -> None:
    """Each stop is in force at once, and its receipt comes with the page."""
    token = world.grant("alice").json()["manage_token"]
    page = pressed(world, f"/my/{token}", stop="training")
    assert page.status_code == 200
    assert "Stopped." in page.text
    assert 'name="receipt"' in page.text
    assert [g["purpose"] for g in world.standing("alice")["grants"]] == ["service"]
    pressed(world, f"/my/{token}", stop="all")
    assert world.standing("alice")["grants"] == []


def test_receipt_comes_back_as_a_file_only_if_it_is_ours(world: World) -> None:
    """What verifies by our log is a download in three shapes; anything else opens nothing."""
    taken = world.grant("alice").json()
    for shape, start in (("whole", "{"), ("jsonld", "{"), ("proof", "c2sp.org/tlog-proof@v1")):
        answer = pressed(world, "/receipt", receipt=json.dumps(taken), **{"as": shape})
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.text.startswith(start)
    forged = json.dumps(taken | {"record": "0" * 32})
    for odd in (forged, "<script>", ""):
        assert pressed(world, "/receipt", receipt=odd).status_code == 404


@pytest.mark.parametrize(
    ("right", "fields"),
    [
        ("access", {}),
        ("portability", {}),
        ("restriction", {}),
        ("objection", {"purpose": "service"}),
        ("review", {"decision": "d-1", "statement": "no"}),
        ("rectification", {"turn": "t-1", "label": "Pleased"}),
        ("erasure", {"sure": "yes"}),
    ],
)
def test_each_right_is_one_press_and_asked_once(
    world: World, right: str, fields: dict[str, str]
) -> None:
    """A press opens the request at the desk and leads to its page; a second finds the same."""
    token = world.grant("alice").json()["manage_token"]
    first = pressed(world, f"/my/{token}/rights/{right}", **fields)
    assert first.status_code == 303, first.text
    page = opened(world, first.headers["location"])
    assert page.status_code == 200
    assert "Answers so far: 0 of 2" in page.text
    (case,) = world.service.rights.requests()
    assert case.right.value == right
    again = pressed(world, f"/my/{token}/rights/{right}", **fields)
    if right == "erasure":
        assert again.status_code == 404
    else:
        assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize("right", ["objection", "erasure", "review", "rectification"])
def test_a_press_that_lacks_something_is_told_so(world: World, right: str) -> None:
    """Nothing ticked, not sure, of nothing: a sentence, and no request."""
    token = world.grant("alice").json()["manage_token"]
    answer = pressed(world, f"/my/{token}/rights/{right}")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert world.service.rights.requests() == []


def test_a_link_shows_no_other_persons_request(world: World) -> None:
    """The id of somebody else's request opens nothing."""
    mine = world.grant("alice").json()["manage_token"]
    other = world.grant("bob").json()["manage_token"]
    asked = pressed(world, f"/my/{mine}/rights/access").headers["location"]
    case = asked.partition("?")[0].rpartition("/")[2]
    assert opened(world, f"/my/{mine}/asked/{case}").status_code == 200
    for path in (f"/my/{other}/asked/{case}", f"/my/{other}/asked/{case}/file"):
        assert opened(world, path).status_code == 404


def test_hold_is_lifted_by_one_press(world: World) -> None:
    """What is on hold says so, and comes back when its person wants it."""
    token = world.grant("alice").json()["manage_token"]
    pressed(world, f"/my/{token}/rights/restriction")
    assert "on hold" in opened(world, f"/my/{token}").text
    assert world.standing("alice")["restricted"]
    pressed(world, f"/my/{token}", hold="lift")
    assert not world.standing("alice")["restricted"]


def test_uses_are_told_in_words_of_the_rules() -> None:
    """When, what, why, by which rule, what it helped; a cue is what was read, perhaps wrongly."""
    decision = {
        "at": 1_800_000_000, "action": "use", "purpose": "handover", "use": "handover",
        "allowed": True, "rules": ["r07-minor-or-unknown-age"], "decision_id": "d1",
    }  # fmt: skip
    kept = {
        "turn": "t1", "at": 1.0, "purpose": "service", "text": "<b>late</b>", "family": "anger",
        "expressed_cues_of": "frustrated",
    }  # fmt: skip
    by = {"north": {"decisions": [decision], "kept": [kept]}, "trust-service": {"records": []}}
    (line,) = lines_of(by, Language.GERMAN)
    assert line.when == "15.01.2027, 08:00 Uhr (UTC)"
    assert line.helped == "Ihnen wurde ein Mensch angeboten"
    assert "r07" not in line.rules[0]
    (copy,) = copies_of(by, Language.ENGLISH)
    assert copy.cue == "We read signs of anger. That can be wrong."
    assert copy.can_correct


def test_a_reading_that_abstained_names_no_feeling() -> None:
    """Who was not sure says so, in each language, and can be corrected all the same."""
    row = {
        "at": 1.8e9, "turn": "t", "purpose": "service", "text": "hm",
        "expressed_cues_of": None, "family": None,
    }  # fmt: skip
    for language in Language:
        (copy,) = copies_of({"north": {"kept": [row]}}, language)
        assert copy.cue == centre_words()[language]["unsure"]
        assert copy.can_correct


def test_rules_for_customers_lead_back_to_their_page(world: World) -> None:
    """Each rule in the customer's words alone, under the person's own link, which must open."""
    token = world.grant("alice").json()["manage_token"]
    page = opened(world, f"/my/{token}/rules")
    said = [one["words"][Reader.CUSTOMER][Language.ENGLISH] for one in rule_pages()]
    text = html.unescape(page.text)
    assert [one for one in said if one not in text] == []
    assert say(RuleId("r01-workplace"), Reader.OFFICER, Language.ENGLISH) not in page.text
    assert f'href="/my/{token}?language=en"' in page.text
    assert f'href="/my/{token}/rules?language=en"' in opened(world, f"/my/{token}").text
    assert opened(world, "/my/none/rules").status_code == 404


def test_french_keeps_its_signs_with_their_words() -> None:
    """A colon or a question mark never begins a line: the space before it does not break."""
    said = centre_words()[Language.FRENCH].values()
    assert [words for words in said if re.search(r" [?:;!»]|« ", words)] == []


def test_customers_are_addressed_as_in_letters() -> None:
    """German says Sie everywhere: on these pages as in notices, pictures of codes and letters."""
    familiar = re.compile(r"\b(?:[Dd]u|[Dd]ein\w*|[Dd]ir|[Dd]ich)\b")
    said = centre_words()[Language.GERMAN]
    assert [name for name, words in said.items() if familiar.search(words)] == []
