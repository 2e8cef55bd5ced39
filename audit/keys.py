"""Keys with names.

A verify key is written as C2SP signed-note writes it: `name+keyid+base64(type || key)`; what each
type is stands in `audit.algorithms`. A log may have several keys, one after another and for a
while two at once: `LogKeys` is what all that opens checkpoints asks.
A signing key lives in a file of mode 0600 and is never overwritten, printed or pickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.algorithms import SCHEMES, PublicKey, Scheme, SignatureType
from audit.errors import KeyInvalid, SignatureInvalid
from audit.private_files import create_private

_FILE_HEADER = "undertone-signing-key-v1"
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}")


class LogKeys(Protocol):
    """The keys of one log, each for its sizes."""

    @property
    def name(self) -> str:
        """The name that all of them speak under."""
        ...

    @property
    def origin(self) -> str | None:
        """The log's origin, where the keys were learned from the log itself."""
        ...

    def keys_at(self, size: int) -> tuple[VerifyKey, ...]:
        """Return the keys that must each have signed a checkpoint of that size."""
        ...


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the name it speaks under; `str` of it is the C2SP vkey.

    It is also the keys of a log that never changed its key.
    """

    name: str
    public: bytes
    kind: SignatureType = SignatureType.ED25519
    key_id: bytes = field(init=False)
    _key: PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the name and the key, and derive the key id.

        Raises:
            KeyInvalid: The name has spaces or `+`, or the key is not of its type's length.
        """
        check_key_name(self.name)
        scheme = self.scheme
        try:
            key = scheme.load(self.public)
        except ValueError as error:
            text = f"key {self.name}: not {scheme.public_bytes} bytes of {scheme.words}"
            raise KeyInvalid(text) from error
        # signed-note: key ID = SHA-256(key name || 0x0A || signature type || public key)[:4]
        hashed = hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()
        object.__setattr__(self, "key_id", hashed[:4])
        object.__setattr__(self, "_key", key)

    def __reduce__(self) -> tuple[type[VerifyKey], tuple[str, bytes, SignatureType]]:
        """Be handed to a process that helps to verify: made anew there, and checked again."""
        return VerifyKey, (self.name, self.public, self.kind)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._typed).decode()}"

    @property
    def scheme(self) -> Scheme:
        """What is known of the key's algorithm."""
        return SCHEMES[self.kind]

    @property
    def origin(self) -> str | None:
        """Nothing: a key alone does not say which log is its own."""
        return None

    def keys_at(self, size: int) -> tuple[VerifyKey, ...]:
        """Return this key alone, whatever the size."""
        del size
        return (self,)

    @property
    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.public

    @classmethod
    def parse(
        cls, text: str, *, kinds: frozenset[SignatureType] = frozenset({SignatureType.ED25519})
    ) -> VerifyKey:
        """Read a C2SP vkey of one of these types.

        Raises:
            KeyInvalid: Not of the form, another algorithm, or a key id that does not match.
        """
        parts = text.strip().split("+", 2)
        try:
            name, key_id, encoded = parts
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise KeyInvalid("not a verify key: expected name+keyid+base64") from error
        if raw[:1] not in {bytes([kind]) for kind in kinds}:
            wanted = " or ".join(f"{SCHEMES[k].words} (algorithm byte {k})" for k in sorted(kinds))
            raise KeyInvalid(f"key {name[:80]}: not {wanted}")
        key = cls(name, raw[1:], SignatureType(raw[0]))
        if key.key_id.hex() != key_id:
            raise KeyInvalid(f"key {name}: key id is {key_id[:16]}, expected {key.key_id.hex()}")
        return key

    def verify_line(self, text: str, blob: bytes) -> int:
        """Return the Unix second at which this key signed a note's text; 0 where none is signed.

        Args:
            text: The note's text.
            blob: What follows the key id in the signature line.

        Raises:
            SignatureInvalid: It did not.
        """
        at_s, signature = self.scheme.split(blob)
        self.verify(self.scheme.message(self.name, text, at_s), signature)
        return at_s

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
