"""The key that signs identity tokens: a file of mode 0600 in the service's folder, one at a time.

A token lives two minutes and is read once, so a new key needs no time beside the old one: whoever
is just signing in begins again. The public half is what the other site fetches (RFC 7517).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from audit.errors import AccountsUnavailable
from audit.private_files import create_private, destroy_file

ALGORITHM = "ES256"


class SignOnKey:
    """Signs; thread-safe. The newest file of the folder counts, and older ones are destroyed.

    What `record` is told of a new key, by its id, is durable before there is a file of it.
    """

    def __init__(self, folder: Path, *, record: Callable[[str], None]) -> None:
        """Open the key, or make the first.

        Raises:
            AccountsUnavailable: The folder or the file cannot be used.
            EvidenceUnavailable: The first is not recorded, so it is not made.
        """
        self._folder = folder
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._number = max((_number(path) for path in self._files()), default=0)
            if self._number == 0:
                self._make(record)
            self._key = self._read()
            self._drop_others()
        except (OSError, ValueError, JoseError) as error:
            raise AccountsUnavailable(
                f"the key of single sign-on cannot be used ({type(error).__name__}): "
                f"check folder {folder.name} and its rights"
            ) from error

    def public(self) -> dict[str, Any]:
        """Return the key set (JWKS) without anything private."""
        return dict(KeySet([self._key]).as_dict(private=False))

    def sign(self, claims: Mapping[str, Any], *, kind: str = "JWT") -> str:
        """Return a signed token of that `typ`."""
        key = self._key
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": kind}
        return jwt.encode(header, dict(claims), key, [ALGORITHM])

    def rotate(self, *, record: Callable[[str], None]) -> str:
        """Sign with a new key from now on and destroy the old one; return the new one's id.

        Raises:
            AccountsUnavailable: The disk does not take it; the old one goes on signing.
            EvidenceUnavailable: It is not recorded, so likewise.
        """
        with self._lock:
            try:
                self._make(record)
                self._key = self._read()
                self._drop_others()
            except (OSError, ValueError, JoseError) as error:
                raise AccountsUnavailable(
                    f"the new key was not written ({type(error).__name__}): free disk, try again"
                ) from error
            return str(self._key.kid)

    def _files(self) -> list[Path]:
        return list(self._folder.glob("sign-on-*.pem"))

    def _make(self, record: Callable[[str], None]) -> None:
        key = ECKey.generate_key("P-256", auto_kid=True)
        record(str(key.kid))
        create_private(self._path(self._number + 1), key.as_pem(private=True))
        self._number += 1

    def _read(self) -> ECKey:
        data = self._path(self._number).read_bytes()
        key = ECKey.import_key(data, {"use": "sig", "alg": ALGORITHM})
        key.ensure_kid()
        return key

    def _drop_others(self) -> None:
        for path in self._files():
            if _number(path) != self._number:
                destroy_file(path)

    def _path(self, number: int) -> Path:
        return self._folder / f"sign-on-{number}.pem"


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
