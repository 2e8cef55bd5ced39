"""How the command line speaks for a member of staff: one request under their own token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from consent.errors import SettingsInvalid
from consent.remote import call

LOCAL = "https://127.0.0.1:8443"


def staff_call(
    path: str, *, token_file: Path, url: str, ca: Path | None, said: dict[str, Any] | None = None
) -> Any:
    """GET, or POST what is said, as the member of staff whose token the file holds.

    Raises:
        SettingsInvalid: The file cannot be read.
        RemoteRefused, RemoteUnreachable: As in `consent.remote.call`.
    """
    try:
        token = token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"--token-file {token_file} cannot be read: sign in first") from error
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = None if said is None else json.dumps(said).encode()
    return call(url, path, ca=ca, body=body, headers=headers)
