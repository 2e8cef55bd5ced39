"""The one signed envelope that everything on the wire wears; the door to keys and requests.

Messages of different kinds never share a signed prefix: envelopes sign "undertone/KIND/v1",
a newline and the canonical body; requests begin with "undertone-request/v1"
(`audit.requests`); a checkpoint is a note whose second line is a number.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from audit.errors import EnvelopeInvalid, SignatureInvalid
from audit.keys import SigningKey, VerifyKey
from audit.requests import ReplayGuard, sign_request, verify_request
from policies.canonical import canonical

__all__ = [
    "MAX_ENVELOPE_BYTES",
    "ReplayGuard",
    "SigningKey",
    "VerifyKey",
    "envelope_key_name",
    "seal",
    "sign_request",
    "unseal",
    "unseal_by",
    "verify_request",
]

MAX_ENVELOPE_BYTES = 16 * 2**20
"""Largest envelope that is parsed: two thousand people's standing is about 2 MiB."""

_PREFIX = b'{"body":'
_KIND = re.compile(r"[a-z][a-z0-9-]{0,40}")


class _Envelope(NamedTuple):
    """The parts of an envelope whose form is right; nothing is verified yet."""

    body: dict[str, Any]
    body_bytes: bytes
    key_name: str
    kind: str
    signature: bytes


def seal(kind: str, body: Mapping[str, Any], key: SigningKey) -> bytes:
    """Sign a JSON body and return the envelope.

    Args:
        kind: Lower-case word that says what the body is; part of what is signed.
        body: JSON values.
        key: The signer.

    Raises:
        EnvelopeInvalid: The kind is not a word, or the body is not JSON.
    """
    check_kind(kind)
    try:
        encoded = canonical(dict(body))
        signature = base64.b64encode(key.sign(_signed_bytes(kind, encoded))).decode()
        rest = canonical({"key": key.name, "kind": kind, "signature": signature})
    except (ValueError, RecursionError) as error:
        raise EnvelopeInvalid(f"the body of a {kind} envelope is not JSON") from error
    return _PREFIX + encoded + b"," + rest[1:]  # "body" sorts first


def unseal(
    kind: str, data: bytes, key: VerifyKey, *, max_bytes: int = MAX_ENVELOPE_BYTES
) -> dict[str, Any]:
    """Verify an envelope and return its body.

    1. size; 2. form, canonical to the byte; 3. kind and key name; 4. signature; then the body.

    Raises:
        EnvelopeInvalid: Too large, not JSON, not canonical, or of another kind.
        SignatureInvalid: Not signed by that key.
    """
    return unseal_by(kind, data, lambda _: key, max_bytes=max_bytes)


def unseal_by(
    kind: str,
    data: bytes,
    find_key: Callable[[Mapping[str, Any]], VerifyKey],
    *,
    max_bytes: int = MAX_ENVELOPE_BYTES,
) -> dict[str, Any]:
    """Verify an envelope whose body says which of its signer's keys it is under; as `unseal`.

    Args:
        kind: As sealed.
        data: The envelope.
        find_key: Returns the key; the body it gets is not verified, and may say anything.
        max_bytes: Largest envelope that is parsed.

    Raises:
        EnvelopeInvalid, SignatureInvalid: As in `unseal`.
    """
    check_kind(kind)
    if len(data) > max_bytes:  # 1
        raise EnvelopeInvalid(f"{kind} envelope has {len(data)} bytes, at most {max_bytes}")
    envelope = _parse(kind, data)  # 2
    if envelope.kind != kind:  # 3
        raise EnvelopeInvalid(f"expected a {kind} envelope, got another kind")
    key = find_key(envelope.body)
    if envelope.key_name != key.name:
        raise SignatureInvalid(f"{kind} envelope is not from {key.name}")
    key.verify(_signed_bytes(kind, envelope.body_bytes), envelope.signature)  # 4
    return envelope.body


def envelope_key_name(data: bytes) -> str:
    """Return the key name that an envelope claims, to look the key up; nothing is verified.

    Raises:
        EnvelopeInvalid: Not an envelope.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise EnvelopeInvalid(f"envelope has {len(data)} bytes, at most {MAX_ENVELOPE_BYTES}")
    return _parse("signed", data).key_name


def check_kind(kind: str) -> None:
    """Return if the kind is a lower-case word.

    Raises:
        EnvelopeInvalid: It is not.
    """
    if not _KIND.fullmatch(kind):
        raise EnvelopeInvalid("an envelope's kind is a lower-case word of at most 41 characters")


def _parse(kind: str, data: bytes) -> _Envelope:
    """Read an envelope that is canonical to the byte."""
    try:
        value = json.loads(data)
        if canonical(value) != data:
            raise EnvelopeInvalid(f"{kind} envelope is not canonical JSON (RFC 8785)")
        if set(value) != {"body", "key", "kind", "signature"}:
            raise EnvelopeInvalid(f"{kind} envelope lacks a part, or has one too many")
        body, name, found = value.pop("body"), value["key"], value["kind"]
        signature = base64.b64decode(value["signature"], validate=True)
        body_bytes = data[len(_PREFIX) : -len(canonical(value))]
    except (ValueError, TypeError, RecursionError) as error:
        raise EnvelopeInvalid(f"{kind} envelope is not JSON of the agreed form") from error
    if not (isinstance(body, dict) and isinstance(name, str) and isinstance(found, str)):
        raise EnvelopeInvalid(f"{kind} envelope has a part of the wrong type")
    return _Envelope(body, body_bytes, name, found, signature)


def _signed_bytes(kind: str, body: bytes) -> bytes:
    return b"undertone/" + kind.encode() + b"/v1\n" + body
