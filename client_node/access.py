"""Which integration is calling: API keys, known by their digests, compared in constant time.

The file has one `name:sha256:HEX:DAY` a line (`undertone-node key new` makes one), good to the end
of that day (UTC), or `name:sha256:HEX` or `name:KEY`, which stand until somebody takes them out;
each such key is told at the start. An integration may have several, so that the next is there
before the last ends. The file is read again when it changes, without a restart; one that then does
not hold changes nothing and is told. Only its owner may read it. Wrong keys are slowed as wrong
bearer tokens of staff are (`audit.wrong_attempts`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from audit.wrong_attempts import WrongAttempts
from client_node.errors import AccessDenied, StartRefused
from client_node.settings import read_secret
from policies.clock import Clock

SHORTEST_KEY = 32
_REMEDY = "send a valid API key: Authorization: Bearer KEY"
_LINE = re.compile(
    r"([a-z][a-z0-9-]{0,31}):(?:sha256:([0-9a-f]{64})(?::([0-9]{4}-[0-9]{2}-[0-9]{2}))?|(\S+))"
)
_log = logging.getLogger("undertone")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key: whose, its digest, and the last day on which it is good."""

    name: str
    digest: bytes = field(repr=False)
    last_day: date | None = None

    def ended(self, now: float) -> bool:
        """Tell whether it is over at a Unix second."""
        return self.last_day is not None and _day(now) > self.last_day


class ApiKeys:
    """The keys of the file as it is now, and who was wrong lately."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._version = _version(path)
        self._keys = _read(path)
        self.attempts = WrongAttempts(clock=clock)

    @classmethod
    def load(cls, path: Path, *, clock: Clock = time.time) -> ApiKeys:
        """Read the file.

        Raises:
            StartRefused: Others may read it, or a line is not a key.
        """
        keys = cls(path, clock=clock)
        for name in sorted({key.name for key in keys._keys if key.last_day is None}):
            _log.warning("API keys: %s has a key without an end: undertone-node key new", name)
        return keys

    def integration(self, authorization: str | None, *, address: str = "") -> str:
        """Return the name behind an `Authorization: Bearer` header that came from an address.

        Raises:
            AccessDenied: No header, no integration has that key, or it is over.
            TooManyAttempts: Too many keys were wrong before, from there or this very one.
        """
        scheme, _, shown = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise AccessDenied(_REMEDY)
        digest = _digest(shown)
        self.attempts.check(address, digest.hex())
        self._read_again()
        found = [
            key for key in self._keys if hmac.compare_digest(digest, key.digest)
        ]  # all of them
        if not found:
            self.attempts.wrong(address, digest.hex())
            raise AccessDenied(_REMEDY)
        self.attempts.right(address, digest.hex())
        now = self._clock()
        good = [key.name for key in found if not key.ended(now)]
        if not good:
            day = found[-1].last_day
            raise AccessDenied(f"this API key was good until {day}: ask the operator for the next")
        return good[0]

    def _read_again(self) -> None:
        """Read the file if it is another than the one that was read."""
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = _read(self._path)
        except StartRefused as error:
            _log.error("%s; the keys that were read before stay", error)


def new_key() -> tuple[str, str]:
    """Return a fresh API key and the digest that goes into the file."""
    key = secrets.token_urlsafe(SHORTEST_KEY)
    return key, _digest(key).hex()


def last_day(days: int, *, now: float) -> date:
    """Return the day that ends so many days after a Unix second."""
    return _day(now) + timedelta(days=days)


def _read(path: Path) -> tuple[ApiKey, ...]:
    keys = []
    for number, line in enumerate(read_secret(path).decode(errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key = _parsed(line.strip())
        if key is None:
            raise StartRefused(
                f"API keys {path}: line {number} is not name:sha256:HEX:DAY, or its key is short"
            )
        keys.append(key)
    if not keys:
        raise StartRefused(f"API keys {path}: no key: run undertone-node key new")
    return tuple(keys)


def _parsed(line: str) -> ApiKey | None:
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    name, digest, day, plain = found.groups()
    if plain is not None:
        known = len(plain) >= SHORTEST_KEY and not plain.startswith("sha256:")
        return ApiKey(name=name, digest=_digest(plain)) if known else None
    try:
        until = None if day is None else date.fromisoformat(day)
    except ValueError:
        return None
    return ApiKey(name=name, digest=bytes.fromhex(digest), last_day=until)


def _version(path: Path) -> tuple[int, ...]:
    """Return what tells one state of a file from another; nothing where it is away."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return state.st_ino, state.st_mtime_ns, state.st_size, state.st_mode


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, tz=UTC).date()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
