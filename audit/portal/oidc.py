"""An identity provider as OpenID Connect Core 1.0 has it: the authorization code flow, PKCE.

`IdentityProvider` asks it who somebody is and believes nothing that is not signed for us, now,
for this one attempt. It keeps neither tokens nor accounts; whose account it is, and what they
may do, is `audit.portal.provider_sign_in`.
"""

from __future__ import annotations

import hmac
import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from authlib.oidc.core.claims import JWTClaims
from joserfc import jwt
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from audit.errors import (
    AccountsUnavailable,
    ProviderUnavailable,
    SecondFactorMissing,
    SignInRefused,
)
from audit.portal.secrets import read_secret
from audit.portal.settings import ProviderSettings
from policies.clock import Clock

SCOPE = "openid profile"
TIMEOUT_S = 10.0
_KEPT_S = 3600.0
_ASK_AGAIN_S = 30.0
"""The least time between two questions for a key, so that forged tokens hammer nobody."""
_MOST_CHARACTERS = 16_384
_AMR = re.compile(r"[a-z]{3,6}")
"""The shape of the words by which somebody was known (RFC 8176, section 2); no other is kept."""
_LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What one attempt is bound to: three words that nobody can guess."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the provider says that somebody is; `words` are what its roles claim holds.

    `amr` (RFC 8176) says how they were known there, with `mfa` where the settings take its `acr`
    for that; `proven_at` when (Unix seconds), None where it does not say. `sid` is the provider's
    session.
    """

    issuer: str
    subject: str
    name: str
    words: frozenset[str]
    amr: frozenset[str] = frozenset()
    proven_at: float | None = None
    sid: str = ""


class IdentityProvider:
    """Asks one provider; safe to share among threads."""

    def __init__(self, settings: ProviderSettings, *, clock: Clock) -> None:
        """Read the client's secret and the authority; the provider is asked at first use.

        Raises:
            AccountsUnavailable: One of the files cannot be used.
        """
        self._settings = settings
        self._clock = clock
        self._secret = read_secret(settings.client_secret_file)
        self._context = trusting(settings.authority)
        self._lock = threading.Lock()
        self._metadata: Mapping[str, Any] | None = None
        self._metadata_at = self._keys_at = float("-inf")
        self._keys: KeySet | None = None

    def address_for(self, handshake: Handshake, *, anew: bool = False) -> str:
        """Return where the browser goes to sign in; `anew` also if somebody is signed in there.

        Raises:
            ProviderUnavailable: The provider does not answer, or not as the standard says.
        """
        endpoint = self._found()["authorization_endpoint"]
        with self._client() as client:
            address, _ = client.create_authorization_url(
                endpoint,
                state=handshake.state,
                nonce=handshake.nonce,
                code_verifier=handshake.verifier,
                **self._demanded(),
                **({"prompt": "login"} if anew else {}),
            )
        return str(address)

    def identity(self, handshake: Handshake, *, code: str, issuer: str | None) -> Identity:
        """Return who came back with a code.

        1. the answer comes from this provider (RFC 9207), before the code goes to anybody;
        2. the code is redeemed with the verifier (RFC 7636);
        3. the identity token is verified (OpenID Connect Core, section 3.1.3.7);
        4. it says that a second factor was asked, in words that the settings take for that.

        Args:
            handshake: The one that this browser began.
            code: What came back with it.
            issuer: The `iss` that came back, if any did.

        Raises:
            SignInRefused: Any of these does not hold; the line never says what was in a token.
            ProviderUnavailable: The provider does not answer.
        """
        self._check_issuer(issuer)  # 1
        token = self._redeemed(code, handshake.verifier)  # 2
        return self._verified(token, handshake.nonce)  # 3

    def signed_out(self, given: str) -> tuple[str, str]:
        """Return whom a logout token signs out: `sub`, and `sid` or nothing for every session.

        OpenID Connect Back-Channel Logout 1.0, section 2.6. A token that comes again ends what is
        over; without `sid` it is good for the few minutes that it says.

        Raises:
            SignInRefused: It is not the provider's, for us, now, or not for signing out.
            ProviderUnavailable: Its keys cannot be asked for.
        """
        try:
            decoded = self._decoded(given[:_MOST_CHARACTERS])
            claims = JWTClaims(
                decoded.claims,
                decoded.header,
                {name: {"essential": True} for name in ("iat", "exp", "jti", "sub", "events")}
                | {
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
            )
            claims.validate(now=int(self._clock()), leeway=int(self._settings.clock_skew_s))
        except (JoseError, ValueError, TypeError) as error:
            raise SignInRefused("this is no logout token of our identity provider") from error
        events, sub, sid = claims["events"], claims["sub"], claims.get("sid", "")
        meant = isinstance(events, dict) and isinstance(events.get(_LOGOUT), dict)
        if not meant or "nonce" in claims or not all(isinstance(one, str) for one in (sub, sid)):
            raise SignInRefused("this token is of another kind than for signing out")
        return str(sub), str(sid)

    def leave(self, *, back_to: str) -> str | None:
        """Return where the browser signs out at the provider too (RP-Initiated Logout 1.0).

        Raises:
            ProviderUnavailable: The provider does not answer.
        """
        endpoint = self._found().get("end_session_endpoint")
        if not isinstance(endpoint, str) or not _is_https(endpoint):
            return None
        said = {"client_id": self._settings.client_id, "post_logout_redirect_uri": back_to}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(said)}"

    # -- the steps ----------------------------------------------------------------------

    def _check_issuer(self, issuer: str | None) -> None:
        promised = self._found().get("authorization_response_iss_parameter_supported") is True
        if promised if issuer is None else issuer != self._settings.issuer:
            raise SignInRefused("the answer is not from our identity provider: begin again")

    def _redeemed(self, code: str, verifier: str) -> Mapping[str, Any]:
        try:
            with self._client() as client:
                token: Mapping[str, Any] = client.fetch_token(
                    self._found()["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    redirect_uri=self._settings.redirect_uri,
                )
        except AuthlibBaseError as error:
            raise SignInRefused("the identity provider does not take this code: begin again") from (
                error
            )
        except (httpx2.HTTPError, ValueError) as error:
            raise _silent(error) from error
        return token

    def _verified(self, token: Mapping[str, Any], nonce: str) -> Identity:
        given, access = token.get("id_token"), token.get("access_token")
        if not isinstance(given, str) or not 0 < len(given) <= _MOST_CHARACTERS:
            raise SignInRefused("the identity provider sent no identity token")
        try:
            decoded = self._decoded(given)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                {"nonce": nonce, "client_id": self._settings.client_id, "access_token": access},
            )
            claims.validate(now=int(self._clock()), leeway=int(self._settings.clock_skew_s))
        except ClaimError as error:
            raise SignInRefused(
                f"the identity token does not hold ({_claim(error)}): begin again"
            ) from error
        except (JoseError, ValueError, TypeError) as error:
            raise SignInRefused("the identity token is not signed as it must be") from error
        return self._identity(claims, nonce)

    def _decoded(self, given: str) -> jwt.Token:
        """Check the signature; a key that is not known may have come since (key rotation)."""
        try:
            return jwt.decode(given, self._key_set(), algorithms=self._settings.algorithms)
        except InvalidKeyIdError:
            return jwt.decode(
                given, self._key_set(again=True), algorithms=self._settings.algorithms
            )

    def _identity(self, claims: Mapping[str, Any], nonce: str) -> Identity:
        said, subject = claims.get("nonce"), claims.get("sub")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
            raise SignInRefused("the identity token is of another attempt: begin again")
        amr = self._proven(claims)  # 4
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:  # noqa: PLR2004 (Core, 2)
            raise SignInRefused("the identity token names nobody")
        name, words = claims.get(self._settings.name_claim), claims.get(self._settings.roles_claim)
        sid, proven_at = claims.get("sid"), claims.get("auth_time")
        return Identity(
            issuer=self._settings.issuer,
            subject=subject,
            name=name if isinstance(name, str) else "",
            words=_words(words),
            amr=amr,
            proven_at=float(proven_at) if isinstance(proven_at, int) else None,
            sid=sid if isinstance(sid, str) and len(sid) <= 255 else "",  # noqa: PLR2004 (ours)
        )

    def _demanded(self) -> dict[str, str]:
        """Ask for what the settings take for a second factor (Core, 3.1.2.1)."""
        acr = self._settings.second_factor.acr
        return {"acr_values": " ".join(sorted(acr))} if acr else {}

    def _proven(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """Return how somebody was known there.

        Raises:
            SecondFactorMissing: A second factor is demanded, and the token says of none.
        """
        demanded, acr = self._settings.second_factor, claims.get("acr")
        said = _words(claims.get("amr"))
        by_acr = isinstance(acr, str) and acr in demanded.acr
        if (demanded.acr or demanded.amr) and not (by_acr or said & demanded.amr):
            raise SecondFactorMissing(
                "the identity provider does not say that it asked for a second factor: "
                "set one up there, or ask your operator; what it must say (amr, acr) is set in "
                "[portal.provider.second_factor]"
            )
        return frozenset(filter(_AMR.fullmatch, said)) | ({"mfa"} if by_acr else set())

    # -- what the provider says of itself ----------------------------------------------

    def _found(self) -> Mapping[str, Any]:
        """Return the provider's metadata (OpenID Connect Discovery 1.0), at most an hour old."""
        with self._lock:
            if self._metadata is None or self._clock() - self._metadata_at > _KEPT_S:
                where = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
                found = self._get(where)
                if found.get("issuer") != self._settings.issuer:
                    raise ProviderUnavailable(
                        "the identity provider calls itself another name than `issuer`: check it"
                    )
                if not all(_is_https(found.get(name)) for name in _NEEDED):
                    raise ProviderUnavailable("the identity provider's metadata is not complete")
                self._metadata, self._metadata_at = found, self._clock()
            return self._metadata

    def _key_set(self, *, again: bool = False) -> KeySet:
        """Return the provider's keys, at most an hour old."""
        where, now = self._found()["jwks_uri"], self._clock()
        with self._lock:
            old_s = now - self._keys_at
            if self._keys is None or old_s > (_ASK_AGAIN_S if again else _KEPT_S):
                self._keys_at = now
                try:
                    self._keys = KeySet.import_key_set(self._get(where))  # type: ignore[arg-type]
                except (JoseError, ValueError, TypeError, KeyError) as error:
                    raise ProviderUnavailable("the identity provider's keys are no keys") from error
            return self._keys

    def _get(self, address: str) -> dict[str, Any]:
        try:
            with self._client() as client:
                answer = client.request("GET", address, withhold_token=True)
                answer.raise_for_status()
                value = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise _silent(error) from error
        if not isinstance(value, dict):
            raise ProviderUnavailable("the identity provider sent no JSON object")
        return value

    def _client(self) -> Any:
        """Return an HTTP client that follows nothing, and takes no proxy from the environment."""
        return OAuth2Client(
            client_id=self._settings.client_id,
            client_secret=self._secret,
            redirect_uri=self._settings.redirect_uri,
            scope=SCOPE,
            code_challenge_method="S256",
            verify=self._context,
            timeout=TIMEOUT_S,
            trust_env=False,
            follow_redirects=False,
        )


def _words(claim: object) -> frozenset[str]:
    listed = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(word for word in listed if isinstance(word, str))


def _is_https(address: object) -> bool:
    return isinstance(address, str) and urlsplit(address).scheme == "https"


def _claim(error: ClaimError) -> str:
    """Name the claim that is wrong; only words of ours, never what the token said."""
    known = ("iss", "aud", "azp", "exp", "nbf", "iat", "nonce", "sub", "at_hash", "auth_time")
    return next((name for name in known if f"'{name}'" in str(error)), "a claim")


def _silent(error: Exception) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"the identity provider does not answer ({type(error).__name__}): try again later"
    )


def trusting(authority: Path | None) -> ssl.SSLContext:
    """Return a context that trusts an authority (PEM), without one the system's.

    Raises:
        AccountsUnavailable: It is no certificate.
    """
    try:
        return ssl.create_default_context(cafile=None if authority is None else str(authority))
    except (OSError, ssl.SSLError) as error:
        raise AccountsUnavailable("[portal] authority is not a certificate") from error
