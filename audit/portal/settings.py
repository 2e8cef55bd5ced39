"""How long a sign-in lasts, and where else one may sign in; part of a service's settings.

Relative paths start at the settings file's folder.

[portal]
database_url = "postgresql://undertone@db.example/staff"  # SQLite without it (`audit.database`)
idle_s = 1800                           # signed out after so long without a request
absolute_s = 43200                      # signed out after so long in any case
other_url = "https://coordinator.example:8444"  # the other site of the portal, linked in the menu
leaked_passwords = "/srv/pwned-sha1.txt" # Pwned Passwords by hash (`audit.portal.leaked`): refused

[portal.single_sign_on]                 # at the trust service: its staff are in at the other site
issuer = "https://trust.example:8443"   # this site; the other's [portal.provider] says the same
client_id = "coordinator"
client_secret_file = "sign-on.secret"
redirect_uri = "https://coordinator.example:8444/sign-in/provider/return"
logout_uri = "https://coordinator.example:8444/sign-in/provider/logout"
authority = "tls/authority.crt"  # of the other site's certificate

[portal.provider]                       # at the coordinator, to take the trust service's word
issuer = "https://trust.example:8443"
client_id = "coordinator"
client_secret_file = "sign-on.secret"
redirect_uri = "https://coordinator.example:8444/sign-in/provider/return"
authority = "tls/authority.crt"
roles_claim = "roles"
roles = { officer = ["officer"], data-scientist = ["data-scientist"] }  # who is admitted, as what
at_once = true                          # whoever is nobody is sent there unasked
again_s = 900                           # and after so long in any case; nothing is typed

[portal.provider]                       # or of another; without any local accounts alone
issuer = "https://login.example/realms/acme"
client_id = "undertone-trust"
client_secret_file = "provider.secret"
redirect_uri = "https://trust.example:8443/sign-in/provider/return"
roles_claim = "groups"

[portal.provider.roles]                 # what is not named here gives nothing
undertone-officers = ["officer"]

[portal.provider.second_factor]         # what says that one was asked; by default amr = ["mfa"]
acr = ["https://refeds.org/profile/mfa"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from audit.staff import StaffRole

Algorithm = Literal["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
"""Signatures that an identity token may have: with a public key, so never `none` or HMAC."""

_Word = Annotated[str, Field(pattern=r"^[!-~]{1,255}$")]
_Https = Annotated[str, Field(pattern=r"^https://[^\s?#@]+$", max_length=512)]


class ProvenBy(BaseModel):
    """Which words of an identity token say that a second factor was asked: any of these.

    Local accounts all have one, so a provider must say so too. `amr` are words of RFC 8176, `acr`
    the provider's own, which are asked for as well. Without any of either nothing is checked, and
    the organisation itself answers for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    acr: frozenset[_Word] = frozenset()
    amr: frozenset[_Word] = frozenset({"mfa"})


class ProviderSettings(BaseModel):
    """An identity provider (OpenID Connect Core 1.0), and which of its words give which role.

    `authority` (PEM) is what its certificate is checked against, the system's authorities
    without it. `clock_skew_s` is how far its clock may differ from ours. With `at_once` whoever is
    not signed in is sent there unasked; after `again_s` they are in any case, and come back without
    typing while they are signed in there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: _Https
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    client_secret_file: Path
    redirect_uri: _Https
    roles_claim: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/.-]{1,128}$")] = "groups"
    roles: dict[str, frozenset[StaffRole]] = Field(default_factory=dict)
    name_claim: Annotated[str, Field(pattern=r"^[A-Za-z0-9_:/.-]{1,128}$")] = "preferred_username"
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    authority: Path | None = None
    clock_skew_s: float = Field(default=60.0, ge=0, le=300)
    second_factor: ProvenBy = ProvenBy()
    at_once: bool = False
    again_s: float | None = Field(default=None, ge=60, le=86_400)


class SingleSignOnSettings(BaseModel):
    """The other site, which takes the word of this one for who somebody is.

    `issuer` is this site's own address, and the other's settings name the same. `redirect_uri` and
    `logout_uri` are the other site's; `authority` (PEM) is what its certificate is checked against
    when it is told that a session is over, the system's authorities without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(pattern=r"^https://[^\s?#@/]+$", max_length=512)]
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    client_secret_file: Path
    redirect_uri: _Https
    logout_uri: _Https
    authority: Path | None = None


class PortalSettings(BaseModel):
    """What the portal's frame needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database_url: str | None = None
    idle_s: float = Field(default=1800.0, gt=0, le=86_400)
    absolute_s: float = Field(default=43_200.0, gt=0, le=7 * 86_400)
    other_url: _Https | None = None
    leaked_passwords: Path | None = None
    provider: ProviderSettings | None = None
    single_sign_on: SingleSignOnSettings | None = None
