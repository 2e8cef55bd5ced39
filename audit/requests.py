"""Signed HTTP requests: how nodes say who they are, inside TLS.

Signed are method, path with query, time, a nonce and the digest of the body. A request is
good for `max_skew_s` around its time, and once where the service keeps a `ReplayGuard`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import secrets
import threading
from collections.abc import Callable, Mapping

from audit.errors import RequestExpired, SignatureInvalid
from audit.keys import SigningKey, VerifyKey

_HEADERS = ("undertone-key", "undertone-time", "undertone-nonce", "undertone-signature")


class ReplayGuard:
    """Remember the nonces of the last seconds and refuse the second use of one."""

    def __init__(self, *, window_s: float = 120.0, most: int = 1_000_000) -> None:
        self._window_s = window_s
        self._most = most
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def accept(self, key_name: str, nonce: str, *, now: float) -> None:
        """Remember a nonce.

        Raises:
            RequestExpired: It was used before, or too many are remembered to tell.
        """
        with self._lock:
            self._forget_older_than(now - self._window_s)
            entry = f"{key_name} {nonce}"
            if entry in self._seen:
                raise RequestExpired(f"request of {key_name} was seen before: sign it again")
            if len(self._seen) >= self._most:
                raise RequestExpired("too many requests in this window: try again later")
            self._seen[entry] = now

    def _forget_older_than(self, limit: float) -> None:
        """Drop old nonces; the dictionary is in order of arrival."""
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] >= limit:
                return
            del self._seen[oldest]


def sign_request(
    key: SigningKey, *, method: str, path: str, body: bytes, now: float
) -> dict[str, str]:
    """Return the headers that sign a request; `path` includes the query, as on the wire."""
    time_text, nonce = f"{now:.3f}", secrets.token_hex(16)
    message = _signed_bytes(method, path, time_text, nonce, body)
    return {
        "Undertone-Key": key.name,
        "Undertone-Time": time_text,
        "Undertone-Nonce": nonce,
        "Undertone-Signature": base64.b64encode(key.sign(message)).decode(),
    }


def verify_request(
    headers: Mapping[str, str],
    *,
    method: str,
    path: str,
    body: bytes,
    find_key: Callable[[str], VerifyKey | None],
    now: float,
    max_skew_s: float = 60.0,
    replay: ReplayGuard | None = None,
) -> str:
    """Return the name of the key that signed this very request just now.

    1. headers; 2. known key; 3. signature; 4. time; 5. first use.

    Raises:
        SignatureInvalid: A header is missing, the key unknown or the signature wrong.
        RequestExpired: The time is off by more than `max_skew_s`, or it is a replay.
    """
    given = [(name.lower(), value) for name, value in headers.items()]
    found = [[value for said, value in given if said == name] for name in _HEADERS]
    if not all(values and all(values) for values in found):  # 1
        raise SignatureInvalid("the request is not signed: Undertone-* headers are missing")
    if any(len(values) > 1 for values in found):
        raise SignatureInvalid("the request is signed twice: send each Undertone-* header once")
    name, time_text, nonce, encoded = (value for (value,) in found)
    key = find_key(name)
    if key is None or key.name != name:  # 2
        raise SignatureInvalid("the request is signed by a key that is not enrolled")
    try:
        signature, signed_at = base64.b64decode(encoded, validate=True), float(time_text)
    except (ValueError, binascii.Error) as error:
        raise SignatureInvalid("the request's signature or time is malformed") from error
    key.verify(_signed_bytes(method, path, time_text, nonce, body), signature)  # 3
    if not math.isfinite(signed_at) or abs(now - signed_at) > max_skew_s:  # 4
        raise RequestExpired(f"request of {name} is off by more than {max_skew_s:g} s: clocks?")
    if replay is not None:  # 5
        replay.accept(name, nonce, now=now)
    return name


def _signed_bytes(method: str, path: str, time_text: str, nonce: str, body: bytes) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    lines = ("undertone-request/v1", method.upper(), path, time_text, nonce, digest)
    return "\n".join(lines).encode()
