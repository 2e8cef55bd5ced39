"""Standard Webhooks signatures (standardwebhooks.com, specification 1.0.0, symmetric `v1`).

What is signed is `id.timestamp.body`; `webhook-signature` has one `v1,BASE64` for each secret,
so that a receiver may know the old one or the new one while a secret is changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from client_node.errors import StartRefused

PREFIX = "whsec_"
SHORTEST_BYTES, LONGEST_BYTES = 24, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret:
    """One secret that a receiver knows as well."""

    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> WebhookSecret:
        """Return the secret that `whsec_BASE64` stands for.

        Raises:
            StartRefused: It is none, or not of 24 to 64 bytes.
        """
        try:
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not text.startswith(PREFIX) or not SHORTEST_BYTES <= len(key) <= LONGEST_BYTES:
            raise StartRefused(
                f"a webhook's secret is {PREFIX} and base64 of {SHORTEST_BYTES} to {LONGEST_BYTES} "
                "random bytes: make one with openssl rand -base64 32"
            )
        return cls(key=key)


def sign(secrets: Sequence[WebhookSecret], *, name: str, at: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a webhook.

    Args:
        secrets: The secret, and while it is changed the other one too.
        name: The delivery's id, the same each time that it is tried.
        at: Unix second of this attempt.
        body: The bytes as they are sent.
    """
    signed = f"{name}.{at}.".encode() + body
    macs = [hmac.digest(secret.key, signed, hashlib.sha256) for secret in secrets]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs),
    }
