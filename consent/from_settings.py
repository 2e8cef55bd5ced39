"""What the trust service's settings name, as the values that it works with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from audit.archive import Archive
from audit.errors import KeyInvalid, RetentionInvalid
from audit.hold_book import HoldBook
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.retention import Retention
from audit.retention_keeper import RetentionKeeper
from audit.retention_policy import RetentionPolicy, load_retention
from audit.sealing import Sealing
from audit.signing import SigningKey, VerifyKey
from consent.errors import SettingsInvalid
from consent.settings import TrustSettings
from policies.clock import Clock


def code_version() -> str:
    """Return the version of the code that runs."""
    try:
        return version("undertone")
    except PackageNotFoundError:  # run from a source tree
        return "source"


def signing_key(settings: TrustSettings) -> SigningKey:
    """Return the service's key.

    Raises:
        SettingsInvalid: The file is no key.
    """
    try:
        return SigningKey.load(settings.signing_key)
    except KeyInvalid as error:
        raise SettingsInvalid(f"signing_key {settings.signing_key}: {error}") from error


def verify_keys(name: str, texts: Sequence[str]) -> list[VerifyKey]:
    """Return the public keys of a setting.

    Raises:
        SettingsInvalid: One is no verify key.
    """
    try:
        return [VerifyKey.parse(text) for text in texts]
    except KeyInvalid as error:
        raise SettingsInvalid(f"{name}: {error}") from error


def archive_of(settings: TrustSettings, key: VerifyKey) -> Archive | None:
    """Return where old entries are sealed, if anywhere."""
    return None if settings.archive is None else Archive(settings.archive, key)


def retention_keeper(
    settings: TrustSettings,
    *,
    log: EvidenceLog,
    holds: HoldBook,
    keystore: Keystore,
    archive: Archive | None,
    clock: Clock,
) -> RetentionKeeper:
    """Put retention together; `start` lets it run by the clock.

    Raises:
        SettingsInvalid: The periods cannot be read.
    """
    policy, sealing = _periods(settings), None
    if archive is not None:
        sealing = Sealing(log=log, archive=archive, policy=policy, clock=clock)
    retention = Retention(log=log, policy=policy, holds=holds, clock=clock, keystore=keystore)
    return RetentionKeeper(retention, sealing, clock=clock)


def _periods(settings: TrustSettings) -> RetentionPolicy:
    try:
        return load_retention(settings.retention)
    except RetentionInvalid as error:
        raise SettingsInvalid(f"retention: {error}") from error
