"""The wrapping key: one 256-bit key in a file of its own, replaced at every erasure.

The file is `wrapping-NUMBER.key`; the keystore's table says which number its rows are
wrapped under. AES-256-GCM wraps each data key, bound to its person, label and key id.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.errors import KeystoreUnavailable, SealBroken
from audit.keystore_rows import KeyRow
from audit.private_files import create_private, destroy_file

_NONCE = 12
_KEY = 32


class WrappingKey:
    """Wraps and unwraps data keys; never printed."""

    def __init__(self, number: int, secret: bytes) -> None:
        self.number = number
        self._cipher = AESGCM(secret)

    @classmethod
    def create(cls, folder: Path, number: int) -> WrappingKey:
        """Make a new wrapping key and its durable file.

        Raises:
            OSError: The folder does not take it.
        """
        secret = os.urandom(_KEY)
        create_private(_path(folder, number), secret)
        return cls(number, secret)

    @classmethod
    def first(cls, folder: Path) -> WrappingKey:
        """Make the first wrapping key of a new table, or take the one a crash left unused.

        Raises:
            KeystoreUnavailable: Later wrapping keys are here: the table was moved or lost.
            OSError: The folder does not take it.
        """
        names = {path.name for path in folder.glob("wrapping-*.key")}
        if not names:
            return cls.create(folder, 1)
        if names != {_path(folder, 1).name}:
            raise KeystoreUnavailable(
                "wrapping keys without their table: put keys.db back, or clear the folder"
            )
        return cls.load(folder, 1)

    @classmethod
    def load(cls, folder: Path, number: int) -> WrappingKey:
        """Read the wrapping key of that number.

        Raises:
            KeystoreUnavailable: It is not there, or not a key.
        """
        try:
            secret = _path(folder, number).read_bytes()
        except OSError as error:
            raise KeystoreUnavailable(
                f"wrapping key {number} is not there: the keystore's table is older or newer "
                "than its wrapping key; a keystore is never restored from a copy"
            ) from error
        if len(secret) != _KEY:
            raise KeystoreUnavailable(f"wrapping key {number} is damaged")
        return cls(number, secret)

    def wrap(self, key: bytes, *, key_id: bytes, subject: str, label: str) -> bytes:
        """Return nonce and ciphertext of a data key."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key, _bound(key_id, subject, label))

    def unwrap(self, row: KeyRow) -> bytes:
        """Return the data key of a row.

        Raises:
            SealBroken: The row was changed, or is wrapped under another key.
        """
        bound = _bound(row.key_id, row.subject, row.label)
        try:
            return self._cipher.decrypt(row.wrapped[:_NONCE], row.wrapped[_NONCE:], bound)
        except (InvalidTag, ValueError) as error:
            raise SealBroken("a wrapped key was changed, or belongs to another row") from error


def destroy_other_wrapping_keys(folder: Path, keep: int) -> None:
    """Overwrite and unlink every wrapping key but one.

    Raises:
        OSError: The disk refuses; the file is still there and the next opening tries again.
    """
    for path in sorted(folder.glob("wrapping-*.key")):
        if path != _path(folder, keep):
            destroy_file(path)


def _path(folder: Path, number: int) -> Path:
    return folder / f"wrapping-{number}.key"


def _bound(key_id: bytes, subject: str, label: str) -> bytes:
    return b"\0".join((b"undertone/wrap/v1", key_id, label.encode(), subject.encode()))
