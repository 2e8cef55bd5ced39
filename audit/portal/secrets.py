"""Random secrets that staff carry: session ids, tokens, recovery codes; kept as a hash only.

All have 120 random bits or more, so the plain SHA-256 needs no salt and no slow function.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

from audit.errors import AccountsUnavailable

Randomness = Callable[[int], bytes]
"""Return that many random bytes; `secrets.token_bytes` outside tests."""

_SECRET_BYTES = 32
_CODE_BYTES = 15  # 112 bits or more may be kept as a plain hash (OWASP ASVS 6.5.2)


def new_secret(randomness: Randomness) -> str:
    """Return 32 random bytes as unpadded base64url, 43 characters."""
    return base64.urlsafe_b64encode(randomness(_SECRET_BYTES)).rstrip(b"=").decode()


def new_code(randomness: Randomness) -> str:
    """Return a recovery code for people: 120 random bits, as six groups of four letters."""
    text = base64.b32encode(randomness(_CODE_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def read_secret(path: Path) -> str:
    """Return the secret of a client, from a file that is its user's alone.

    Raises:
        AccountsUnavailable: It cannot be read, is empty, or others may read it.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
        private = path.stat().st_mode & 0o077 == 0
    except (OSError, UnicodeDecodeError) as error:
        raise AccountsUnavailable(f"client_secret_file {path.name} cannot be read") from error
    if not secret or not private:
        raise AccountsUnavailable(
            f"client_secret_file {path.name}: expected one line in a file of mode 0600"
        )
    return secret


def hash_of(secret: str) -> str:
    """Return what is stored of a secret: its SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def keyed(key: bytes, *parts: str) -> str:
    """Return the HMAC-SHA256 of some words in lower-case hexadecimal."""
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Say whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
