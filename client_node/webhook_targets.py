"""To whom webhooks go: the targets that the operator names, and nobody else (promise 10).

`webhooks_file` is TOML, one table for each:

    [crm]
    url = "https://crm.example/hooks/undertone"
    secret_files = ["crm.secret"]      # two while the secret is changed, the new one first
    ca = "crm.pem"                     # where its certificate is not a public authority's

No address comes from anywhere else; TLS but on loopback; no redirect is followed; the host must
stand in the node's signed policy.
"""

from __future__ import annotations

import re
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from client_node.connections import ConnectionPolicy
from client_node.errors import StartRefused
from client_node.reply_model import LOOPBACK
from client_node.settings import read_secret
from client_node.webhook_signature import WebhookSecret

MOST_TARGETS = 16
LONGEST_S = 5.0
KNOWN = frozenset({"url", "secret_files", "ca"})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """One receiver."""

    name: str
    url: str
    secrets: tuple[WebhookSecret, ...]
    client: httpx.Client


def load_targets(path: Path | None, connections: ConnectionPolicy) -> tuple[WebhookTarget, ...]:
    """Read the targets; none without a file.

    Raises:
        StartRefused: The file or a target in it is wrong; the line says which, never a secret.
        ConnectionForbidden: The policy does not name its host.
    """
    if path is None:
        return ()
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartRefused(f"webhooks {path.name}: cannot be read ({type(error).__name__})") from (
            error
        )
    if len(tables) > MOST_TARGETS:
        raise StartRefused(f"webhooks {path.name}: at most {MOST_TARGETS} targets")
    return tuple(_target(name, table, path, connections) for name, table in tables.items())


def _target(name: str, table: Any, path: Path, connections: ConnectionPolicy) -> WebhookTarget:
    where = f"webhooks {path.name}: target {name[:32]!r}"
    if not _NAME.fullmatch(name) or not isinstance(table, dict) or set(table) - KNOWN:
        raise StartRefused(f"{where}: expected a short name with {', '.join(sorted(KNOWN))}")
    url, files = table.get("url"), table.get("secret_files")
    if not isinstance(url, str) or not isinstance(files, list) or not 1 <= len(files) <= 2:  # noqa: PLR2004
        raise StartRefused(f"{where}: expected a url and one or two secret_files")
    _check_url(url, where)
    connections.check_url(url)
    return WebhookTarget(
        name=name,
        url=url,
        secrets=tuple(_secret(path.parent / str(file), where) for file in files),
        client=_client(table.get("ca"), path, where),
    )


def _check_url(url: str, where: str) -> None:
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not safe or parts.hostname is None or parts.username is not None or parts.fragment:
        raise StartRefused(f"{where}: expected https, or http on this machine, without a login")


def _secret(path: Path, where: str) -> WebhookSecret:
    try:
        return WebhookSecret.parse(read_secret(path).decode(errors="replace").strip())
    except StartRefused as error:
        raise StartRefused(f"{where}: {error}") from error


def _client(authority: object, path: Path, where: str) -> httpx.Client:
    cafile = None if authority is None else str(path.parent / str(authority))
    try:
        context = ssl.create_default_context(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise StartRefused(f"{where}: its ca cannot be read ({type(error).__name__})") from error
    return httpx.Client(verify=context, timeout=LONGEST_S, trust_env=False, follow_redirects=False)
