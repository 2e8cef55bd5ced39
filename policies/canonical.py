"""One byte string for one value: RFC 8785 canonical JSON, and digests over it.

Everything that is signed, logged or compared by digest goes through here, so two parties
that hold equal values always hold equal bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from policies.vocabulary import Digest


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value.

    Raises:
        ValueError: Not JSON: NaN, infinity, an integer beyond 2**53, a set. (The library's own
            error is one, so callers need not know the library.)
    """
    return rfc8785.dumps(value)


def digest(value: Any) -> Digest:
    """Return the SHA-256 of the canonical bytes of a JSON value."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> Digest:
    """Return the SHA-256 of the bytes."""
    return Digest(hashlib.sha256(data).hexdigest())
