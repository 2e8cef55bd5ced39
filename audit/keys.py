"""Ed25519 keys with names.

A verify key is written as C2SP signed-note writes it: `name+keyid+base64(0x01 || key)`.
A signing key lives in a file of mode 0600 and is never overwritten, printed or pickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.errors import KeyInvalid, SignatureInvalid
from audit.private_files import create_private

_ALGORITHM = b"\x01"  # C2SP signed-note: Ed25519
_FILE_HEADER = "undertone-signing-key-v1"
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}")


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the name it speaks under; `str` of it is the C2SP vkey."""

    name: str
    public: bytes
    key_id: bytes = field(init=False)
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the name and the key, and derive the key id.

        Raises:
            KeyInvalid: The name has spaces or `+`, or the key is not 32 bytes.
        """
        check_key_name(self.name)
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public)
        except ValueError as error:
            raise KeyInvalid(f"key {self.name}: not 32 bytes of Ed25519") from error
        # signed-note: key ID = SHA-256(key name || 0x0A || signature type || public key)[:4]
        hashed = hashlib.sha256(self.name.encode() + b"\n" + _ALGORITHM + self.public).digest()
        object.__setattr__(self, "key_id", hashed[:4])
        object.__setattr__(self, "_key", key)

    def __str__(self) -> str:
        encoded = base64.b64encode(_ALGORITHM + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> VerifyKey:
        """Read a C2SP vkey.

        Raises:
            KeyInvalid: Not of the form, another algorithm, or a key id that does not match.
        """
        parts = text.strip().split("+", 2)
        try:
            name, key_id, encoded = parts
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise KeyInvalid("not a verify key: expected name+keyid+base64") from error
        if raw[:1] != _ALGORITHM:
            raise KeyInvalid(f"key {name[:80]}: not Ed25519 (algorithm byte 1)")
        key = cls(name, raw[1:])
        if key.key_id.hex() != key_id:
            raise KeyInvalid(f"key {name}: key id is {key_id[:16]}, expected {key.key_id.hex()}")
        return key

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return if the signature over the message is this key's.

        Raises:
            SignatureInvalid: It is not.
        """
        try:
            self._key.verify(signature, message)
        except InvalidSignature as error:
            raise SignatureInvalid(f"not signed by {self.name} ({self.key_id.hex()})") from error


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the name it speaks under; never printed, pickled or compared."""

    name: str
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            KeyInvalid: The name has spaces or `+`.
        """
        check_key_name(self.name)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a signing key is not pickled: save it to a file of mode 0600")

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """Make a new key from the operating system's randomness."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key that `save` wrote.

        Raises:
            KeyInvalid: No such file, others may read it, or not a signing key.
        """
        try:
            if path.stat().st_mode & 0o077:
                raise KeyInvalid(f"{path.name} can be read by other users: chmod 600 it")
            header, name, encoded = path.read_text(encoding="utf-8").splitlines()
            raw = base64.b64decode(encoded, validate=True)
            key = Ed25519PrivateKey.from_private_bytes(raw)
        except FileNotFoundError as error:
            raise KeyInvalid(f"{path.name} is not there: make the key first") from error
        except (OSError, ValueError, binascii.Error) as error:
            raise KeyInvalid(f"{path.name} is not a readable signing key") from error
        if header != _FILE_HEADER:
            raise KeyInvalid(f"{path.name} is not a signing key: expected {_FILE_HEADER}")
        return cls(name, key)

    def save(self, path: Path) -> None:
        """Write the key to a new file of mode 0600.

        Raises:
            KeyInvalid: The file exists (a key is never overwritten) or cannot be written.
        """
        encoded = base64.b64encode(self._key.private_bytes_raw()).decode()
        try:
            create_private(path, f"{_FILE_HEADER}\n{self.name}\n{encoded}\n".encode())
        except FileExistsError as error:
            raise KeyInvalid(f"{path.name} exists: a signing key is never overwritten") from error
        except OSError as error:
            raise KeyInvalid(f"{path.name} cannot be written: {error.strerror}") from error

    @property
    def verify_key(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self.name, self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature (RFC 8032)."""
        return self._key.sign(message)

    def derive(self, purpose: str) -> bytes:
        """Return 32 secret bytes for one purpose, the same each time (HKDF-SHA256, RFC 5869)."""
        info = b"undertone/derive/v1\n" + purpose.encode()
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info)
        return kdf.derive(self._key.private_bytes_raw())


def check_key_name(name: str) -> None:
    """Return if a signed note may carry this key name.

    Raises:
        KeyInvalid: Empty, longer than 200, or with spaces, `+` or control characters.
    """
    if not _NAME.fullmatch(name):
        raise KeyInvalid("a key name is 1 to 200 characters without spaces and '+'")
