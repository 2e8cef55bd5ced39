"""The second factor: a time-based code (RFC 6238, SHA-1, 6 digits, 30 s), each good once.

The secret is not stored: the service's key makes it from the account's name and a salt, so a
copy of the database signs nobody in. One step of clock error is allowed either way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import pyotp

STEP_S = 30
DIGITS = 6
_SECRET_BYTES = 20  # RFC 4226, section 4: 160 bits


class SecondFactor:
    """Makes and checks codes under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def secret(self, name: str, salt: str) -> str:
        """Return an account's secret in base32, as authenticator apps take it."""
        made = hmac.new(self._key, f"{name}\0{salt}".encode(), hashlib.sha256).digest()
        return base64.b32encode(made[:_SECRET_BYTES]).decode()

    def uri(self, name: str, salt: str, *, issuer: str) -> str:
        """Return the `otpauth:` address of the secret."""
        return pyotp.TOTP(self.secret(name, salt)).provisioning_uri(name=name, issuer_name=issuer)

    def step(self, name: str, salt: str, code: str, *, now: float) -> int | None:
        """Return the time step whose code this is, or None."""
        code = code.replace(" ", "")
        if not (salt and len(code) == DIGITS and code.isascii() and code.isdigit()):
            return None
        totp = pyotp.TOTP(self.secret(name, salt), interval=STEP_S)
        here = int(now) // STEP_S
        for step in (here - 1, here, here + 1):
            if hmac.compare_digest(totp.generate_otp(step), code):
                return step
        return None
