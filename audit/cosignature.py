"""Cosignatures (C2SP tlog-cosignature): a witness's word that a checkpoint continues the last.

Ours are Ed25519, type 0x04: signed are a header, the time and the note's text. The key is the one
that the witness signs its own log with, under another key id: what it signs as a log begins with
the log's origin, what it signs as a witness with `cosignature/v1`, so neither can be taken for
the other. Others' may be ML-DSA-44, type 0x06, which the specification prefers.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from audit.algorithms import TIME_BYTES, SignatureType
from audit.checkpoint import DASH, signatures_of, text_of
from audit.errors import SignatureInvalid
from audit.keys import SigningKey, VerifyKey

_KEY_ID_BYTES = 4
_KINDS = frozenset(SignatureType)


def parse_witness(text: str) -> VerifyKey:
    """Read a witness's vkey: of its log (0x01), or as a witness (0x04, or ML-DSA-44, 0x06).

    Raises:
        KeyInvalid: It is none of these.
    """
    return VerifyKey.parse(text, kinds=_KINDS)


def as_cosigner(key: VerifyKey) -> VerifyKey:
    """Return the key under the id by which notes name it as a witness's."""
    if key.kind is not SignatureType.ED25519:
        return key
    return VerifyKey(key.name, key.public, SignatureType.COSIGNATURE)


def cosigner_id(key: VerifyKey) -> bytes:
    """Return the 4 bytes by which a note names this key as a witness's."""
    return as_cosigner(key).key_id


def cosigner_vkey(key: VerifyKey) -> str:
    """Return the C2SP vkey of this key as a witness's, for others' tools."""
    return str(as_cosigner(key))


def cosign(note: str, key: SigningKey, *, at_s: int) -> str:
    """Return the signature line that vouches for a checkpoint at a Unix second.

    Raises:
        CheckpointInvalid: Not a signed note.
    """
    own = as_cosigner(key.verify_key)
    signature = key.sign(own.scheme.message(key.name, text_of(note), at_s))
    stamped = own.key_id + at_s.to_bytes(TIME_BYTES, "big") + signature
    encoded = base64.b64encode(stamped).decode()
    return f"{DASH}{key.name} {encoded}\n"


def verify_cosignature(note: str, key: VerifyKey) -> int:
    """Return the Unix second at which this witness vouched for the note; the latest of several.

    Raises:
        CheckpointInvalid: Not a signed note.
        SignatureInvalid: The witness did not cosign it, or one of its lines does not hold.
    """
    text, own = text_of(note), as_cosigner(key)
    # tlog-cosignature: ignore lines that match neither name nor key ID
    times = [
        own.verify_line(text, signature[_KEY_ID_BYTES:])
        for name, signature in signatures_of(note)
        if (name, signature[:_KEY_ID_BYTES]) == (own.name, own.key_id)
    ]
    if not times:
        raise SignatureInvalid(f"not cosigned by {key.name} ({own.key_id.hex()})")
    return max(times)


def require_witnesses(note: str, witnesses: Sequence[VerifyKey], *, at_least: int) -> None:
    """Return if so many of these witnesses cosigned the note.

    Raises:
        CheckpointInvalid: Not a signed note.
        SignatureInvalid: Fewer did, or a line of one of them does not hold.
    """
    present = {(name, signature[:_KEY_ID_BYTES]) for name, signature in signatures_of(note)}
    given = [key for key in witnesses if (key.name, cosigner_id(key)) in present]
    for key in given:
        verify_cosignature(note, key)
    if len(given) < at_least:
        raise SignatureInvalid(f"{len(given)} known witnesses cosigned, expected {at_least}")
