"""Authlib's authorization server, as `audit.portal.sign_on` uses it: one client, one grant.

What Authlib leaves open is closed here: PKCE never absent and never `plain`, `state` and `nonce`
never absent, addresses compared letter by letter, the client's secret by HTTP Basic alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidRequestError,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode

from audit.portal.diary import UNKNOWN
from audit.portal.secrets import new_secret, same

if TYPE_CHECKING:
    from audit.portal.session import SignedIn
    from audit.portal.settings import SingleSignOnSettings
    from audit.portal.sign_on import SignOn
    from audit.portal.tables import SignOnCodeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer: where the browser goes on, or a status and what is said."""

    status: int
    body: Any = ""
    location: str = ""


class Asked(OAuth2Request):  # type: ignore[misc]  # Authlib has no types
    """A request as Authlib takes it; `owner` is whose code it brings, as far as that is known."""

    def __init__(
        self,
        issuer: str,
        given: Sequence[tuple[str, str]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("POST", issuer)
        self.headers = {name.title(): value for name, value in (headers or {}).items()}
        self.payload = BasicOAuth2Payload(dict(given))
        self.owner: str = UNKNOWN

    @property
    def form(self) -> dict[str, str]:
        """Return the fields."""
        return dict(self.payload.data)

    args = form


class Client(ClientMixin):  # type: ignore[misc]
    """The one client: our other site."""

    def __init__(self, settings: SingleSignOnSettings, secret: str) -> None:
        self._settings, self._secret = settings, secret

    def get_client_id(self) -> str:
        """Return its name."""
        return self._settings.client_id

    def get_default_redirect_uri(self) -> None:
        """Return none: a request says where it goes, letter by letter."""
        return

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Return what is given of what was asked; without `openid` nothing."""
        named = (scope or "").split()
        return (
            " ".join(w for w in named if w in {"openid", "profile"}) if "openid" in named else None
        )

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Compare letter by letter."""
        return redirect_uri == self._settings.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare in a time that tells nothing."""
        return same(client_secret, self._secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Take the secret by HTTP Basic alone."""
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_response_type(self, response_type: str) -> bool:
        """Allow codes."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow codes."""
        return grant_type == "authorization_code"


class Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's authorization server over `SignOn`."""

    def __init__(self, client: Client, desk: SignOn) -> None:
        super().__init__()
        self.client, self.desk = client, desk
        self.register_grant(_Grant, [_S256(required=True), _OpenId(require_nonce=True)])
        self.register_token_generator("default", self._token)

    def _token(self, *, scope: str, **_: object) -> dict[str, Any]:
        """Return a token that opens nothing: the standard wants one, and nobody keeps it."""
        secret = new_secret(self.desk.randomness)
        return {"token_type": "Bearer", "access_token": secret, "expires_in": 1, "scope": scope}

    def query_client(self, client_id: str) -> Client | None:
        """Return the client, if it is that."""
        return self.client if client_id == self.client.get_client_id() else None

    def save_token(self, token: object, request: object) -> None:
        """Keep nothing."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Tell nobody."""

    def create_oauth2_request(self, request: Asked) -> Asked:
        """Take a request as it is."""
        return request

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Said:
        """Return an answer as a value."""
        return Said(status=status, body=body, location=dict(headers).get("Location", ""))


class _Grant(AuthorizationCodeGrant):  # type: ignore[misc]
    """Codes that `SignOn` keeps."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def generate_authorization_code(self) -> str:
        return new_secret(self.server.desk.randomness)

    def save_authorization_code(self, code: str, request: Asked) -> object:
        return self.server.desk.give(code, request)

    def query_authorization_code(self, code: str, client: object) -> _Code | None:
        del client  # there is one
        row = self.server.desk.take(code, self.request)
        return None if row is None else _Code(row)

    def delete_authorization_code(self, authorization_code: object) -> None:
        """Keep it as used: a second use must be seen."""

    def authenticate_user(self, authorization_code: _Code) -> SignedIn | None:
        """Return whose it is, if the session from which it came still stands."""
        found: SignedIn | None = self.server.desk.sessions.by_hash(
            authorization_code.row.session_hash
        )
        return found


@dataclass(frozen=True, slots=True)
class _Code:
    """A code as Authlib asks of it."""

    row: SignOnCodeRow

    @property
    def code_challenge(self) -> str:
        return self.row.challenge

    @property
    def code_challenge_method(self) -> str:
        return "S256"

    def get_redirect_uri(self) -> str:
        return self.row.redirect_uri

    def get_scope(self) -> str:
        return self.row.scope


class _S256(CodeChallenge):  # type: ignore[misc]
    """PKCE (RFC 7636) with S256 alone, and never without."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: _Grant, redirect_uri: str) -> None:
        said = grant.request.payload.data
        if not said.get("code_challenge") or said.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge: expected one of method S256")
        if not said.get("state") or {"request", "request_uri"} & said.keys():
            raise InvalidRequestError("expected a state, and no request object")
        super().validate_code_challenge(grant, redirect_uri)


class _OpenId(OpenIDCode):  # type: ignore[misc]
    """Identity tokens by our key and clock."""

    def exists_nonce(self, nonce: str, request: Asked) -> bool:
        """Say no: the client takes each of its attempts once, by its state."""
        del nonce, request
        return False

    def process_token(self, grant: _Grant, response: tuple[int, dict[str, Any], Any]) -> None:
        desk, (_, token, _) = grant.server.desk, response
        code = grant.request.authorization_code.row
        claims = desk.claims(code, grant.request.user, token["access_token"])
        desk.store.begin(code, now=desk.clock())
        token["id_token"] = desk.key.sign(claims)
