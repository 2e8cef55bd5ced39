"""The offline auditor: a witness with nothing but copies of logs and their public keys.

Each copy is verified whole, and against the checkpoint that was cosigned from the copy before;
only then is its newest checkpoint cosigned. So a log that was cut, put back or rewritten between
two visits is named, and a log that passes carries the word of somebody outside.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from audit.archive import Archive
from audit.checkpoint import open_checkpoint
from audit.cosignature import cosign
from audit.errors import SignatureInvalid
from audit.keys import SigningKey, VerifyKey
from audit.verify import Progress, verify_log
from audit.witness_store import Seen, WitnessStore
from policies.clock import Clock


class Audited(NamedTuple):
    """A copy that holds: its size, its newest checkpoint, and our line over that."""

    size: int
    note: str
    cosignature: str


class Auditor:
    """Remembers what was cosigned of each log. `close` it."""

    def __init__(self, path: Path, key: SigningKey, *, clock: Clock) -> None:
        """Open or make the memory.

        Raises:
            EvidenceUnavailable: The file cannot be opened.
        """
        self._store, self._key, self._clock = WitnessStore(path), key, clock

    def audit(
        self,
        copy: Path,
        key: VerifyKey,
        *,
        progress: Progress | None = None,
        archive: Archive | None = None,
    ) -> Audited:
        """Verify a copy of the log of that first key, remember where it ends, and cosign that.

        Raises:
            LogTampered: It does not hold, or does not continue what was cosigned before.
            EvidenceUnavailable: The copy cannot be read, or the memory not written.
        """
        known = self._last_note(key)
        found = verify_log(copy, key, progress=progress, known_checkpoint=known, archive=archive)
        now = self._clock()
        line = cosign(found.note, self._key, at_s=int(now))
        origin = open_checkpoint(found.note, found.keys).origin
        self._store.learn(found.keys)
        self._store.remember(Seen(origin, found.size, found.root, found.note, now))
        return Audited(found.size, found.note, line)

    def close(self) -> None:
        """Close the memory."""
        self._store.close()

    def _last_note(self, key: VerifyKey) -> str | None:
        """Return the checkpoint of this key's log that was cosigned last, under any origin."""
        keys = self._store.keys_of(key)
        for origin in self._store.origins():
            seen = self._store.seen(origin)
            with suppress(SignatureInvalid):
                if seen is not None and open_checkpoint(seen.note, replace(keys, origin=None)):
                    return seen.note
        return None
