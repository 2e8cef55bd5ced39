"""The settings of `undertone-trust`: one TOML file, every secret in a file of its own.

An example; relative paths start at the settings file's folder:

    folder = "state"                        # log, keys, ledger; made at the first start
    host = "127.0.0.1"
    port = 8443
    certificate = "tls/trust.pem"
    private_key = "tls/trust.key"
    signing_key = "trust.signing-key"       # `undertone-trust key create trust FILE`
    officer_key = "officer+5f0e3a1c+AbCd="  # the compliance officer's verify key
    admin_token_file = "admin.token"        # who holds it may enrol nodes
    standing_max_age_s = 3600               # how old standing may grow at a node
    storage = "EU"                          # where consent records are kept
    withdraw_at = "https://trust.example/v1/withdrawals"
    log_url = "postgresql://undertone@db.example/log"  # the evidence log; SQLite without it.
                                            # Its password: a file, UNDERTONE_LOG_PASSWORD_FILE
    database_url = "postgresql://undertone@db.example/consent"  # the consent ledger; likewise,
                                            # its file UNDERTONE_DATABASE_PASSWORD_FILE
    retention = "retention.toml"            # how long facts are kept; what ships without it
    archive = "/mnt/archive/trust"          # where old entries are sealed; nowhere without it
    uncaptured_until = 2027-03-31           # grants without channel and proof are taken until
                                            # then, to change over from a version that took them
    public_url = "https://choices.example"  # where people reach their pages, for their codes
    auditors = ["auditor.example+0a1b2c3d+AQid="]  # whose cosignatures of our log count too

    proxies = ["10.0.0.7"]                  # whose word on the caller's address is believed;
    proxy_header = "x-forwarded-for"        # in this header alone (or "forwarded"). Nobody's
                                            # without it
    coordinator = "coordinator"             # whose cards of releases are taken, as enrolled

    [parties.acme]                          # how receipts name a company
    name = "Acme Ltd"
    address = "1 Main Street, Dublin"
    contact = "privacy@acme.example"
    authority = "Data Protection Commission, Ireland"   # to whom people may complain

    [declared]                              # what no system can know of itself; `Declared`
    purposes = ["service", "training"]      # that the documents assess; all of them without it
    intended_purpose = "Notice frustrated customers early, and help them."

A value may also come from the environment (`UNDERTONE_TRUST_PORT`), which wins over the file.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from audit.portal.settings import PortalSettings
from audit.settings import ServiceSettings, beside
from consent.errors import SettingsInvalid
from policies.vocabulary import Purpose


class Party(BaseModel):
    """How a receipt names a controller (ISO/IEC TS 27560, party information)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    address: str
    contact: str
    authority: str | None = None


Statement = Annotated[str, Field(max_length=2000)]


class Declared(BaseModel):
    """What the documents need and no system can know of itself, in the operator's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    purposes: tuple[Purpose, ...] = tuple(Purpose)
    intended_purpose: Statement = ""  # AI Act 3(12)
    provider: Statement = ""  # name and contact: Annex IV 1(a), 13(3)(a)
    hardware: Statement = ""  # Annex IV 1(e), 13(3)(e)
    lifetime: Statement = ""  # expected, with care and updates: 13(3)(e)
    processes: Statement = ""  # in which the system is used: 27(1)(a)
    period: Statement = ""  # how long and how often: 27(1)(b)
    people_affected: Statement = ""  # 27(1)(c)
    governance: Statement = ""  # who acts when a risk comes true: 27(1)(f)
    people_consulted: Statement = ""  # GDPR 35(9), or why not
    metrics_why: Statement = ""  # Annex IV 4
    standards: Statement = ""  # Annex IV 7
    conformity: Statement = ""  # where the EU declaration is: Annex IV 8
    monitoring: Statement = ""  # the plan of Article 72: Annex IV 9

    def words(self) -> dict[str, str]:
        """Return the statements by name."""
        return self.model_dump(exclude={"purposes"})


class TrustSettings(ServiceSettings):
    """Everything the service needs to know before it starts; `load` reads a file."""

    model_config = SettingsConfigDict(env_prefix="UNDERTONE_TRUST_", extra="forbid", frozen=True)

    folder: Path
    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=1, le=65535)
    certificate: Path | None = None
    private_key: Path | None = None
    signing_key: Path
    officer_key: str
    admin_token_file: Path
    origin: str | None = None
    auditors: tuple[str, ...] = ()
    database_url: str | None = None
    log_url: str | None = None
    retention: Path | None = None
    archive: Path | None = None
    standing_max_age_s: int = Field(default=3600, ge=1)
    most_changes: int = Field(default=500, ge=1, le=5000)
    most_wait_s: float = Field(default=25.0, ge=0, le=60)
    challenge_size: int = Field(default=4, ge=0, le=100)
    challenge_period_s: float = Field(default=60.0, ge=0)
    storage: str = "EU"
    withdraw_at: str = "/v1/withdrawals"
    coordinator: str | None = None
    uncaptured_until: date | None = None
    public_url: Annotated[str, Field(pattern=r"^https://[^\s?#]+$")] | None = None
    parties: dict[str, Party] = Field(default_factory=dict)
    declared: Declared = Declared()
    portal: PortalSettings = PortalSettings()

    @classmethod
    def load(cls, path: Path) -> TrustSettings:
        """Read a settings file.

        Raises:
            SettingsInvalid: It is missing, not TOML, or a setting is missing, unknown or
                wrong; one line that names the setting.
        """
        try:
            settings = cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise SettingsInvalid(f"settings file {path} cannot be read: check --settings") from (
                error
            )
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"settings file {path} is not TOML: {error}") from error
        except ValidationError as error:
            raise SettingsInvalid(f"settings file {path}: {_complaints(error)}") from error
        return beside(settings, path.parent)

    def takes_uncaptured(self, now: float) -> bool:
        """Return whether a grant may still lack its channel and proof, at a Unix second."""
        until = self.uncaptured_until
        return until is not None and datetime.fromtimestamp(now, tz=UTC).date() <= until

    def ledger_url(self) -> str:
        """Return the database URL of the consent ledger."""
        return self.database_url or f"sqlite:///{self.folder / 'consent.db'}"

    def controller(self, company: str) -> dict[str, str]:
        """Return how receipts name a company; nothing but its id where no party is set."""
        party = self.parties.get(company)
        if party is None:
            return {}
        return {
            "dpv:hasName": party.name,
            "dpv:hasAddress": party.address,
            "dpv:hasContact": party.contact,
        } | ({} if party.authority is None else {"dpv:hasAuthority": party.authority})

    def admin_token(self) -> str:
        """Read the operator's bearer token.

        Raises:
            SettingsInvalid: No such file, or a token shorter than 16 characters.
        """
        try:
            token = self.admin_token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(
                f"admin_token_file {self.admin_token_file} cannot be read: put a token there"
            ) from error
        if len(token) < 16 or not token.isascii():  # noqa: PLR2004 (of 62 signs: 95 bits)
            raise SettingsInvalid(
                f"admin_token_file {self.admin_token_file}: needs 16 ASCII characters or more"
            )
        return token


def _complaints(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)
    )
