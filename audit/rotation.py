"""Rotate a log's key, with overlap: what an operator lists, begins and ends.

Rotating takes these steps, each durable before the next, so that it can be taken up again after a
crash at any of them and done twice without harm:
1. the new key is in a file; 2. the entry that the old key signed is in the log, under both keys.
Retiring: 1. the entry that the new key signed is in the log, under the new key alone; 2. the old
key's file is destroyed. The very first key's stays: the service seals and derives with it, but
the log no longer takes its word.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit.errors import EvidenceUnavailable, KeyChangeRefused, KeyInvalid
from audit.events import Event
from audit.key_chain import Reason, Term, introduce, retire
from audit.keys import SigningKey
from audit.log import EvidenceLog
from audit.log_keys import SUFFIX, SigningKeys
from audit.private_files import destroy_file, sync_folder
from policies.clock import Clock

MOST_OVERLAP_S = 400 * 86_400.0
DAY_S = 86_400.0


class KeyDesk:
    """An operator's hand on one log's keys; thread-safe."""

    def __init__(self, log: EvidenceLog, *, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()

    def list(self) -> list[dict[str, Any]]:
        """Return every key the log ever had, oldest first; public halves alone."""
        return [_shown(term, self._log.keys) for term in self._log.keys.chain.terms]

    def rotate(self, *, overlap_s: float) -> dict[str, Any]:
        """Bring a new key, beside which the old one goes on signing; return what is in force.

        While two keys sign this changes nothing, so that it may be said again.

        Args:
            overlap_s: How long both are to sign.

        Raises:
            KeyChangeRefused: There is no place for keys, or the overlap is no span.
            EvidenceUnavailable: It could not be made durable; say it again.
        """
        if not 0 <= overlap_s <= MOST_OVERLAP_S:
            text = f"overlap of {overlap_s:g} s: expected 0 to {MOST_OVERLAP_S:g}"
            raise KeyChangeRefused(text)
        with self._lock:
            if len(self._log.keys.chain.in_force) > 1:
                return self._state(changed=False)
            new = self._prepared(self._log.keys)  # 1
            old, origin, at = self._log.keys.signers[0], self._log.origin, self._clock()

            def make(index: int) -> Event:
                until = at + overlap_s
                return introduce(index, origin=origin, new=new, old=old, until=until, at=at)

            self._log.change_keys(make)  # 2
            return self._state(changed=True)

    def retire(self, *, compromised: bool = False) -> dict[str, Any]:
        """End the old key; return what is in force. Where no two sign, this changes nothing.

        Args:
            compromised: The old key may be in other hands: at once, whatever was planned.

        Raises:
            KeyChangeRefused: The overlap is not over.
            EvidenceUnavailable: It could not be made durable; say it again.
        """
        with self._lock:
            terms, at = self._log.keys.chain.in_force, self._clock()
            if len(terms) == 1:
                if len(self._log.keys.chain.terms) == 1:
                    raise KeyChangeRefused("the log has one key: rotate it first")
                self._destroy_retired()
                return self._state(changed=False)
            until = terms[1].until or 0.0
            if at < until and not compromised:
                raise KeyChangeRefused(
                    f"both keys sign for {until - at:.0f} s more, so that everybody hears of the "
                    "new one: wait, or say that the old one is compromised"
                )
            reason = Reason.COMPROMISED if at < until or compromised else Reason.ROTATED
            self._log.change_keys(self._retiring(terms[0], reason, at))  # 1
            self._destroy_retired()  # 2
            return self._state(changed=True)

    def _retiring(self, term: Term, reason: Reason, at: float) -> Callable[[int], Event]:
        origin, new = self._log.origin, self._log.keys.signers[1]
        return lambda index: retire(
            index, origin=origin, old=term.key, new=new, reason=reason, at=at
        )

    def _prepared(self, keys: SigningKeys) -> SigningKey:
        """Return a new key that is in a file: one that a crash left over, or a fresh one."""
        folder = keys.folder
        if folder is None:
            raise KeyChangeRefused("this log has no folder for keys")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder.parent)
            if (left := self._left_over(folder)) is not None:
                return left
            new = SigningKey.generate(keys.chain.name)
            new.save(folder / (new.verify_key.key_id.hex() + SUFFIX))
        except (OSError, KeyInvalid) as error:
            raise EvidenceUnavailable("the new key cannot be written") from error
        return new

    def _left_over(self, folder: Path) -> SigningKey | None:
        known = {term.key for term in self._log.keys.chain.terms}
        for part in folder.glob(f".*{SUFFIX}.new"):
            destroy_file(part)  # a crash left it without its name
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                found = SigningKey.load(path)
            except KeyInvalid:
                destroy_file(path)  # a crash cut its writing short, and nothing speaks of it
                continue
            if found.verify_key not in known and found.name == self._log.keys.chain.name:
                return found
        return None

    def _destroy_retired(self) -> None:
        """Destroy the files of keys that the log ended; more than once does nothing."""
        keys = self._log.keys
        for term in keys.chain.terms:
            path = keys.path_of(term.key)
            if term.last is not None and path is not None and path.is_file():
                try:
                    destroy_file(path)
                except OSError as error:
                    text = f"the retired key {term.key.key_id.hex()} cannot be destroyed"
                    raise EvidenceUnavailable(text) from error

    def _state(self, *, changed: bool) -> dict[str, Any]:
        return {"changed": changed, "size": self._log.size, "keys": self.list()}


def _shown(term: Term, keys: SigningKeys) -> dict[str, Any]:
    state = "signs" if term.last is None else "retired"
    return {
        "key_id": term.key.key_id.hex(),
        "key": str(term.key),
        "state": state,
        "from_size": term.first,
        "last_size": term.last,
        "overlap_until": term.until,
        "reason": None if term.reason is None else term.reason.value,
        "kept": "settings" if term is keys.chain.terms[0] else "log-keys",
    }
