"""The signing registry: each algorithm by the type byte that C2SP signed-note gives it.

One row says all that a verifier needs: how a public key is read, how long key and signature are,
and which bytes are signed for a note. A second algorithm is one more row. A line of a type that
has no row is passed over, as signed-note asks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.errors import KeyInvalid, SignatureInvalid

TIME_BYTES = 8
_LATEST_S = 2**63 - 1
_LABEL = b"subtree/v1\n\x00"


class SignatureType(IntEnum):
    """C2SP signed-note's type bytes, of those that are known here."""

    ED25519 = 0x01
    COSIGNATURE = 0x04  # Ed25519 with a time (tlog-cosignature)
    ML_DSA_44 = 0x06  # FIPS 204 with a time, over the tree head (tlog-cosignature)


class PublicKey(Protocol):
    """What verifies raw signatures."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if the signature holds.

        Raises:
            cryptography.exceptions.InvalidSignature: It does not.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One row: `message` makes what is signed from signer's name, note text and Unix second."""

    words: str
    public_bytes: int
    signature_bytes: int
    timestamped: bool
    signs_logs: bool
    load: Callable[[bytes], PublicKey]
    message: Callable[[str, str, int], bytes]

    def split(self, blob: bytes) -> tuple[int, bytes]:
        """Return the Unix second (0 where none is signed) and the raw signature of a note's line.

        Raises:
            SignatureInvalid: Of another length, or at an impossible second.
        """
        stamp = TIME_BYTES if self.timestamped else 0
        at_s = int.from_bytes(blob[:stamp], "big")
        if len(blob) != stamp + self.signature_bytes or (stamp and not 0 < at_s <= _LATEST_S):
            raise SignatureInvalid(f"a signature of {self.words} is malformed")
        return at_s, blob[stamp:]


def _plain(_name: str, text: str, _at_s: int) -> bytes:
    return text.encode()


def _dated(_name: str, text: str, at_s: int) -> bytes:
    """tlog-cosignature, Ed25519 signed message."""
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _tree_head(name: str, text: str, at_s: int) -> bytes:
    """tlog-cosignature, `cosigned_message` of a checkpoint: its subtree starts at 0."""
    try:
        origin, size, root, *_ = text.split("\n")
        head = at_s.to_bytes(8, "big"), int(size).to_bytes(8, "big")
        hashed = base64.b64decode(root, validate=True)
        return b"".join(
            [_LABEL, _opaque(name), head[0], _opaque(origin), bytes(8), head[1], hashed]
        )
    except (ValueError, OverflowError, binascii.Error) as error:
        raise SignatureInvalid("the note is no checkpoint, so nothing was signed") from error


def _opaque(text: str) -> bytes:
    """Return `opaque<1..2^8-1>` (RFC 8446, section 3.4)."""
    data = text.encode()
    return len(data).to_bytes(1, "big") + data


def _ml_dsa_44(public: bytes) -> PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import (  # noqa: PLC0415
            MLDSA44PublicKey,  # not in every build of the library
        )

        return MLDSA44PublicKey.from_public_bytes(public)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise KeyInvalid("ML-DSA-44 is not in this build of cryptography: update it") from error


SCHEMES: Mapping[int, Scheme] = MappingProxyType(
    {
        SignatureType.ED25519: Scheme(
            words="Ed25519",
            public_bytes=32,
            signature_bytes=64,
            timestamped=False,
            signs_logs=True,
            load=Ed25519PublicKey.from_public_bytes,
            message=_plain,
        ),
        SignatureType.COSIGNATURE: Scheme(
            words="Ed25519 cosignature",
            public_bytes=32,
            signature_bytes=64,
            timestamped=True,
            signs_logs=False,
            load=Ed25519PublicKey.from_public_bytes,
            message=_dated,
        ),
        SignatureType.ML_DSA_44: Scheme(
            words="ML-DSA-44",
            public_bytes=1312,
            signature_bytes=2420,
            timestamped=True,
            signs_logs=False,
            load=_ml_dsa_44,
            message=_tree_head,
        ),
    }
)
