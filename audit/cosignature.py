"""Cosignatures (C2SP tlog-cosignature): a witness's word that a checkpoint continues the last.

Ed25519, type 0x04: signed are a header, the time and the note's text. The key is the one that
the witness signs its own log with, under another key id: what it signs as a log begins with
the log's origin, what it signs as a witness with `cosignature/v1`, so neither can be taken for
the other. (ML-DSA-44, type 0x06, is a line of its own beside these when it comes.)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from audit.checkpoint import DASH, signatures_of, text_of
from audit.errors import SignatureInvalid
from audit.keys import SigningKey, VerifyKey

_ALGORITHM = b"\x04"
_KEY_ID_BYTES, _TIME_BYTES, _SIGNATURE_BYTES = 4, 8, 64
_LATEST_S = 2**63 - 1


def cosigner_id(key: VerifyKey) -> bytes:
    """Return the 4 bytes by which a note names this key as a witness's."""
    return hashlib.sha256(key.name.encode() + b"\n" + _ALGORITHM + key.public).digest()[:4]


def cosigner_vkey(key: VerifyKey) -> str:
    """Return the C2SP vkey of this key as a witness's, for others' tools."""
    encoded = base64.b64encode(_ALGORITHM + key.public).decode()
    return f"{key.name}+{cosigner_id(key).hex()}+{encoded}"


def cosign(note: str, key: SigningKey, *, at_s: int) -> str:
    """Return the signature line that vouches for a checkpoint at a Unix second.

    Raises:
        CheckpointInvalid: Not a signed note.
    """
    stamped = at_s.to_bytes(_TIME_BYTES, "big") + key.sign(_message(text_of(note), at_s))
    encoded = base64.b64encode(cosigner_id(key.verify_key) + stamped).decode()
    return f"{DASH}{key.name} {encoded}\n"


def verify_cosignature(note: str, key: VerifyKey) -> int:
    """Return the Unix second at which this witness vouched for the note; the latest of several.

    Raises:
        CheckpointInvalid: Not a signed note.
        SignatureInvalid: The witness did not cosign it, or one of its lines does not hold.
    """
    text, times = text_of(note), list[int]()
    for name, signature in signatures_of(note):
        # tlog-cosignature: ignore lines that match neither name nor key ID
        if (name, signature[:_KEY_ID_BYTES]) == (key.name, cosigner_id(key)):
            stamp, signed = signature[4:12], signature[12:]
            at_s = int.from_bytes(stamp, "big")
            if len(signed) != _SIGNATURE_BYTES or not 0 < at_s <= _LATEST_S:
                raise SignatureInvalid(f"the cosignature of {key.name} is malformed")
            key.verify(_message(text, at_s), signed)
            times.append(at_s)
    if not times:
        raise SignatureInvalid(f"not cosigned by {key.name} ({cosigner_id(key).hex()})")
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


def _message(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()
