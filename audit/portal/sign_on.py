"""Single sign-on at our other site: this service as a small OpenID Connect provider, by Authlib.

One client, one redirect address, the authorization code flow with PKCE (S256) and nothing else
(OpenID Connect Core 1.0; RFC 9700). A code is good once and for a minute, and kept as a hash. The
access token that the standard wants opens nothing and is kept by nobody. Who may do what at the
other site, its own settings say (`audit.portal.provider_sign_in`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error, OAuth2Request
from authlib.oidc.core.errors import LoginRequiredError
from authlib.oidc.core.util import create_half_hash

from audit.events import EventKind
from audit.portal.authorization_server import Asked, Client, Said, Server
from audit.portal.diary import Diary, words
from audit.portal.secrets import Randomness, hash_of, keyed, new_secret, read_secret
from audit.portal.session import Sessions, SignedIn
from audit.portal.settings import SingleSignOnSettings
from audit.portal.sign_on_key import ALGORITHM, SignOnKey
from audit.portal.sign_ons import SignOns
from audit.portal.tables import AccountRow, SignOnCodeRow
from audit.wrong_attempts import WrongAttempts
from policies.clock import Clock

AUTHORIZE, TOKEN, KEYS, LEAVE = "/sign-on", "/sign-on/token", "/sign-on/keys", "/sign-on/leave"
DISCOVERY = "/.well-known/openid-configuration"
TWO_FACTORS, ONE_FACTOR = "urn:undertone:two-factors", "urn:undertone:one-factor"
CODE_S, TOKEN_S = 60.0, 120
_CLAIMS = (
    *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid"),
    *("preferred_username", "roles"),
)
_JUST_NOW_S = 60
"""What `max_age=0` comes to: signing in takes a moment."""
_PLAIN = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]{0,2048}")
"""What a parameter may be made of: what an error may quote (RFC 6749, appendix A.7)."""


class SignOn:
    """Signs staff of this service in at the other site."""

    def __init__(
        self,
        settings: SingleSignOnSettings,
        *,
        folder: Path,
        sessions: Sessions,
        store: SignOns,
        diary: Diary,
        clock: Clock,
        randomness: Randomness,
        secret: bytes,
    ) -> None:
        """Read the client's secret, and open or make the key.

        Raises:
            AccountsUnavailable: One of the files cannot be used.
            EvidenceUnavailable: The first key is not recorded, so it is not made.
        """
        self.settings, self.sessions, self.store = settings, sessions, store
        self.clock, self.randomness = clock, randomness
        self._diary, self._secret = diary, secret
        self.key = SignOnKey(folder / "sign-on", record=lambda key: self._made(key, by=None))
        self._wrong = WrongAttempts(clock=clock)
        client = Client(settings, read_secret(settings.client_secret_file))
        self._server = Server(client, self)

    def describe(self) -> dict[str, Any]:
        """Return what the provider says of itself (OpenID Connect Discovery 1.0)."""
        at = self.settings.issuer
        return {
            "issuer": at,
            "authorization_endpoint": at + AUTHORIZE,
            "token_endpoint": at + TOKEN,
            "jwks_uri": at + KEYS,
            "end_session_endpoint": at + LEAVE,
            "scopes_supported": ["openid", "profile"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "prompt_values_supported": ["none", "login"],
            "subject_types_supported": ["pairwise"],
            "acr_values_supported": [TWO_FACTORS, ONE_FACTOR],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "claims_supported": list(_CLAIMS),
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
        }

    def authorize(self, given: Sequence[tuple[str, str]], session: str) -> Said:
        """Answer a browser that the other site sent here.

        1. the request is whole, of the one client, and goes back to its one address;
        2. somebody is signed in, just now where that is asked for; else they sign in first;
        3. what is given is in the log; 4. the code, which only that client can redeem.

        Args:
            given: The query's parameters in their order.
            session: The browser's session here, if any.

        Raises:
            EvidenceUnavailable: It is not recorded, so it is not given.
        """
        asked, found = Asked(self.settings.issuer, given), self.sessions.signed_in(session)
        try:
            _check_plain(given)
            grant = self._server.get_consent_grant(asked, end_user=found)  # 1
            if grant.prompt == "login" or found is None or self._is_old(asked, found):  # 2
                return _sign_in_first(asked)
        except OAuth2Error as error:
            self._note(found, str(error.error))
            return _leading(self._server.handle_error_response(asked, error), self.settings)
        self._diary.write(  # 3
            EventKind.SIGN_ON,
            staff=found.account.name,
            client=self.settings.client_id,
            step="allowed",
            roles=words(found.staff.roles),
            acr=_acr(found.amr),
        )
        answer = self._server.create_authorization_response(asked, grant_user=found, grant=grant)
        return _leading(answer, self.settings)  # 4

    def redeem(
        self, headers: Mapping[str, str], given: Sequence[tuple[str, str]], *, address: str
    ) -> Said:
        """Answer the client that brings a code; what it may not have, it hears in RFC 6749's words.

        Raises:
            TooManyAttempts: From that address came too many who are not the client.
            EvidenceUnavailable: A refusal is not recorded.
        """
        claimed = hash_of(headers.get("authorization", ""))
        self._wrong.check(address, claimed)
        answer, owner = self._redeemed(headers, given)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._wrong.wrong(address, claimed)
        elif answer.status != HTTPStatus.OK:
            self._note(owner, str(answer.body.get("error", "invalid_request")))
        else:
            self._wrong.right(address, claimed)
        return answer

    def _redeemed(
        self, headers: Mapping[str, str], given: Sequence[tuple[str, str]]
    ) -> tuple[Said, str]:
        """Return the answer, and whose code it was as far as that is known."""
        asked = Asked(self.settings.issuer, given, headers)
        try:
            _check_plain(given)
            answer: Said = self._server.create_token_response(asked)
        except OAuth2Error as error:
            answer = self._server.handle_error_response(asked, error)
        except ValueError:  # Authlib, of a header that is no HTTP Basic
            answer = Said(status=401, body={"error": "invalid_client"})
        return answer, asked.owner

    def rotate_key(self, *, by: str) -> str:
        """Sign by a new key from now on; return its id.

        Raises:
            AccountsUnavailable, EvidenceUnavailable: The old one goes on signing.
        """
        return self.key.rotate(record=lambda key: self._made(key, by=by))

    def logout_token(self, account: AccountRow, sid: str | None) -> str:
        """Return a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4)."""
        now = int(self.clock())
        claims = {
            "iss": self.settings.issuer,
            "aud": self.settings.client_id,
            "iat": now,
            "exp": now + TOKEN_S,
            "jti": new_secret(self.randomness),
            "sub": self.subject(account),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }
        return self.key.sign(claims | ({} if sid is None else {"sid": sid}), kind="logout+jwt")

    def ended(self, account: AccountRow, *, whole: bool) -> None:
        """Log that the other site knows of an end."""
        step = "account-ended" if whole else "session-ended"
        client = self.settings.client_id
        self._diary.write(EventKind.SIGN_ON, staff=account.name, client=client, step=step)

    def subject(self, account: AccountRow) -> str:
        """Return what the other site calls somebody: the same always, and no name."""
        return keyed(self._secret, "sub", account.name, str(account.made_at))

    # -- what Authlib asks -----------------------------------------------------------------

    def give(self, code: str, asked: OAuth2Request) -> SignOnCodeRow:
        """Keep a code for whoever is signed in."""
        said, found, now = asked.payload.data, asked.user, self.clock()
        row = SignOnCodeRow(
            code_hash=hash_of(code),
            sid=keyed(self._secret, "sid", found.id_hash),
            account=found.account.name,
            session_hash=found.id_hash,
            redirect_uri=self.settings.redirect_uri,
            scope=asked.scope,
            nonce=said["nonce"],
            challenge=said["code_challenge"],
            until=now + CODE_S,
        )
        self.store.give(row, now=now)
        return row

    def take(self, code: str, asked: OAuth2Request) -> SignOnCodeRow | None:
        """Use a code up; a second use ends what came of the first (RFC 6749, section 4.1.2)."""
        row, first = self.store.take(hash_of(code))
        if row is None:
            return None
        asked.owner = row.account
        if not first:
            self.store.cut(row.sid)
            return None
        return row if self.clock() <= row.until else None

    def claims(self, code: SignOnCodeRow, found: SignedIn, access_token: str) -> dict[str, Any]:
        """Return what the identity token says: name and roles, and how they were known."""
        now = int(self.clock())
        said = {
            "iss": self.settings.issuer,
            "aud": self.settings.client_id,
            "sub": self.subject(found.account),
            "iat": now,
            "exp": now + TOKEN_S,
            "nonce": code.nonce,
            "sid": code.sid,
            "acr": _acr(found.amr),
            "preferred_username": found.account.name,
            "roles": words(found.staff.roles),
            "at_hash": create_half_hash(access_token, ALGORITHM).decode(),
        }
        said |= {"amr": sorted(found.amr)} if found.amr else {}
        return said | ({} if found.proven_at is None else {"auth_time": int(found.proven_at)})

    # -- inside ------------------------------------------------------------------------------

    def _made(self, key: str, *, by: str | None) -> None:
        """Log that a key is made: by whom, and nobody for the first of all, made at a start."""
        client = self.settings.client_id
        self._diary.write(EventKind.SIGN_ON, staff=by, client=client, step="key-made", key=key)

    def _is_old(self, asked: OAuth2Request, found: SignedIn) -> bool:
        """Say whether somebody must sign in again for `max_age` (Core, section 3.1.2.1).

        Raises:
            OAuth2Error: It is no number, or they may not be asked.
        """
        said, back = asked.payload.data, self.settings.redirect_uri
        if (most := said.get("max_age")) is None:
            return False
        if not (most.isascii() and most.isdigit() and len(most) < 10):  # noqa: PLR2004 (32 bits)
            raise InvalidRequestError("max_age: expected seconds", redirect_uri=back)
        old = found.proven_at is None or self.clock() - found.proven_at > max(
            int(most), _JUST_NOW_S
        )
        if old and said.get("prompt") == "none":
            raise LoginRequiredError(redirect_uri=back, state=said.get("state"))
        return old

    def _note(self, who: SignedIn | str | None, reason: str) -> None:
        """Log a refusal to somebody who is known, or of the client's."""
        if who is None:
            return
        name = who if isinstance(who, str) else who.account.name
        client = self.settings.client_id
        self._diary.write(
            EventKind.SIGN_ON, staff=name, client=client, step="refused", reason=reason
        )


def _check_plain(given: Sequence[tuple[str, str]]) -> None:
    """Return if no parameter comes twice (RFC 6749, section 3.1) and all can be quoted.

    Raises:
        OAuth2Error: One does, or cannot.
    """
    names = [name for name, _ in given]
    if len(names) != len(set(names)) or not all(_PLAIN.fullmatch(v) for _, v in given):
        raise InvalidRequestError("a parameter comes twice, or is no plain text")


def _sign_in_first(asked: Asked) -> Said:
    """Return where one signs in, and comes back from; having signed in answers `prompt=login`."""
    again = {n: v for n, v in asked.payload.data.items() if (n, v) != ("prompt", "login")}
    return Said(status=303, location=f"/sign-in?next={quote(f'{AUTHORIZE}?{urlencode(again)}')}")


def _leading(answer: Said, settings: SingleSignOnSettings) -> Said:
    """Name ourselves in whatever goes back to the client (RFC 9207)."""
    if not answer.location:
        return answer
    where = f"{answer.location}&{urlencode({'iss': settings.issuer})}"
    return Said(status=303, location=where)


def leads_away(path: str) -> bool:
    """Return whether a path of ours ends at the other site."""
    return path.partition("?")[0] == AUTHORIZE


def _acr(amr: frozenset[str]) -> str:
    return TWO_FACTORS if "mfa" in amr else ONE_FACTOR
