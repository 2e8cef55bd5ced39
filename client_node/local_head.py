"""The node's own head as it lies on disk: sealed under a key of its own, in no update and backup.

The key is in the keystore, which no backup includes, and belongs to nobody: destroying it makes
every copy of the file noise, wherever it went. A head is kept with a fresh random number inside,
so its digest, which the log names, tells nothing: not even somebody who knows everybody else's
data can try a guess against it.

What counts at a start is what the log says last: a file that was put back is not opened.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audit.errors import KeystoreError
from audit.keystore import Keystore
from audit.private_files import create_private
from client_node.errors import VaultError
from models.errors import ModelError
from models.personal import Gain, Personal
from models.update import weights_from_dict, weights_to_dict
from policies.canonical import canonical, digest
from policies.vocabulary import Digest, SubjectId

_NOBODY = SubjectId("local-head")
"""Whose key it is: no pseudonym has this form."""
_LABEL = "local-head"
_CONTEXT = b"undertone/local-head/v1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalHead:
    """A head of this node's for one release, by digest, and everybody who is in it.

    `good_until` is when the first of their consents ends, at the latest `LONGEST_S` on.
    """

    digest: Digest
    release: Digest
    personal: Personal
    people: frozenset[SubjectId] = field(repr=False)
    fitted_at: float
    good_until: float

    @property
    def takes_part(self) -> bool:
        """Whether it reads beside the release; else the release reads alone."""
        return self.personal.share > 0


def new_body(
    personal: Personal,
    *,
    release: Digest,
    people: Collection[SubjectId],
    fitted_at: float,
    good_until: float,
) -> dict[str, Any]:
    """Return a head as it is sealed, with a random number that hides it behind its digest."""
    return {
        "nonce": secrets.token_hex(32),
        "release": release,
        "weights": weights_to_dict(personal.weights),
        "share": personal.share,
        "temperature": personal.temperature,
        "gain": None if personal.gain is None else asdict(personal.gain),
        "people": sorted(people),
        "fitted_at": fitted_at,
        "good_until": good_until,
    }


def head_of(body: dict[str, Any]) -> LocalHead:
    """Return the head of a body.

    Raises:
        VaultError: It is none of this version.
    """
    try:
        gain = body["gain"]
        personal = Personal(
            weights=weights_from_dict(body["weights"]),
            share=float(body["share"]),
            temperature=float(body["temperature"]),
            gain=None if gain is None else Gain(**gain),
        )
        return LocalHead(
            digest=digest(body),
            release=Digest(body["release"]),
            personal=personal,
            people=frozenset(SubjectId(person) for person in body["people"]),
            fitted_at=float(body["fitted_at"]),
            good_until=float(body["good_until"]),
        )
    except (KeyError, TypeError, ValueError, ModelError) as error:
        raise VaultError(f"the local head is none ({type(error).__name__})") from error


class LocalHeadFile:
    """One sealed file beside the vault."""

    def __init__(self, path: Path, keystore: Keystore) -> None:
        self._path, self._keystore = path, keystore

    @property
    def exists(self) -> bool:
        """Whether there is anything to destroy."""
        return self._path.exists() or bool(self._keystore.labels(_NOBODY))

    def write(self, body: dict[str, Any]) -> None:
        """Seal a head under a new key, in the place of the one before.

        Raises:
            VaultError: Disk or keystore refuse; none is kept then.
        """
        self.destroy()
        try:
            sealed = self._keystore.seal(_NOBODY, _LABEL, canonical(body), context=_CONTEXT)
            create_private(self._path, sealed)
        except (KeystoreError, OSError) as error:
            raise VaultError(f"the local head cannot be kept: {type(error).__name__}") from error

    def read(self) -> LocalHead | None:
        """Return the head; None where there is none, or its key was destroyed."""
        try:
            sealed = self._path.read_bytes()
            opened = self._keystore.open(_NOBODY, _LABEL, sealed, context=_CONTEXT)
            return head_of(json.loads(opened))
        except (OSError, KeystoreError, VaultError, ValueError):
            return None

    def destroy(self) -> None:
        """Destroy the key, then the file.

        Raises:
            VaultError: Disk or keystore refuse; what is left is opened by nobody.
        """
        try:
            self._keystore.destroy(_NOBODY, _LABEL)
            self._path.unlink(missing_ok=True)
        except (KeystoreError, OSError) as error:
            raise VaultError(f"the local head is not destroyed: {type(error).__name__}") from error
