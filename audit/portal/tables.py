"""The rows of who may sign in, as SQLModel tables; `audit.portal.migrations` creates them.

No secret is here that opens anything: passwords as Argon2id, tokens, session ids and recovery
codes as SHA-256 of 120 random bits or more, and of a second factor only the salt from which the
service's key makes it (`audit.portal.second_factor`).
"""

from __future__ import annotations

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Row(SQLModel, registry=registry()):
    """Stand at the root of these tables: a registry, and so a metadata, of its own."""


class AccountRow(Row, table=True):
    """One member of staff; `active` once the second factor was shown to work."""

    __tablename__ = "staff_account"

    name: str = Field(primary_key=True)
    roles: str  # words, separated by one space
    issuer: str | None = None
    subject: str | None = None
    password_hash: str | None = None
    first_token_hash: str | None = None
    first_token_until: float | None = None
    totp_salt: str = ""
    totp_step: int = -1
    active: bool = False
    disabled: bool = False
    made_at: float
    asked_roles: str = ""  # roles that wait for a second person
    asked_by: str = ""
    oversaw: bool = False  # was an officer or dpo once, whatever became of it


class RecoveryRow(Row, table=True):
    """One recovery code; gone when used."""

    __tablename__ = "staff_recovery"

    code_hash: str = Field(primary_key=True)
    account: str = Field(index=True)


class SessionRow(Row, table=True):
    """One signed-in browser; gone when it signs out."""

    __tablename__ = "staff_session"

    id_hash: str = Field(primary_key=True)
    account: str = Field(index=True)
    method: str
    made_at: float
    seen_at: float
    amr: str = ""  # how its owner was known, in words of RFC 8176
    proven_at: float | None = None  # when; None where a provider did not say
    provider_sid: str = ""  # what the provider calls its own session


class TokenRow(Row, table=True):
    """One bearer token for scripts; `token` is its public half, `secret_hash` of the other."""

    __tablename__ = "staff_token"

    token: str = Field(primary_key=True)
    secret_hash: str
    account: str = Field(index=True)
    roles: str
    made_at: float
    until: float


class ThrottleRow(Row, table=True):
    """How often signing in failed for one account, device or address, under a keyed digest."""

    __tablename__ = "staff_throttle"

    key: str = Field(primary_key=True)
    failures: int
    last_at: float
    until: float


class HandshakeRow(Row, table=True):
    """One sign-in that a browser began at the identity provider; gone when it comes back."""

    __tablename__ = "staff_handshake"

    state_hash: str = Field(primary_key=True)
    visit_hash: str
    going: str
    until: float


class SignOnRow(Row, table=True):
    """One session of ours from which its owner went on to the other site; `told` that it is over.

    `told` is empty, `session`, or `account`: the other site was told that the account is closed.
    """

    __tablename__ = "staff_sign_on"

    sid: str = Field(primary_key=True)
    account: str = Field(index=True)
    session_hash: str = Field(index=True)
    until: float
    told: str = ""
    again_at: float = 0.0
    tries: int = 0


class SignOnCodeRow(Row, table=True):
    """One authorization code; `used` stays until it is old, so that a second use is seen."""

    __tablename__ = "staff_sign_on_code"

    code_hash: str = Field(primary_key=True)
    sid: str
    account: str
    session_hash: str
    redirect_uri: str
    scope: str
    nonce: str
    challenge: str
    until: float
    used: bool = False


class ViewRow(Row, table=True):
    """One page of this site with its filters, under its owner's name for it."""

    __tablename__ = "staff_view"

    view: str = Field(primary_key=True)
    account: str = Field(index=True)
    title: str
    address: str
    made_at: float


METADATA = Row.metadata
