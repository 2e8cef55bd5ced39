"""A person's pseudonym at one company: the only name under which anything is kept.

The key belongs to the company, so one person has one pseudonym at all its branches and
another at every other company (companies are never linked). The customer id itself is used
here and nowhere else.

A pseudonym stays with its person: consents, receipts and log entries name it and cannot be written
anew. So a new key makes the pseudonyms of new people alone, and those of before are recognised by
the older keys for as long as the node has these (ADR 36).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from client_node.errors import PersonTwice
from policies.standing import Standing
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


def key_id(key: bytes) -> str:
    """Return what a key is called, 16 hexadecimal digits; they say nothing of it."""
    # Another hash than pseudonyms are made with: no customer's name can ask for this.
    return hmac.digest(key, b"pseudonym key", hashlib.sha512)[:8].hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pseudonyms:
    """Names people: by the first key, or as they are known already under another of the keys."""

    keys: Sequence[bytes] = field(repr=False)
    standing: Callable[[SubjectId], Standing | None]

    def of(self, customer: str) -> SubjectId:
        """Return the one pseudonym of a customer.

        Raises:
            ValueError: As in `pseudonym`.
            PersonTwice: They are known under two.
        """
        found = self.every(customer)
        if len(found) > 1:
            raise PersonTwice(
                "this customer is known under two pseudonyms, so nothing is used: a withdrawal of "
                "everything reaches both; then ask them again"
            )
        return found[0]

    def every(self, customer: str) -> tuple[SubjectId, ...]:
        """Return the pseudonyms under which a customer is known, or the one they would get.

        An erased one counts where there is no other: rule 6 holds for it, and it holds nothing.

        Raises:
            ValueError: As in `pseudonym`.
        """
        made = tuple(pseudonym(customer, key=key) for key in self.keys)
        if len(made) == 1:
            return made
        known = {name: found for name in made if (found := self.standing(name)) is not None}
        alive = tuple(name for name, found in known.items() if not found.erased)
        return alive or tuple(known)[:1] or made[:1]
