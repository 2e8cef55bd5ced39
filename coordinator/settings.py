"""The coordinator's settings: one TOML file, each value also by `UNDERTONE_COORDINATOR_*`.

Secrets are never values here, only paths of files that hold them. Relative paths are taken
from the folder of the settings file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from audit.portal.settings import PortalSettings
from audit.settings import ServiceSettings, beside
from coordinator.errors import SettingsInvalid

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket on Linux (unix(7))."""
_PATHS = (
    "folder",
    "signing_key",
    "admin_token_file",
    "certificate",
    "private_key",
    "authority",
    "socket",
    "trust_ca",
    "evaluation_set",
    "token_file",
)


class CoordinatorSettings(ServiceSettings):
    """What one coordinator needs to start.

    `signing_key` signs terms, releases and checkpoints (audit.signing). `certificate`,
    `private_key` and `authority` (PEM) serve the gateway and the SuperLink, and need the
    names under which nodes reach them. `epsilon_ceiling` and `delta_ceiling` bound what all
    runs together may ask of a person at a node, as the centre counts it; nodes count again
    for themselves. `grace_s` is how long after the deadline a reply still travels: Flower's
    SuperNodes poll every 3 s. `trust_url`, `trust_ca` (PEM) and `trust_key` (its vkey) reach the
    trust service, under whose governance alone anything is trained or released: without all
    three, nothing is; `trust_poll_s` is the longest wait for its news. `flower` false leaves
    the Flower processes to another supervisor. No release is published whose calibration error
    or gap between groups is above `most_calibration_error` or `most_gap`, as its card states or
    as measured on `evaluation_set` (`python -m models.evaluation_set` makes one). `tls` serves
    people's interface by the same certificate, as browsers need it to sign in; `portal` says how
    staff sign in. `token_file` holds your own token for the commands; the admin token without it.
    """

    model_config = SettingsConfigDict(env_prefix="UNDERTONE_COORDINATOR_", extra="forbid")

    folder: Path
    signing_key: Path
    admin_token_file: Path
    certificate: Path
    private_key: Path
    authority: Path
    name: str = "coordinator"
    host: str = "127.0.0.1"
    port: int = 8790
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8701
    superlink_port: int = 8700
    socket: Path = Path()
    epsilon_ceiling: float = Field(default=8.0, gt=0)
    delta_ceiling: float = Field(default=1e-4, gt=0, lt=1)
    grace_s: float = Field(default=9.0, gt=0)
    flower: bool = True
    trust_url: str | None = Field(default=None, pattern=r"^https://")
    trust_ca: Path | None = None
    trust_key: str | None = None
    trust_poll_s: float = Field(default=2.0, gt=0, le=60)
    evaluation_set: Path | None = None
    most_calibration_error: float | None = Field(default=None, ge=0, le=1)
    most_gap: float | None = Field(default=None, ge=0, le=1)
    tls: bool = False
    portal: PortalSettings = PortalSettings()
    token_file: Path | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            SettingsInvalid: It is missing, is not TOML, or a value is missing, unknown or
                wrong; the line names the setting and never its value.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            folder = path.parent.absolute()
            placed = {n: folder / values[n] for n in _PATHS if n in values}
            settings = cls(**(values | placed))
            return settings.model_copy(update={"portal": beside(settings.portal, folder)})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsInvalid(f"settings {path}: {type(error).__name__}") from error
        except ValidationError as error:
            raise SettingsInvalid(f"settings {path}: {_complaints(error)}") from error

    @model_validator(mode="after")
    def _place_socket(self) -> Self:
        if self.socket == Path():
            self.socket = self.folder / "courier.sock"
        if len(str(self.socket.absolute())) > SOCKET_PATH_BYTES:
            raise ValueError(f"socket: the path is longer than {SOCKET_PATH_BYTES} bytes")
        return self

    @model_validator(mode="after")
    def _trust_as_a_whole(self) -> Self:
        parts = (self.trust_url, self.trust_ca, self.trust_key)
        if None in parts and parts != (None, None, None):
            raise ValueError("trust_url, trust_ca and trust_key belong together")
        return self

    @model_validator(mode="after")
    def _tls_beyond_the_machine(self) -> Self:
        if not self.tls and self.host not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError("host: set `tls` to serve people beyond this machine")
        return self

    @property
    def flower_folder(self) -> Path:
        """Return where Flower keeps its state."""
        return self.folder / "flower"

    @property
    def access_log(self) -> Path:
        """Return the gateway's access log (JSON lines)."""
        return self.folder / "gateway.jsonl"


def _complaints(error: ValidationError) -> str:
    wrong = error.errors(include_url=False, include_input=False)
    return ", ".join(f"{'.'.join(map(str, e['loc'])) or 'file'} ({e['type']})" for e in wrong)
