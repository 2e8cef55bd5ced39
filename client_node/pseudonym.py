"""A person's pseudonym at one company: the only name under which anything is kept.

The key belongs to the company, so one person has one pseudonym at all its branches and
another at every other company (companies are never linked). The customer id itself is used
here and nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac

from policies.vocabulary import SubjectId

KEY_BYTES = 32


def pseudonym(customer: str, *, key: bytes) -> SubjectId:
    """Return HMAC-SHA256(key, customer) in lower-case hexadecimal (GDPR 4(5)).

    Raises:
        ValueError: The key is shorter than 32 bytes, or there is no customer id.
    """
    if len(key) < KEY_BYTES:
        raise ValueError(f"pseudonym key: expected {KEY_BYTES} bytes or more, got {len(key)}")
    if not customer:
        raise ValueError("customer id: expected at least one character, got none")
    return SubjectId(hmac.new(key, customer.encode(), hashlib.sha256).hexdigest())
