"""What the commands of `undertone-trust` take alike, and how each answers misuse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.errors import CertificateInvalid, KeyInvalid, ServeFailed
from audit.terminal import MISUSE, complain
from consent.errors import RequestInvalid, SettingsInvalid
from consent.staff_call import LOCAL, staff_call
from policies.errors import PolicyInvalid, RuleUnknown

MISUSES = (
    SettingsInvalid,
    RequestInvalid,
    RuleUnknown,
    PolicyInvalid,
    KeyInvalid,
    CertificateInvalid,
    ServeFailed,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Settings = Annotated[Path, typer.Option("--settings", help="The service's TOML file.")]
Token = Annotated[Path, typer.Option("--token-file", help="Your own staff token.")]
Url = Annotated[str, typer.Option("--url", help="The service's address.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="Authority of its certificate.")]
OfficerKey = Annotated[Path, typer.Option("--key", help="The officer's signing key file.")]

__all__ = ["LOCAL", "AsJson", "Ca", "OfficerKey", "Settings", "Token", "Url"]


@contextmanager
def misuse_is_told() -> Iterator[None]:
    """Answer misuse with one line on stderr and exit 2; other errors are the terminal's."""
    try:
        yield
    except MISUSES as error:
        complain(f"{type(error).__name__}: {error}")
        raise typer.Exit(MISUSE) from error


def ask(path: str, token: Path, url: str, ca: Path | None, said: Any = None) -> Any:
    """Ask the desk (`/v1/desk/PATH`) as the member of staff whose token the file holds."""
    with misuse_is_told():
        return staff_call(f"/v1/desk/{path}", token_file=token, url=url, ca=ca, said=said)


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        SettingsInvalid: It cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read as text") from error


def second_of(day: str) -> float:
    """Return the Unix second of a day or time in UTC; anything else is misuse."""
    with misuse_is_told():
        try:
            return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        except ValueError as error:
            raise SettingsInvalid("expected a day or time in UTC, like 2027-01-31") from error


def digest_of(document: Path) -> str:
    """Return the SHA-256 of a document; one that cannot be read is misuse."""
    with misuse_is_told():
        try:
            return hashlib.sha256(document.read_bytes()).hexdigest()
        except OSError as error:
            raise SettingsInvalid(f"--document {document} cannot be read") from error
