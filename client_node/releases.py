"""Which model runs here: only one that was published (promise 9).

A release counts after: 1. the coordinator signed the bundle; 2. the leaf beside it is in the
coordinator's log; 3. that leaf says this release was published, by its digest; 4. it is whole,
has its card, and is made for the encoder of this node; 5. it is not older in the log than the
one in force. Going back to an earlier model is a new entry in the coordinator's log, so an
old bundle that someone sends again is refused.

This is the only module that builds `VerifiedRelease`.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from audit.checkpoint import unverified_checkpoint
from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.keys import LogKeys
from audit.leaf import decode_leaf
from audit.log import EvidenceLog
from audit.receipt import verify_receipt
from audit.signing import SigningKey, VerifyKey, seal, unseal
from audit.trace import Foreign
from client_node.errors import ReleaseRejected
from client_node.tables import LoadedRelease, open_store
from models.errors import ModelError
from models.release import VerifiedRelease, release_from_dict
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import Digest

KIND = "release"


def verify_release(
    bundle: bytes, coordinator_key: VerifyKey, log_key: LogKeys, *, encoder_digest: Digest
) -> VerifiedRelease:
    """Return the release of a bundle once everything about it holds.

    Raises:
        ReleaseRejected: Not signed by the coordinator, not in its log, not what its log says,
            not whole, or made for another encoder.
    """
    try:
        body = unseal(KIND, bundle, coordinator_key)  # 1
        leaf = base64.b64decode(body["leaf"], validate=True)
        log_index = verify_receipt(body["proof"], leaf, log_key)  # 2
        event, _ = decode_leaf(leaf)
        release, stated = release_from_dict(body["release"]), digest(body["release"])  # 4
    except (AuditError, ModelError) as error:
        raise ReleaseRejected(f"not a published release: {error}") from error
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ReleaseRejected(f"not a release bundle ({type(error).__name__})") from error
    if (event.kind, event.fields.get("digest")) != (EventKind.RELEASE_PUBLISHED, stated):  # 3
        raise ReleaseRejected("the coordinator's log does not say that this release was published")
    if event.fields.get("release") != release.release_id:
        raise ReleaseRejected("the coordinator's log published it under another name")
    if release.encoder_digest != encoder_digest:
        raise ReleaseRejected("it is made for another encoder than this node's")
    return VerifiedRelease(release=release, digest=stated, log_index=log_index)


class Releases:
    """Keeps the release in force, over restarts; thread-safe."""

    def __init__(
        self,
        path: Path,
        *,
        coordinator_key: VerifyKey,
        log_key: VerifyKey,
        encoder_digest: Digest,
        key: SigningKey,
        log: EvidenceLog,
        clock: Clock,
        keys_of: Callable[[VerifyKey], LogKeys] = lambda first: first,
    ) -> None:
        """Load the release in force, verifying it again.

        Raises:
            ReleaseRejected: What is on disk is not what was published, or cannot be read.
        """
        self._first_keys, self._keys_of = (coordinator_key, log_key), keys_of
        self._encoder_digest, self._key, self._log, self._clock = encoder_digest, key, log, clock
        self._lock = threading.Lock()
        self._current: VerifiedRelease | None = None
        try:
            self._engine = open_store(path, [LoadedRelease])
            newest = select(LoadedRelease).order_by(col(LoadedRelease.number).desc()).limit(1)
            with Session(self._engine) as session:
                row = session.exec(newest).first()
        except (SQLAlchemyError, OSError) as error:
            raise ReleaseRejected(f"{path.name} cannot be read: {type(error).__name__}") from error
        if row is not None:
            self._current = self._verify(row.bundle)

    @property
    def _keys(self) -> tuple[VerifyKey, LogKeys]:
        """The coordinator's key, and those of its log as far as its witness here learned them."""
        coordinator_key, log_key = self._first_keys
        return coordinator_key, self._keys_of(log_key)

    @property
    def current(self) -> VerifiedRelease | None:
        """The release in force; None before the first: then nothing is read."""
        return self._current

    def load(self, bundle: bytes) -> bytes:
        """Put a published release in force; return the signed acknowledgement.

        Raises:
            ReleaseRejected: It is not published, or older than the one in force; the one in
                force stays. Both outcomes are logged.
            EvidenceUnavailable: The log cannot record; the one in force stays.
        """
        with self._lock:
            try:
                verified = self._verify(bundle)
                self._check_newer(verified)  # 5
            except ReleaseRejected:
                self._record(EventKind.RELEASE_REFUSED, reason="not-published")
                raise
            if self._current is None or self._current.digest != verified.digest:
                self._put_in_force(verified, bundle)
        return self._acknowledgement(verified)

    def all_published(self) -> list[Foreign]:
        """Return the coordinator's entry about each release that was loaded here, oldest first."""
        with Session(self._engine) as session:
            query = select(LoadedRelease.digest).order_by(col(LoadedRelease.log_index))
            digests = list(dict.fromkeys(session.exec(query)))
        return [f for f in map(self.published, digests) if f is not None]

    def published(self, release_digest: str) -> Foreign | None:
        """Return the coordinator's entry about a release that was loaded here, with its receipt."""
        return _published(self._engine, release_digest, *self._keys)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _verify(self, bundle: bytes) -> VerifiedRelease:
        return verify_release(bundle, *self._keys, encoder_digest=self._encoder_digest)

    def _check_newer(self, verified: VerifiedRelease) -> None:
        if self._current is not None and verified.log_index < self._current.log_index:
            raise ReleaseRejected(
                f"it is older in the log ({verified.log_index}) than the release in force "
                f"({self._current.log_index}): publish it again to go back to it"
            )

    def _put_in_force(self, verified: VerifiedRelease, bundle: bytes) -> None:
        self._record(
            EventKind.RELEASE_LOADED,
            release=verified.release.release_id,
            digest=verified.digest,
            log_index=verified.log_index,
        )
        row = LoadedRelease(
            release=verified.release.release_id,
            digest=verified.digest,
            log_index=verified.log_index,
            loaded_at=self._clock(),
            bundle=bundle,
        )
        try:
            with Session(self._engine) as session:
                session.add(row)
                session.commit()
        except SQLAlchemyError as error:
            raise ReleaseRejected(f"it cannot be kept: {type(error).__name__}") from error
        self._current = verified

    def _acknowledgement(self, verified: VerifiedRelease) -> bytes:
        body = {"release": verified.release.release_id, "digest": verified.digest}
        return seal("release-loaded", body, self._key)

    def _record(self, kind: EventKind, **fields: Any) -> None:
        self._log.append(Event(kind=kind, at=self._clock(), fields=fields))


def published_in(
    path: Path, coordinator_key: VerifyKey, log_key: LogKeys
) -> Callable[[str], Foreign | None]:
    """Return what finds releases in a node's file, as `Releases.published` does while it runs."""

    def find(release_digest: str) -> Foreign | None:
        if not path.is_file():
            return None
        engine = open_store(path, [LoadedRelease])
        try:
            return _published(engine, release_digest, coordinator_key, log_key)
        finally:
            engine.dispose()

    return find


def _published(
    engine: Engine, release_digest: str, coordinator_key: VerifyKey, log_key: LogKeys
) -> Foreign | None:
    """Return the entry in a kept bundle, once signature and receipt hold."""
    with Session(engine) as session:
        query = select(LoadedRelease).where(LoadedRelease.digest == release_digest)
        row = session.exec(query).first()
    if row is None:
        return None
    body = unseal(KIND, row.bundle, coordinator_key)
    leaf, proof = base64.b64decode(body["leaf"], validate=True), str(body["proof"])
    verify_receipt(proof, leaf, log_key)
    return Foreign(unverified_checkpoint(proof.partition("\n\n")[2]).origin, leaf, proof)
