"""What the operator sets for one node: a TOML file, every secret by file.

A value may also come from the environment (`UNDERTONE_NODE_PORT`), which wins over the file.
The privacy policy is not here: it is a sealed envelope of the operator's (`policy_file`), so
that whoever can write this file still cannot weaken a floor.
"""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from audit.errors import AuditError
from audit.settings import ServiceSettings
from audit.signing import SigningKey, VerifyKey, unseal
from client_node.errors import StartRefused
from models.conversation import STANDARD, RiskCurve, Rule
from policies.errors import PolicyInvalid
from policies.node_policy import NodePolicy, node_policy_from_dict

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NodeSettings(ServiceSettings):
    """One node's settings; `load` reads them.

    With `personal` the node fits a head of its own beside the release (`client_node.personal`).

    After `pause_s` without a turn a conversation is over, and at the latest with the session
    (rule 16). When it is warned of is `models.conversation.Rule`; a risk is stated only with a
    curve (`risk_slope`, `risk_shift`) that the operator fitted. Hints to agents are those that
    ship, or those of `hints_file`, signed with `officer_key`; `articles_folder` has the company's
    own articles.

    Texts of replies ship too, or are those of `replies_file`, signed like the hints; a model on
    this machine (`reply_model_url`) may draft on top of them. `redress_file` says what complaints
    are given. What waits for a person's yes waits `approval_s`; `calm_floor` is the smallest
    cohort of the test over calm customers (rule 14). Above `crowded_turns` under way optional work
    is left out, above `most_turns` a turn is refused for a second (`client_node.load`).
    `telephone_keys` are the keys by which telephone systems sign what was pressed, and
    `telephone_scripts` the digit that says yes in each script (`client_node.telephone`).
    `panel_frames` are the origins whose pages may frame the agent's panel. `webhooks_file` names to
    whom alerts are told (`client_node.webhook_targets`).
    `pseudonym_key_file` makes the pseudonyms of new people; the company's other keys, older ones
    and the next, recognise people (`client_node.pseudonym_keys`), and one that is done with is
    named in `retired_pseudonym_keys`.
    A campaign's wording is answered after `campaign_s`, whoever was counted.
    """

    model_config = SettingsConfigDict(env_prefix="UNDERTONE_NODE_", extra="forbid", frozen=True)

    node: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    company: str
    folder: Path
    host: str = "127.0.0.1"
    port: int = Field(default=8780, ge=0, le=65535)
    certificate: Path | None = None
    private_key: Path | None = None
    api_keys_file: Path
    signing_key: Path
    pseudonym_key_file: Path
    other_pseudonym_key_files: tuple[Path, ...] = ()
    retired_pseudonym_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")], ...] = ()
    held_out_key_file: Path | None = None
    trust_url: str
    trust_ca: Path | None = None
    trust_key: str
    coordinator_key: str
    coordinator_log_key: str | None = None
    coordinator_url: str | None = Field(default=None, pattern=r"^https://")
    coordinator_ca: Path | None = None
    operator_key: str
    officer_key: str | None = None
    policy_file: Path
    encoder_path: Path | None = None
    socket_path: Path
    personal: bool = False
    articles_folder: Path | None = None
    hints_file: Path | None = None
    replies_file: Path | None = None
    reply_model_url: str | None = Field(default=None, pattern=r"^https?://")
    reply_model: str = Field(default="local", max_length=128)
    reply_model_key_file: Path | None = None
    redress_file: Path | None = None
    webhooks_file: Path | None = None
    approval_s: float = Field(default=3600.0, gt=0, le=86_400)
    campaign_s: float = Field(default=2.0, gt=0, le=60)
    calm_floor: int = Field(default=10, ge=2)
    panel_frames: tuple[
        Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:\d+)?$")], ...
    ] = ()
    telephone_keys: tuple[str, ...] = ()
    telephone_scripts: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")],
        Annotated[str, Field(pattern=r"^[0-9*#]$")],
    ] = Field(default_factory=dict)
    crowded_turns: int = Field(default=48, ge=1)
    most_turns: int = Field(default=256, ge=1)
    retention: Path | None = None
    archive: Path | None = None
    poll_s: float = Field(default=2.0, gt=0)
    witness_s: float = Field(default=60.0, gt=0)
    pause_s: float = Field(default=1800.0, gt=0)
    half_life_turns: float = Field(default=STANDARD.half_life_turns, gt=0, le=1000)
    warn_at: float = Field(default=STANDARD.warn_at, ge=-1, le=1)
    calm_at: float = Field(default=STANDARD.calm_at, ge=-1, le=1)
    risk_slope: float | None = Field(default=None, allow_inf_nan=False)
    risk_shift: float = Field(default=0.0, allow_inf_nan=False)

    @property
    def graphs(self) -> Path:
        """Where made graphs are kept between starts."""
        return self.folder / "graphs"

    def conversation_rule(self) -> Rule:
        """Return when a conversation's course is warned of.

        Raises:
            ThresholdInvalid: `calm_at` is not below `warn_at`.
        """
        slope, shift = self.risk_slope, self.risk_shift
        return Rule(
            half_life_turns=self.half_life_turns,
            warn_at=self.warn_at,
            calm_at=self.calm_at,
            curve=None if slope is None else RiskCurve(slope=slope, shift=shift),
        )

    @classmethod
    def load(cls, path: Path) -> NodeSettings:
        """Read the file.

        Raises:
            StartRefused: It is missing, not TOML, or a setting is missing, unknown or wrong;
                the line names the setting and never its value.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(**values)
        except (OSError, UnicodeDecodeError) as error:
            raise StartRefused(
                f"settings {path}: cannot be read ({type(error).__name__})"
            ) from error
        except tomllib.TOMLDecodeError as error:
            raise StartRefused(f"settings {path}: not TOML ({error})") from error
        except ValidationError as error:
            wrong = ", ".join(
                f"{'.'.join(map(str, e['loc'])) or 'file'} ({e['type']})"
                for e in error.errors(include_input=False, include_url=False)
            )
            raise StartRefused(f"settings {path}: wrong or missing: {wrong}") from error


def read_secret(path: Path) -> bytes:
    """Return a secret file's bytes, less a last line break, if only its owner may read it.

    Raises:
        StartRefused: It is missing, empty, or others may read or write it.
    """
    check_private(path)
    data = path.read_bytes().rstrip(b"\r\n")
    if not data:
        raise StartRefused(f"secret {path}: expected a secret, found an empty file")
    return data


def check_private(path: Path) -> None:
    """Return if only the file's owner may read it.

    Raises:
        StartRefused: It is missing, or group or others have any right on it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise StartRefused(f"secret {path}: cannot be read ({type(error).__name__})") from error
    if mode & OTHERS:
        raise StartRefused(
            f"secret {path}: mode is {stat.S_IMODE(mode):04o}, expected 0600: run chmod 600"
        )


def load_signing_key(path: Path) -> SigningKey:
    """Return the node's signing key.

    Raises:
        StartRefused: The file is not a key, or others may read it.
    """
    check_private(path)
    try:
        return SigningKey.load(path)
    except AuditError as error:
        raise StartRefused(f"signing key {path}: {error}") from error


def parse_key(name: str, text: str) -> VerifyKey:
    """Return the public key of a setting.

    Raises:
        StartRefused: It is not a C2SP verifier key.
    """
    try:
        return VerifyKey.parse(text)
    except AuditError as error:
        raise StartRefused(f"setting {name}: not a verifier key ({error})") from error


def load_policy(settings: NodeSettings) -> NodePolicy:
    """Return the node's own policy, verified with the operator's key (promise 5).

    Raises:
        StartRefused: The envelope is missing, not the operator's, or for another node.
    """
    operator = parse_key("operator_key", settings.operator_key)
    try:
        data = settings.policy_file.read_bytes()
        policy = node_policy_from_dict(unseal("node-policy", data, operator))
    except OSError as error:
        raise StartRefused(f"policy {settings.policy_file}: {type(error).__name__}") from error
    except (AuditError, PolicyInvalid) as error:
        raise StartRefused(
            f"policy {settings.policy_file} is not the operator's: {error}: have it sealed again"
        ) from error
    if policy.node != settings.node:
        raise StartRefused(
            f"policy {settings.policy_file} is for node {policy.node}, this is {settings.node}"
        )
    return policy
