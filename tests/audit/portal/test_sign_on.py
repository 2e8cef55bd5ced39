"""Single sign-on between our two sites, the honest way: in at one is in at the other."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from audit.portal.cookies import Cookies
from audit.portal.sign_on import ONE_FACTOR, TWO_FACTORS
from tests.audit.portal.two_sites import CENTRE, Pair, pair

__all__ = ["pair"]


def test_whoever_is_signed_in_at_home_is_in_at_the_centre(pair: Pair) -> None:
    """Nothing is typed; name and role come along, and both logs say so."""
    _, centre = pair.at_both()
    assert "Signed in as <strong>ada</strong> (officer)" in centre.get("/account").text
    assert pair.home.last("sign-on") == {
        "staff": "ada",
        "client": "centre",
        "step": "allowed",
        "roles": ["officer"],
        "acr": TWO_FACTORS,
    }
    signed_in = pair.centre.last("signed-in")
    assert signed_in == {"staff": "ada", "method": "provider", "roles": ["officer"]}


def test_whoever_is_nobody_signs_in_once_at_home(pair: Pair) -> None:
    """The home asks, and leads on by a page: Chromium lets no form's redirect leave a site."""
    home, centre = pair.browser(pair.home), pair.browser(pair.centre)
    address = pair.asks(centre, "/account/sessions?a=1")
    answer = home.get(address)
    asked = answer.headers["location"]
    assert asked.startswith("/sign-in?next=/sign-on%3F"), asked
    going = parse_qs(urlsplit(asked).query)["next"][0]
    assert going == address
    assert "You sign in here for both sites" in home.get(asked).text
    answer = home.post("/sign-in", data=pair.home.form(home, "ada", next=going))
    pair.centre.now = pair.home.now
    assert (answer.status_code, "location" in answer.headers) == (200, False)
    assert answer.headers["content-security-policy"].count("form-action 'self';") == 1
    refresh = answer.text.split('http-equiv="refresh" content="0; url=')[1].split('"')[0]
    assert refresh.replace("&amp;", "&") == address
    answer = centre.get(pair.answers(home, address))
    assert answer.headers["location"] == "/account/sessions?a=1"
    assert centre.get("/account").status_code == HTTPStatus.OK


def test_the_token_says_who_and_how_and_nothing_else(pair: Pair) -> None:
    """Name and roles, two factors and when; the subject is no name, and the same next time."""
    browser = pair.at_home()
    began = pair.now
    pair.wait(40)
    told = pair.redeem(pair.code(browser, nonce="n-1")).json()
    claims = pair.claims(told["id_token"])
    assert claims["auth_time"] == int(began)
    assert claims["iat"] == int(pair.now)
    assert 0 < claims["exp"] - claims["iat"] <= 120
    assert (claims["acr"], claims["amr"]) == (TWO_FACTORS, ["mfa", "otp", "pwd"])
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (pair.home_url, "centre", "n-1")
    assert (claims["preferred_username"], claims["roles"]) == ("ada", ["officer"])
    known = "iss aud sub iat exp nonce sid acr amr auth_time preferred_username roles at_hash"
    assert set(claims) == set(known.split())
    assert [len(bytes.fromhex(claims[name])) for name in ("sub", "sid")] == [32, 32]  # no name
    assert claims["sub"] != hashlib.sha256(b"ada").hexdigest()
    again = pair.claims(pair.redeem(pair.code(pair.at_home())).json()["id_token"])
    assert again["sub"] == claims["sub"]
    assert again["sid"] != claims["sid"]


def test_a_session_without_a_second_factor_is_said_to_have_none(pair: Pair) -> None:
    """As after a provider of the home's that said nothing; the centre then refuses."""
    account = pair.home.access.accounts.known("bea")
    session = pair.home.access.sessions.open(account, method="provider")
    home, centre = pair.browser(pair.home), pair.browser(pair.centre)
    home.cookies.set(Cookies().session, session, domain="localhost.local")
    claims = pair.claims(pair.redeem(pair.code(home)).json()["id_token"])
    assert claims["acr"] == ONE_FACTOR
    assert not {"amr", "auth_time"} & claims.keys()
    answer = centre.get(pair.answers(home, pair.asks(centre)))
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert "second factor" in answer.text
    assert pair.centre.last("sign-in-refused")["reason"] == "second-factor"


def test_a_role_that_the_centre_does_not_admit_is_told_so(pair: Pair) -> None:
    """A page that says what to do, and no session."""
    home, centre = pair.at_home("otto"), pair.browser(pair.centre)
    answer = centre.get(pair.answers(home, pair.asks(centre)))
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "open nothing here: ask your operator" in answer.text
    assert CENTRE.session not in centre.cookies
    assert pair.centre.last("sign-in-refused")["reason"] == "role"


def test_what_the_provider_says_of_itself_is_what_it_does(pair: Pair) -> None:
    """Codes, S256 and one signature; endpoints of its own address; a key without its secret."""
    browser = pair.browser(pair.home)
    said = browser.get("/.well-known/openid-configuration").json()
    assert said["issuer"] == pair.home_url
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["response_types_supported"] == ["code"]
    assert said["token_endpoint_auth_methods_supported"] == ["client_secret_basic"]
    assert all(v.startswith(pair.home_url + "/") for n, v in said.items() if n.endswith("endpoint"))
    (key,) = browser.get("/sign-on/keys").json()["keys"]
    assert key["alg"] == said["id_token_signing_alg_values_supported"][0] == "ES256"
    assert "d" not in key


def test_a_service_without_the_setting_signs_nobody_in_elsewhere(pair: Pair) -> None:
    """Its routes say that they are not there."""
    browser = pair.browser(pair.centre)
    for path in ("/.well-known/openid-configuration", "/sign-on", "/sign-on/keys"):
        assert browser.get(path).status_code == HTTPStatus.NOT_FOUND
    assert browser.post("/sign-on/token").status_code == HTTPStatus.NOT_FOUND
    answer = pair.browser(pair.home).post("/sign-in/provider/logout", data={"logout_token": "x"})
    assert answer.status_code == HTTPStatus.NOT_FOUND
