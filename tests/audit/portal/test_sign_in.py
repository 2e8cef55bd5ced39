"""Signing in: what is needed, what is refused, what is remembered and what is logged."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

import pyotp
import pytest

from audit.errors import PasswordRefused
from audit.portal.access import SESSION_COOKIE
from audit.portal.passwords import check_password
from audit.portal.second_factor import SecondFactor
from audit.portal.settings import PortalSettings
from audit.staff import StaffRole
from audit.wrong_attempts import FREE_OF_ADDRESS
from tests.audit.portal.conftest import BEARER, PASSWORD, Desk


def test_an_account_begins_with_its_token_and_signs_in(desk: Desk) -> None:
    """By pages alone: one-time token, password, second factor, recovery codes, signed in."""
    browser = desk.browser()
    token = desk.access.accounts.add("bea", [StaffRole.AUDITOR], by="bootstrap")
    csrf = browser.get("/welcome").text.split('name="csrf" value="')[1].split('"')[0]
    said = {"csrf": csrf, "name": "bea", "token": token}
    shown = browser.post("/welcome", data=said | {"password": PASSWORD}).text
    desk.secrets["bea"] = shown.split('id="secret">')[1].split("<")[0]
    done = browser.post("/welcome/code", data=said | {"code": desk.code("bea")})
    assert done.text.count("<li>") == 10
    assert "Signed in as <strong>bea</strong>" in desk.sign_in("bea").get("/account").text
    again = browser.post("/welcome", data=said | {"password": PASSWORD})
    assert again.status_code == 422, "the token was good once"


@pytest.mark.parametrize(
    "wrong", [{"password": "not hers at all"}, {"code": "000000"}, {"name": "nobody"}, {"code": ""}]
)
def test_a_sign_in_needs_name_password_and_code(desk: Desk, wrong: dict[str, str]) -> None:
    """Any of the three wrong is refused in the same words, and leaves no session."""
    browser = desk.browser()
    answer = browser.post("/sign-in", data=desk.form(browser, "ada") | wrong)
    assert (answer.status_code, SESSION_COOKIE in browser.cookies) == (401, False)
    assert "name, password and code do not belong together" in answer.text
    assert desk.kinds()[-1] == "sign-in-refused"


def test_a_code_is_good_once(desk: Desk) -> None:
    """Whoever saw a code typed cannot use it too."""
    browser, other = desk.browser(), desk.browser()
    form = desk.form(browser, "ada")
    assert browser.post("/sign-in", data=form).status_code == 303
    replayed = desk.form(other, "ada", code=form["code"])
    assert other.post("/sign-in", data=replayed).status_code == 401


def test_a_recovery_code_is_good_once(desk: Desk) -> None:
    """Without the app a recovery code signs in, one time."""
    code = desk.codes["ada"][0]
    for status in (303, 401):
        browser = desk.browser()
        form = desk.form(browser, "ada", code=code)
        assert browser.post("/sign-in", data=form).status_code == status


def test_codes_are_those_of_the_standard() -> None:
    """The step that is found is that of RFC 6238, computed by hand; two steps off is none."""
    factor = SecondFactor(b"k" * 32)
    raw = hmac.new(b"k" * 32, b"ada\0salt", hashlib.sha256).digest()[:20]
    digest = hmac.new(raw, (59 // 30).to_bytes(8), hashlib.sha1).digest()
    at = digest[-1] & 15
    code = f"{(int.from_bytes(digest[at : at + 4]) & 0x7FFFFFFF) % 10**6:06d}"
    assert factor.step("ada", "salt", code, now=59) == 1
    assert factor.step("ada", "salt", code, now=89) == 1
    assert factor.step("ada", "salt", code, now=119) is None
    assert factor.step("bea", "salt", code, now=59) is None
    assert pyotp.TOTP(factor.secret("ada", "salt")).at(59) == code


def test_signing_in_gives_a_new_session(desk: Desk) -> None:
    """An id that was there before is no session after: none can be planted."""
    browser = desk.browser()
    browser.cookies.set(SESSION_COOKIE, "planted", domain="desk.example")
    desk.sign_in("ada", browser)
    planted = desk.browser()
    planted.cookies.set(SESSION_COOKIE, "planted", domain="desk.example")
    assert planted.get("/account").status_code == 401
    first = browser.cookies[SESSION_COOKIE]
    desk.sign_in("ada", browser)
    planted.cookies.set(SESSION_COOKIE, first, domain="desk.example")
    assert planted.get("/account").status_code == 401


def test_the_session_cookie_is_for_this_host_and_no_script(desk: Desk) -> None:
    """`__Host-`, Secure, HttpOnly, SameSite=Lax; the store has its hash and not the id."""
    browser = desk.browser()
    answer = browser.post("/sign-in", data=desk.form(browser, "ada"))
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith(SESSION_COOKIE)]
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    found = b"".join(p.read_bytes() for p in _files(desk))
    assert browser.cookies[SESSION_COOKIE].encode() not in found
    for secret in (PASSWORD, desk.secrets["ada"], *desk.codes["ada"]):
        assert secret.encode() not in found


def _files(desk: Desk) -> list[Path]:
    database = Path(str(desk.access.ledger._engine.url.database))
    return [p for p in database.parent.iterdir() if p.is_file()]


@pytest.mark.parametrize(
    ("pauses_s", "over"), [([1_799.0] * 3, False), ([1_801.0], True), ([1_700.0] * 26, True)]
)
def test_a_session_ends_after_idle_and_absolute_time(
    desk: Desk, pauses_s: list[float], *, over: bool
) -> None:
    """Half an hour without a request ends it, and twelve hours in any case."""
    browser, settings = desk.sign_in("ada"), PortalSettings()
    assert (settings.idle_s, settings.absolute_s) == (1_800, 43_200)
    for pause_s in pauses_s:
        desk.now += pause_s
        answer = browser.get("/account")
    assert answer.status_code == (401 if over else 200)


def test_signing_out_everywhere_ends_every_session(desk: Desk) -> None:
    """The other browser is out too; signing out of one leaves the other."""
    one, two, three = (desk.sign_in("ada") for _ in range(3))
    one.post("/sign-out", data={"csrf": _csrf(one)})
    assert [b.get("/account").status_code for b in (one, two, three)] == [401, 200, 200]
    two.post("/sign-out", data={"csrf": _csrf(two), "everywhere": "1"})
    assert three.get("/account").status_code == 401


def _csrf(browser: object) -> str:
    page: str = browser.get("/account").text  # type: ignore[attr-defined]
    return page.split('name="csrf" value="')[1].split('"', maxsplit=1)[0]


def test_a_change_by_cookie_needs_a_form_of_ours(desk: Desk) -> None:
    """Without token, with another's, or from another origin nothing is changed."""
    browser, other = desk.sign_in("ada"), desk.sign_in("ada")
    before = desk.log.size
    good = {"X-CSRF-Token": _csrf(browser)}
    for headers in (
        {},
        {"X-CSRF-Token": _csrf(other)},
        good | {"Origin": "https://evil.example"},
        good | {"Origin": "null"},
        good | {"Sec-Fetch-Site": "cross-site"},
    ):
        assert browser.post("/change", headers=headers).status_code == 403
    assert desk.log.size == before
    assert (
        browser.post("/change", headers=good | {"Origin": "https://desk.example"}).json() == "ada"
    )
    assert desk.log.size == before + 1


def test_a_form_needs_the_page_it_comes_from(desk: Desk) -> None:
    """Nobody is signed in by another site's form."""
    form = desk.form(desk.browser(), "ada")
    assert desk.browser().post("/sign-in", data=form).status_code == 403


def test_guessing_waits_longer_and_longer_and_never_for_ever(desk: Desk) -> None:
    """Five wrong, then half a minute, a minute, two; at most a quarter of an hour."""
    waits = []
    for _ in range(16):
        browser = desk.browser()
        form = desk.form(browser, "ada", code="000000")
        answer = browser.post("/sign-in", data=form)
        if answer.status_code == 429:
            waits.append(_wait_s(answer.text))
            assert answer.headers["retry-after"] == str(waits[-1])
            desk.now += waits[-1] + 1
            answer = browser.post("/sign-in", data=form)
        assert answer.status_code == 401
    assert waits[:4] == [30, 60, 120, 240]
    assert max(waits) == 900
    assert desk.kinds().count("sign-in-blocked") == 12
    desk.now += 901
    desk.sign_in("ada")


def _wait_s(text: str) -> int:
    return int(text.split("wait ")[1].split(" s", maxsplit=1)[0])


def test_wrong_tokens_are_told_when_to_come_again(desk: Desk) -> None:
    """429 has Retry-After, for a program as for a browser; the token that was right goes on."""
    assert desk.browser().get("/v1/staff", headers=BEARER).status_code == 200
    for number in range(FREE_OF_ADDRESS):
        wrong = {"Authorization": f"Bearer guess-{number}"}
        assert desk.browser().get("/v1/staff", headers=wrong).status_code == 401
    for accept in ("application/json", "text/html"):
        answer = desk.browser().get("/v1/staff", headers={**wrong, "Accept": accept})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert desk.browser().get("/v1/staff", headers=BEARER).status_code == 200


def test_strangers_cannot_keep_an_officer_out(desk: Desk) -> None:
    """From the browser where she signed in before, Ada gets in while the account waits."""
    hers = desk.sign_in("ada")
    stranger = desk.browser()
    form = desk.form(stranger, "ada", code="000000")
    statuses = [stranger.post("/sign-in", data=form).status_code for _ in range(7)]
    assert statuses[-1] == 429
    assert desk.sign_in("ada", hers).get("/account").status_code == 200


def test_a_closed_account_is_out_at_once(desk: Desk) -> None:
    """Its session, its token and its password are worth nothing from then on."""
    browser = desk.sign_in("ada")
    wanted = {"name": "ada", "password": PASSWORD, "code": desk.code("ada"), "roles": ["officer"]}
    made = desk.browser().post("/v1/tokens", json=wanted).json()
    bearer = {"Authorization": f"Bearer {made['bearer']}"}
    assert desk.browser().post("/change", headers=bearer).json() == "ada"
    operator = desk.browser()
    assert operator.post("/v1/staff/ada/disable", headers=BEARER).status_code == 200
    assert browser.get("/account").status_code == 401
    assert desk.browser().post("/change", headers=bearer).status_code == 401
    again = desk.browser()
    assert again.post("/sign-in", data=desk.form(again, "ada")).status_code == 401


def test_a_token_has_no_more_than_its_owner(desk: Desk) -> None:
    """A role one has not is refused; a token ends with its days, and when it is revoked."""
    wanted: dict[str, Any] = {"name": "ada", "password": PASSWORD, "roles": ["operator"]}
    asked = desk.browser().post("/v1/tokens", json=wanted | {"code": desk.code("ada")})
    assert asked.status_code == 422
    wanted |= {"roles": ["officer"]}

    def make() -> dict[str, str]:
        answer = desk.browser().post(
            "/v1/tokens", json=wanted | {"code": desk.code("ada"), "days": 1}
        )
        return dict(answer.json())

    first, second = make(), make()
    bearer = {"Authorization": f"Bearer {first['bearer']}"}
    assert desk.browser().get("/v1/staff", headers=bearer).status_code == 200
    revoked = f"/v1/tokens/{first['token']}/revocation"
    assert desk.browser().post(revoked, headers=bearer).status_code == 200
    assert desk.browser().get("/v1/staff", headers=bearer).status_code == 401
    bearer = {"Authorization": f"Bearer {second['bearer']}"}
    desk.now += 86_401
    assert desk.browser().get("/v1/staff", headers=bearer).status_code == 401


@pytest.mark.parametrize(
    "password",
    ["short", "x" * 129, "password1234", "Password!2026", "123456789012", "aaaaaaaaaaaa",
     "ada.lovelace1843", "abcdefghijklm", "qwertyuiop[]12", "passwordpassword", "zaq12wsxcde34",
     "Willkommen2026!", "undertone2026", "drowssapdrowssap", "p@ssw0rdp@ssw0rd"],
)  # fmt: skip
def test_a_password_tried_first_is_refused(password: str) -> None:
    """Short, endless, on every list, a row of keys, or the own name."""
    with pytest.raises(PasswordRefused) as refused:
        check_password(password, name="ada.lovelace")
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", [PASSWORD, "вчера шёл тёплый дождь", "correct horse battery"])
def test_a_password_needs_no_digits_or_signs(password: str) -> None:
    """Length counts; any language will do."""
    check_password(password, name="ada")


def test_pages_forbid_foreign_content_and_frames(desk: Desk) -> None:
    """The strict policy is on pages, errors and answers alike, and pages are not stored."""
    browser = desk.browser()
    for path in ("/sign-in", "/v1/staff", "/portal.css", "/none"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "object-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] in {"same-origin", "no-referrer"}
        assert headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
        assert not [name for name in headers if name.startswith("access-control-")]
    shown = browser.get("/sign-in")
    assert shown.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", shown.text)


@pytest.mark.parametrize("onward", ["https://evil.example", "//evil.example", "/\\evil", "x"])
def test_signing_in_leads_to_no_other_site(desk: Desk, onward: str) -> None:
    """What is not a path of ours becomes the front page."""
    browser = desk.browser()
    form = desk.form(browser, "ada", next=onward)
    assert browser.post("/sign-in", data=form).headers["location"] == "/"


def test_a_page_shows_typed_text_as_text(desk: Desk) -> None:
    """A name with markup in it is shown, not run."""
    shown = desk.browser().get("/sign-in", params={"next": '/"><b>x'}).text
    assert "<b>x" not in shown


def test_a_page_for_staff_sends_a_person_to_sign_in(desk: Desk) -> None:
    """A browser is sent to the form and comes back to where it was going."""
    answer = desk.browser().get("/account", headers={"Accept": "text/html"})
    assert answer.headers["location"] == "/sign-in?next=/account"


def test_signing_out_leaves_nothing_in_the_browser(desk: Desk) -> None:
    """What the browser cached and stored of the pages is cleared with the session."""
    browser = desk.sign_in("ada")
    answer = browser.post("/sign-out", data={"csrf": _csrf(browser)})
    assert answer.headers["clear-site-data"] == '"cache", "storage"'


def test_a_session_is_seen_and_ended_from_another(desk: Desk) -> None:
    """The page lists where one is signed in; ending the other leaves this one."""
    here, other = desk.sign_in("ada"), desk.sign_in("ada")
    desk.staff("bea", StaffRole.AUDITOR)
    foreign = desk.sign_in("bea")
    shown = here.get("/account/sessions").text
    assert shown.count("this browser") == 1
    (named,) = re.findall(r'name="session" value="([0-9a-f]{64})"', shown)
    saved = here.get("/account/sessions?format=csv").text
    assert sorted(row.rpartition(",")[2] for row in saved.splitlines()[1:]) == ["no", "yes"]
    assert named not in saved
    said = {"csrf": _csrf(foreign), "session": named}
    assert foreign.post("/account/sessions", data=said).status_code == 404
    assert other.get("/account").status_code == 200, "another's session is not hers to end"
    here.post("/account/sessions", data=said | {"csrf": _csrf(here)})
    assert [b.get("/account").status_code for b in (here, other)] == [200, 401]


def test_a_password_changes_with_the_old_one_and_a_code(desk: Desk) -> None:
    """Neither alone is enough; afterwards every session ends and the old one opens nothing."""
    browser, other = desk.sign_in("ada"), desk.sign_in("ada")
    said = {"csrf": _csrf(browser), "password": PASSWORD, "new": "seven grey geese land"}
    for wrong in ({"code": "000000"}, {"password": "not hers at all"}, {"new": "short"}):
        form = {**said, "code": desk.code("ada"), **wrong}
        assert browser.post("/account/password", data=form).status_code == 422
    assert other.get("/account").status_code == 200
    done = browser.post("/account/password", data=said | {"code": desk.code("ada")})
    assert done.status_code == 200
    assert desk.kinds()[-1] == "staff-changed"
    assert [b.get("/account").status_code for b in (browser, other)] == [401, 401]
    again = desk.browser()
    assert again.post("/sign-in", data=desk.form(again, "ada")).status_code == 401
    form = desk.form(again, "ada", password=said["new"])
    assert again.post("/sign-in", data=form).status_code == 303
