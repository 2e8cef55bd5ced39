"""Signing in by an identity provider: a real one on loopback, and each way to cheat."""

from __future__ import annotations

import base64
import hashlib
import html
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey
from starlette.testclient import TestClient

from audit.errors import AccountsUnavailable
from audit.portal.access import SESSION_COOKIE
from audit.portal.cookies import Cookies
from audit.portal.oidc import IdentityProvider
from audit.portal.settings import PortalSettings, ProviderSettings
from audit.staff import StaffRole
from tests.audit.portal.conftest import Desk
from tests.audit.portal.identity_provider import (
    CLIENT,
    RETURN,
    SECRET,
    Provider,
    rsa_key,
    serving,
)

ADA = "8d1f-ada"


@dataclass(slots=True, kw_only=True)
class Town:
    """A desk, the provider it knows, and the browsers between them."""

    desk: Desk
    provider: Provider
    authority: Path

    def begin(self, browser: TestClient, *, going: str = "/account") -> str:
        """Return where the desk sends a browser."""
        answer = browser.get("/sign-in/provider", params={"next": going})
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def at_provider(self, address: str) -> str:
        """Let the provider answer; return where it sends the browser, at the desk."""
        answer = httpx.get(address, verify=_trusting(self.authority), trust_env=False)
        assert answer.status_code == 302, answer.text
        back = answer.headers["location"]
        assert back.startswith(RETURN + "?")
        return str(back.removeprefix("https://desk.example"))

    def sign_in(self, browser: TestClient | None = None, **how: str) -> TestClient:
        """Return a browser that went the whole way."""
        browser = browser or self.desk.browser()
        answer = browser.get(self.at_provider(self.begin(browser, **how)))
        assert answer.status_code == 303, answer.text
        return browser

    def refused(self, *, status: int = 401) -> str:
        """Go the whole way, see that it ends without a session, and return the page."""
        browser = self.desk.browser()
        answer = browser.get(self.at_provider(self.begin(browser)))
        assert answer.status_code == status, answer.text
        assert SESSION_COOKIE not in browser.cookies
        assert self.desk.kinds()[-1] == "sign-in-refused"
        return str(answer.text)


def _trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


@pytest.fixture
def town(tmp_path: Path, make_desk: Callable[..., Desk]) -> Iterator[Town]:
    """Return a desk that takes officers and auditors from its provider."""
    folder = tmp_path / "pki"
    folder.mkdir()
    desks: list[Desk] = []
    with serving(folder, lambda: desks[0].now) as provider:
        desks.append(make_desk(PortalSettings(provider=_settings(folder, provider.issuer))))
        provider.people[ADA] = {
            "preferred_username": "Ada@acme.example",
            "groups": ["officers"],
            "amr": ["pwd", "mfa"],
        }
        provider.sign_in_as = ADA
        yield Town(desk=desks[0], provider=provider, authority=folder / "authority.crt")


def _settings(folder: Path, issuer: str, **more: Any) -> ProviderSettings:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    values: dict[str, Any] = {
        "issuer": issuer,
        "client_id": CLIENT,
        "client_secret_file": secret,
        "redirect_uri": RETURN,
        "authority": folder / "authority.crt",
        "roles": {"officers": ["officer"], "auditors": ["auditor"]},
    }
    return ProviderSettings(**(values | more))


# -- the honest way ---------------------------------------------------------------------


def test_somebody_signs_in_by_the_provider(town: Town) -> None:
    """Code, PKCE and nonce; the account is made with the roles that the settings give."""
    browser = town.desk.browser()
    address = town.begin(browser, going="/account?a=1")
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_type"] == ["code"]
    answer = browser.get(town.at_provider(address))
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?a=1")
    assert "Signed in as <strong>ada</strong> (officer)" in browser.get("/account").text
    assert town.desk.kinds()[-2:] == ["staff-changed", "signed-in"]
    (form,) = town.provider.forms
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert asked["code_challenge"] == [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()]


def test_the_next_sign_in_is_the_same_account(town: Town) -> None:
    """Known by issuer and subject, even under another name at the provider."""
    town.sign_in()
    town.provider.people[ADA]["preferred_username"] = "countess"
    assert "<strong>ada</strong>" in town.sign_in().get("/account").text
    assert [row["name"] for row in town.desk.access.accounts.every()] == ["ada"]


@pytest.mark.parametrize("name", ["ada", "bootstrap", "Lovelace, Ada", "", "<b>"])
def test_a_providers_name_opens_no_account_that_is_there(town: Town, name: str) -> None:
    """A name that is taken, reserved or no word gets one that nobody else can have."""
    town.desk.staff("ada", StaffRole.OPERATOR)
    town.provider.people[ADA]["preferred_username"] = name
    page = town.sign_in().get("/account").text
    assert "Signed in as <strong>person-" in page
    assert "(officer)" in page


@pytest.mark.parametrize("groups", [["strangers"], [], None, "officers-elsewhere", [["officers"]]])
def test_a_word_that_the_settings_do_not_name_gives_nothing(town: Town, groups: object) -> None:
    """Deny by default: no role, no account, no session."""
    town.provider.people[ADA] |= {"preferred_username": "ada", "groups": groups}
    assert "open nothing here" in town.refused(status=403)
    assert town.desk.access.accounts.every() == []


SILENT: dict[str, dict[str, Any]] = {
    "says nothing": {"amr": None},
    "a password alone": {"amr": ["pwd"]},
    "one factor, whichever": {"amr": ["otp"]},
    "a word in another word": {"amr": ["mfa-not"]},
    "a list in a list": {"amr": [["mfa"]]},
    "a class that nobody named": {"amr": None, "acr": "two-factors"},
}


@pytest.mark.parametrize("silent", SILENT)
def test_a_provider_must_say_that_it_asked_for_a_second_factor(town: Town, silent: str) -> None:
    """As every local account has one; whoever comes without is told what to do, and is nobody."""
    town.provider.claims = SILENT[silent]
    told = town.refused()
    assert "does not say that it asked for a second factor: set one up" in told
    assert "[portal.provider.second_factor]" in told, "who can mend it is told where"
    assert town.desk.last("sign-in-refused")["reason"] == "second-factor"
    assert town.desk.access.accounts.every() == []


def test_the_settings_say_what_stands_for_a_second_factor(
    tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """The provider's own class, which is asked for; other words of its then do not count."""
    folder = tmp_path / "pki"
    folder.mkdir()
    desks: list[Desk] = []
    with serving(folder, lambda: desks[0].now) as provider:
        said = {"second_factor": {"acr": ["gold", "silver"], "amr": ["hwk"]}}
        settings = _settings(folder, provider.issuer, **said)
        desks.append(make_desk(PortalSettings(provider=settings)))
        town = Town(desk=desks[0], provider=provider, authority=folder / "authority.crt")
        provider.people[ADA] = {"groups": ["officers"], "acr": "bronze", "amr": ["mfa"]}
        provider.sign_in_as = ADA
        address = town.begin(desks[0].browser())
        assert parse_qs(urlsplit(address).query)["acr_values"] == ["gold silver"]
        assert "second factor" in town.refused()
        for claims in ({"acr": "silver", "amr": None}, {"amr": ["pwd", "hwk"]}):
            provider.claims = claims
            town.sign_in()
        rows = desks[0].access.ledger.sessions("person-" + _digest(provider.issuer))
        assert sorted(row.amr for row in rows) == ["hwk pwd", "mfa"]


def test_an_organisation_may_answer_for_the_second_factor_itself(
    tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """With both lists empty nothing is demanded, and nothing is made up: no word is kept."""
    folder = tmp_path / "pki"
    folder.mkdir()
    desks: list[Desk] = []
    with serving(folder, lambda: desks[0].now) as provider:
        nothing: dict[str, Any] = {"second_factor": {"acr": [], "amr": []}}
        settings = _settings(folder, provider.issuer, **nothing)
        desks.append(make_desk(PortalSettings(provider=settings)))
        town = Town(desk=desks[0], provider=provider, authority=folder / "authority.crt")
        provider.people[ADA], provider.sign_in_as = {"groups": ["officers"]}, ADA
        town.sign_in()
        (row,) = desks[0].access.ledger.sessions("person-" + _digest(provider.issuer))
        assert (row.amr, row.proven_at) == ("", None)


def _digest(issuer: str) -> str:
    return hashlib.sha256(f"{issuer}\0{ADA}".encode()).hexdigest()[:20]


def test_roles_follow_the_provider(town: Town) -> None:
    """At each sign-in the roles are read anew; who has none any more is out everywhere."""
    before = town.sign_in()
    town.provider.people[ADA]["groups"] = ["auditors", "officers"]
    assert "(auditor, officer)" in town.sign_in().get("/account").text
    town.provider.people[ADA]["groups"] = []
    assert "open nothing here" in town.refused(status=403)
    assert before.get("/account").status_code == 401


def test_a_closed_account_does_not_come_in(town: Town) -> None:
    """What an operator closed, the provider does not open."""
    browser = town.sign_in()
    town.desk.access.accounts.disable("ada", by="bootstrap")
    assert browser.get("/account").status_code == 401
    assert "closed" in town.refused()


def test_the_providers_keys_may_rotate(town: Town) -> None:
    """A new key is fetched when a token names it; with ES256 and RS256."""
    town.sign_in()
    town.desk.now += 31
    town.provider.rotate(rsa_key())
    town.sign_in()
    town.desk.now += 31
    town.provider.rotate(keep=True)
    town.sign_in()
    assert town.provider.asked.count("keys") == 3


def test_one_may_sign_out_at_the_provider_too(town: Town) -> None:
    """Signing out here ends the session, and shows the way out there, and back to this site."""
    browser = town.sign_in()
    csrf = browser.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
    answer = browser.post("/sign-out", data={"csrf": csrf}, headers={"host": "evil.example"})
    page = html.unescape(answer.text)
    assert f"{town.provider.issuer}/leave?client_id={CLIENT}" in page
    back = urlencode({"post_logout_redirect_uri": f"https://{urlsplit(RETURN).netloc}/sign-in"})
    assert back in page, "as the settings say, whatever the Host header does"
    assert "evil" not in page
    assert browser.get("/account").status_code == 401


def test_signing_in_by_the_provider_gives_a_new_session(town: Town) -> None:
    """An id that was there before is no session after."""
    browser = town.desk.browser()
    browser.cookies.set(SESSION_COOKIE, "planted", domain="desk.example")
    town.sign_in(browser)
    planted = town.desk.browser()
    planted.cookies.set(SESSION_COOKIE, "planted", domain="desk.example")
    assert planted.get("/account").status_code == 401


# -- attacks on the attempt ---------------------------------------------------------------


def test_an_answer_is_good_once(town: Town) -> None:
    """State and code of an attempt that ended are worth nothing, in the same browser too."""
    browser = town.desk.browser()
    browser.get("/sign-in")
    visit = browser.cookies[Cookies().visit]
    back = town.at_provider(town.begin(browser))
    assert browser.get(back).status_code == 303
    again = town.desk.browser()
    again.cookies.set(Cookies().visit, visit, domain="desk.example")
    assert again.get(back).status_code == 401
    assert len(town.provider.forms) == 1, "no code was sent for the second"


def test_a_failed_answer_is_used_up_too(town: Town) -> None:
    """Nobody gets a second try with one attempt."""
    browser = town.desk.browser()
    back = town.at_provider(town.begin(browser))
    state = parse_qs(urlsplit(back).query)["state"][0]
    wrong = urlencode({"state": state, "code": "guessed", "iss": town.provider.issuer})
    assert browser.get(f"/sign-in/provider/return?{wrong}").status_code == 401
    assert browser.get(back).status_code == 401


def test_an_answer_belongs_to_the_browser_that_began(town: Town) -> None:
    """Nobody is signed in as somebody else by a link (login CSRF)."""
    attacker, victim = town.desk.browser(), town.desk.browser()
    back = town.at_provider(town.begin(attacker))
    victim.get("/sign-in")
    assert victim.get(back).status_code == 401
    assert SESSION_COOKIE not in victim.cookies
    assert town.provider.forms == []


def test_an_attempt_grows_old(town: Town) -> None:
    """Ten minutes, then one begins again."""
    browser = town.desk.browser()
    address = town.begin(browser)
    town.desk.now += 601
    assert browser.get(town.at_provider(address)).status_code == 401
    assert town.provider.forms == []


@pytest.mark.parametrize("query", ["", "state=x&code=y", "state=x", "error=access_denied"])
def test_an_answer_to_no_question_is_refused(town: Town, query: str) -> None:
    """Whatever stands in it, a state that was not given out ends there."""
    browser = town.desk.browser()
    assert browser.get(f"/sign-in/provider/return?{query}").status_code == 401
    assert town.provider.forms == []


@pytest.mark.parametrize("issuer", ["https://evil.example", "", None])
def test_an_answer_of_another_provider_is_refused(town: Town, issuer: str | None) -> None:
    """Mix-up (RFC 9207): the code goes to nobody before it is known whose it is."""
    town.provider.names_itself = False
    browser = town.desk.browser()
    back = town.at_provider(town.begin(browser))
    back += "" if issuer is None else "&" + urlencode({"iss": issuer})
    assert browser.get(back).status_code == 401
    assert town.provider.forms == []


def test_a_code_of_another_attempt_is_refused(town: Town) -> None:
    """PKCE: a code that was stolen from one attempt does not fit another."""
    thief = town.desk.browser()
    stolen = parse_qs(urlsplit(town.at_provider(town.begin(town.desk.browser()))).query)["code"][0]
    state = parse_qs(urlsplit(town.begin(thief)).query)["state"][0]
    said = urlencode({"state": state, "code": stolen, "iss": town.provider.issuer})
    assert "does not take this code" in thief.get(f"/sign-in/provider/return?{said}").text
    assert len(town.provider.forms) == 1


def test_guessing_answers_must_wait(town: Town) -> None:
    """After thirty wrong answers the address waits; the right ones were never counted."""
    browser, wrong = town.desk.browser(), "/sign-in/provider/return?state=x"
    assert {browser.get(wrong).status_code for _ in range(29)} == {401}
    for _ in range(3):
        town.sign_in()
    assert [browser.get(wrong).status_code for _ in range(2)] == [401, 429]
    assert town.desk.kinds().count("sign-in-blocked") == 1


def test_beginning_without_end_must_wait(town: Town) -> None:
    """A hundred attempts that never come back, and the address waits."""
    browser = town.desk.browser()
    answers = [browser.get("/sign-in/provider").status_code for _ in range(102)]
    assert (answers[0], answers[-1]) == (303, 429)


# -- attacks on the token -----------------------------------------------------------------

LIES: dict[str, dict[str, Any]] = {
    "the nonce of another attempt": {"nonce": "f" * 64},
    "no nonce": {"nonce": None},
    "a nonce that is a list": {"nonce": ["f" * 64]},
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": ["another-client"]},
    "several audiences without a party": {"aud": [CLIENT, "another-client"]},
    "another party": {"aud": [CLIENT, "other"], "azp": "other"},
    "no audience": {"aud": None},
    "expired": {"exp": 1_800_000_000 - 3_600},
    "no end": {"exp": None},
    "an end that is a word": {"exp": "never"},
    "issued in the future": {"iat": 1_800_000_000 + 3_600},
    "not yet good": {"nbf": 1_800_000_000 + 3_600},
    "nobody": {"sub": None},
    "an empty subject": {"sub": ""},
    "another access token": {"at_hash": "A" * 22},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_does_not_hold_is_refused(town: Town, lie: str) -> None:
    """Signed by the provider itself, and still not for us, now, for this attempt."""
    town.provider.claims = LIES[lie]
    assert "identity token" in town.refused()
    assert town.desk.access.accounts.every() == []


def test_a_token_without_signature_is_refused(town: Town) -> None:
    """`none` is no algorithm of ours."""
    town.provider.header = {"alg": "none"}
    assert "not signed as it must be" in town.refused()


def test_a_token_with_a_broken_signature_is_refused(town: Town) -> None:
    """The bytes must be those that the key signed."""
    town.provider.signs = False
    assert "not signed as it must be" in town.refused()


def test_a_token_of_an_unknown_key_is_refused(town: Town) -> None:
    """A key that the provider does not publish signs nothing, whatever it calls itself."""
    town.provider.signer = ECKey.generate_key("P-256", {"alg": "ES256"}, auto_kid=True)
    assert "not signed as it must be" in town.refused()
    town.provider.header = {"kid": town.provider.key.kid}
    assert "not signed as it must be" in town.refused()


def test_forged_keys_do_not_hammer_the_provider(town: Town) -> None:
    """For an unknown key it is asked again once, then not for half a minute."""
    town.sign_in()
    town.desk.now += 31
    town.provider.signer = ECKey.generate_key("P-256", {"alg": "ES256"}, auto_kid=True)
    for _ in range(5):
        town.refused()
    assert town.provider.asked.count("keys") == 2


def test_a_secret_is_no_signature(town: Town) -> None:
    """HMAC with the client's secret, which whoever runs the client knows, is refused."""
    town.provider.signer = OctKey.import_key(SECRET, {"alg": "HS256", "kid": "x"})
    assert "not signed as it must be" in town.refused()


def test_a_clock_may_be_a_little_off(town: Town) -> None:
    """A minute either way by default, and not more."""
    now = int(town.desk.now)
    town.provider.claims = {"iat": now + 50, "exp": now + 300}
    town.sign_in()
    town.provider.claims = {"iat": now - 300, "exp": now - 50}
    town.sign_in()
    for claims in ({"iat": now + 70, "exp": now + 300}, {"iat": now - 300, "exp": now - 70}):
        town.provider.claims = claims
        town.refused()


# -- the provider itself --------------------------------------------------------------------


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://localhost/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_provider_that_is_not_as_it_says_is_not_used(town: Town, lie: dict[str, Any]) -> None:
    """Another issuer, or an endpoint without TLS: nobody is sent there."""
    town.provider.metadata = lie
    answer = town.desk.browser().get("/sign-in/provider")
    assert answer.status_code == 503
    assert 'name="password"' in answer.text, "whoever has a local account is not shut out"


def test_a_provider_of_another_authority_is_not_used(town: Town, tmp_path: Path) -> None:
    """Its certificate must be of the authority that the settings name."""
    folder = tmp_path / "pki"
    settings = _settings(folder, town.provider.issuer, authority=None)
    provider = IdentityProvider(settings, clock=lambda: town.desk.now)
    with pytest.raises(Exception, match="does not answer"):
        provider.leave(back_to="/")


def test_local_accounts_work_while_the_provider_is_away(town: Town) -> None:
    """The page offers both; a password needs no provider."""
    town.desk.staff("bea", StaffRole.AUDITOR)
    town.provider.metadata = {"issuer": "https://elsewhere.example"}
    assert "/sign-in/provider?next=" in town.desk.browser().get("/sign-in").text
    assert town.desk.sign_in("bea").get("/account").status_code == 200


def test_without_a_provider_there_is_no_such_way(desk: Desk) -> None:
    """The routes say so, and the page does not offer it."""
    assert "/sign-in/provider" not in desk.browser().get("/sign-in").text
    assert desk.browser().get("/sign-in/provider").status_code == 404
    assert desk.browser().get("/sign-in/provider/return?state=x").status_code == 404


def test_the_clients_secret_is_private(tmp_path: Path) -> None:
    """A file that others may read, or that is empty, is refused at the start."""
    secret = tmp_path / "secret"
    settings = _settings(tmp_path, "https://login.example", authority=None)
    secret.chmod(0o644)
    with pytest.raises(AccountsUnavailable, match="0600"):
        IdentityProvider(settings, clock=lambda: 0.0)
    secret.chmod(0o600)
    secret.write_text("")
    with pytest.raises(AccountsUnavailable, match="0600"):
        IdentityProvider(settings, clock=lambda: 0.0)


def test_nothing_of_a_token_is_kept(town: Town, tmp_path: Path) -> None:
    """Neither state, nonce, code nor token is in a file of the service."""
    browser = town.desk.browser()
    back = town.at_provider(town.begin(browser))
    held = parse_qs(urlsplit(back).query)
    (code,) = town.provider.codes.values()
    files = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.is_file())
    for secret in (held["state"][0], held["code"][0], str(code.nonce), SECRET):
        assert secret.encode() not in files
