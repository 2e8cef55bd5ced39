"""A small OpenID Connect provider on loopback, by Authlib's own server side, over TLS.

It is honest unless a test sets one of its knobs: what it signs, with which key, and what it says
of itself. Its sign-in page asks for nothing: `sign_in_as` says who sits before the browser.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from audit.pki import create_authority, issue_server
from audit.serve import Listener, serve_all
from policies.clock import Clock

CLIENT, SECRET = "undertone-desk", "a secret of the desk and its provider"
RETURN = "https://desk.example/sign-in/provider/return"


@dataclass(slots=True)
class Code:
    """A code that was given out, with what it stands for."""

    code: str
    subject: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str:
        """Return where it may be redeemed from."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return what was asked for."""
        return self.scope

    def get_nonce(self) -> str | None:
        """Return the attempt's nonce."""
        return self.nonce

    def get_auth_time(self) -> None:
        """Say nothing of it."""
        return

    get_acr = get_amr = get_auth_time


class Client(ClientMixin):  # type: ignore[misc]  # Authlib has no types
    """The one client it knows: our desk."""

    client_id = CLIENT

    def get_client_id(self) -> str:
        """Return its name."""
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        """Return where answers go."""
        return RETURN

    def get_allowed_scope(self, scope: str) -> str:
        """Allow any scope."""
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Allow the one address."""
        return redirect_uri == RETURN

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare the secret."""
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Take the secret by HTTP Basic alone."""
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_response_type(self, response_type: str) -> bool:
        """Allow codes."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow codes."""
        return grant_type == "authorization_code"


@dataclass(slots=True, kw_only=True)
class Provider:
    """What the provider knows, and the knobs by which a test makes it lie."""

    issuer: str
    clock: Clock
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    sign_in_as: str = ""
    key: Any = None
    published: list[Any] = field(default_factory=list)
    codes: dict[str, Code] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    # knobs
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    signer: Any = None
    signs: bool = True
    names_itself: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)

    def rotate(self, key: Any = None, *, keep: bool = False) -> None:
        """Sign with a new key from now on."""
        self.key = key or ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
        self.published = [*(self.published if keep else []), self.key]

    def describe(self) -> dict[str, Any]:
        """Return what the provider says of itself."""
        at = self.issuer
        return {
            "issuer": at,
            "authorization_endpoint": f"{at}/authorize",
            "token_endpoint": f"{at}/token",
            "jwks_uri": f"{at}/keys",
            "end_session_endpoint": f"{at}/leave",
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def token(self, subject: str, code: Code, client: str) -> str:
        """Return the identity token, as honest as the knobs are."""
        now = int(self.clock())
        claims = {"iss": self.issuer, "sub": subject, "aud": [client], "iat": now, "exp": now + 300}
        claims |= {"nonce": code.nonce} | self.people[subject] | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        key = self.signer or self.key
        header = {"alg": key.as_dict()["alg"], "kid": key.kid} | self.header
        if header["alg"] == "none":
            return f"{_part(header)}.{_part(claims)}."
        made = jwt.encode(header, claims, key, [header["alg"]])
        return made if self.signs else made.rpartition(".")[0] + "." + "A" * 86


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        generator = BearerTokenGenerator(lambda **_: "an-access-token")
        self.register_token_generator("default", generator)

    def query_client(self, client_id: str) -> Client | None:
        return Client() if client_id == CLIENT else None

    def save_token(self, token: object, request: object) -> None:
        del token, request

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        del name, args, kwargs

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Response:
        answer = JSONResponse(body, status) if isinstance(body, dict) else Response(body, status)
        for name, value in headers:
            answer.headers[name] = value
        return answer


class _Grant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    @property
    def provider(self) -> Provider:
        found: Provider = self.server.provider
        return found

    def save_authorization_code(self, code: str, request: OAuth2Request) -> Code:
        said = request.payload.data
        made = self.provider.codes[code] = Code(
            code=code,
            subject=request.user,
            redirect_uri=request.payload.redirect_uri,
            scope=request.scope,
            nonce=said.get("nonce"),
            code_challenge=said.get("code_challenge"),
            code_challenge_method=said.get("code_challenge_method"),
        )
        return made

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        del client
        return self.provider.codes.get(code)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del self.provider.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Code) -> str:
        return authorization_code.subject


class _OpenId(OpenIDCode):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=True)
        self.provider = provider

    def exists_nonce(self, nonce: str, request: OAuth2Request) -> bool:
        del request
        return any(code.nonce == nonce for code in self.provider.codes.values())

    def generate_user_info(self, user: str, scope: str) -> UserInfo:
        del scope
        return UserInfo(sub=user)

    def encode_id_token(self, token: dict[str, Any], request: OAuth2Request) -> str:
        del token
        return self.provider.token(request.user, request.authorization_code, CLIENT)


class _Asked(OAuth2Request):  # type: ignore[misc]
    """A request as Authlib takes it."""

    def __init__(self, request: Request, said: dict[str, str]) -> None:
        super().__init__(request.method, str(request.url), headers=dict(request.headers))
        self.headers = {name.title(): value for name, value in request.headers.items()}
        self.payload = BasicOAuth2Payload(said)
        self.said = said

    @property
    def form(self) -> dict[str, str]:
        return self.said

    args = form


def application(provider: Provider) -> FastAPI:
    """Return the provider as an app."""
    server, app = _Server(provider), FastAPI()
    server.register_grant(_Grant, [CodeChallenge(required=True), _OpenId(provider)])

    @app.get("/.well-known/openid-configuration")
    def metadata() -> dict[str, Any]:
        provider.asked.append("metadata")
        return provider.describe()

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        provider.asked.append("keys")
        return dict(KeySet(provider.published).as_dict(private=False))

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked = _Asked(request, dict(request.query_params))
        grant = server.get_consent_grant(asked, end_user=provider.sign_in_as)
        answer: Response = server.create_authorization_response(
            asked, grant_user=provider.sign_in_as, grant=grant
        )
        if provider.names_itself:
            answer.headers["location"] += "&" + urlencode({"iss": provider.issuer})
        return answer

    @app.post("/token")
    async def token(request: Request) -> Response:
        said = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        provider.forms.append(said)
        answer: Response = server.create_token_response(_Asked(request, said))
        return answer

    return app


def rsa_key() -> RSAKey:
    """Return a key for RS256."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)


@contextmanager
def serving(folder: Path, clock: Clock) -> Iterator[Provider]:
    """Serve a provider over TLS until the block ends; `folder` gets its authority."""
    create_authority(folder)
    certificate = issue_server(folder, "provider")
    ready, stop, at = threading.Event(), threading.Event(), []
    provider = Provider(issuer="", clock=clock)
    provider.rotate()
    listener = Listener(
        app=application(provider),
        certificate=certificate,
        private_key=certificate.with_suffix(".key"),
    )

    def here(addresses: list[str]) -> None:
        at.extend(addresses)
        ready.set()

    thread = threading.Thread(
        target=serve_all, args=([listener],), kwargs={"on_ready": here, "stop": stop}, daemon=True
    )
    thread.start()
    assert ready.wait(30)
    provider.issuer = f"https://localhost:{urlsplit(at[0]).port}"
    try:
        yield provider
    finally:
        stop.set()
        thread.join(30)
