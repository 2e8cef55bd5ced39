"""The manage token: whoever holds it may withdraw, in one step and without an account.

The service keeps its SHA-256 only. 32 random bytes cannot be guessed, so the plain hash
needs no salt and no slow function.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

TOKEN_BYTES = 32

Randomness = Callable[[int], bytes]
"""Return that many random bytes; `secrets.token_bytes` outside tests."""


def new_token(randomness: Randomness) -> str:
    """Return a fresh manage token: 32 random bytes as unpadded base64url, 43 characters."""
    return base64.urlsafe_b64encode(randomness(TOKEN_BYTES)).rstrip(b"=").decode()


def token_hash(token: str) -> str:
    """Return what is stored of a token: its SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()
