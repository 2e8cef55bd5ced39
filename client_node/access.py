"""Which integration is calling: API keys, known by their digests, compared in constant time.

The file has one `name:sha256:HEX` a line (`undertone-node key new` makes one), or `name:KEY`,
of which the digest is taken at once. Only its owner may read it. Wrong keys are slowed as wrong
bearer tokens of staff are (`audit.wrong_attempts`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.wrong_attempts import WrongAttempts
from client_node.errors import AccessDenied, StartRefused
from client_node.settings import read_secret
from policies.clock import Clock

SHORTEST_KEY = 32
_REMEDY = "send a valid API key: Authorization: Bearer KEY"
_LINE = re.compile(r"([a-z][a-z0-9-]{0,31}):(?:sha256:([0-9a-f]{64})|(\S+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """The digests of the keys, by integration, and who was wrong lately."""

    digests: Mapping[str, bytes] = field(repr=False)
    attempts: WrongAttempts = field(repr=False)

    @classmethod
    def load(cls, path: Path, *, clock: Clock = time.time) -> ApiKeys:
        """Read the file.

        Raises:
            StartRefused: Others may read it, or a line is not a key.
        """
        digests = {}
        for number, line in enumerate(read_secret(path).decode(errors="replace").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None or (found[3] is not None and len(found[3]) < SHORTEST_KEY):
                raise StartRefused(
                    f"API keys {path}: line {number} is not name:sha256:HEX, or its key is short"
                )
            digests[found[1]] = bytes.fromhex(found[2]) if found[2] else _digest(found[3])
        if not digests:
            raise StartRefused(f"API keys {path}: no key: run undertone-node key new")
        return cls(digests=digests, attempts=WrongAttempts(clock=clock))

    def integration(self, authorization: str | None, *, address: str = "") -> str:
        """Return the name behind an `Authorization: Bearer` header that came from an address.

        Raises:
            AccessDenied: No header, or no integration has that key.
            TooManyAttempts: Too many keys were wrong before, from there or this very one.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise AccessDenied(_REMEDY)
        shown = _digest(key)
        self.attempts.check(address, shown.hex())
        try:
            name = self._named(shown)
        except AccessDenied:
            self.attempts.wrong(address, shown.hex())
            raise
        self.attempts.right(address, shown.hex())
        return name

    def _named(self, shown: bytes) -> str:
        names = []
        for name, digest in self.digests.items():  # all of them, whichever fits
            if hmac.compare_digest(shown, digest):
                names.append(name)
        if not names:
            raise AccessDenied(_REMEDY)
        return names[0]


def new_key() -> tuple[str, str]:
    """Return a fresh API key and the digest that goes into the file."""
    key = secrets.token_urlsafe(SHORTEST_KEY)
    return key, _digest(key).hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
