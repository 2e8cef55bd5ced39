"""The calling side of witnessing: submit our log, witness the other's, compare what a third saw.

A node calls its trust service and its coordinator; a coordinator calls the trust service.
Whatever a peer says is checked against signatures: its number in a conflict is only a hint, and
our own history is contradicted by nothing but a checkpoint under our own key.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, runtime_checkable

from audit.checkpoint import open_checkpoint
from audit.errors import (
    AuditError,
    CheckpointInvalid,
    LogTampered,
    PeerUnavailable,
    Refusal,
    SignatureInvalid,
    Tampering,
    WitnessRefused,
)
from audit.key_chain import KeyChain
from audit.key_history import read_history, write_history
from audit.keys import VerifyKey
from audit.submission import read_submission, submission_of
from audit.witnessing import (
    PREFIX,
    Witnessing,
    origin_hash,
    read_changes,
    write_cosignatures,
)
from policies.clock import Clock

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@runtime_checkable
class Peer(Protocol):
    """Carries one call to another service's `/v1/witness`."""

    def witness(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer.

        Raises:
            PeerUnavailable: There was none.
        """
        ...


class Exchange:
    """What one service does with its peers, one call at a time."""

    def __init__(self, witnessing: Witnessing, *, clock: Clock) -> None:
        self._own, self._clock = witnessing, clock
        self._lock = threading.Lock()
        self._told: dict[str, int] = {}

    def submit(self, peer: Peer, key: VerifyKey) -> int:
        """Have our log cosigned by a peer that witnesses it; return the size it then vouches for.

        1. from where it vouched last; 2. once more from where it says, if that is elsewhere;
        3. its cosignature is verified and kept, by keys that its own log brought if need be.

        A peer that was not told of our log's later keys is told with the checkpoint.

        Raises:
            PeerUnavailable: It does not answer, or knows our log not (yet): later again.
            LogTampered: It has a checkpoint under our own key that is not on our history: this
                log was rolled back or forked. It records nothing more.
        """
        with self._lock:
            last = self._own.store.cosigned_by(key.name)
            if last == self._own.log.size:
                return last
            status, answer = self._add(peer, key, last)  # 1
            if status == Refusal.CONFLICT and (told := _SIZE.fullmatch(answer)):
                self._compare_with_own(peer, at=int(told[1]))
                status, answer = self._add(peer, key, int(told[1]))  # 2
            if status == Refusal.INCONSISTENT:
                self._compare_with_own(peer, at=None)
            if status != HTTPStatus.OK:
                raise PeerUnavailable(f"{key.name} did not cosign: it answered {status}")
            lines = answer.decode(errors="replace")
            try:
                if self._own.lacks_witness_keys(lines, key):
                    history = _ok(*peer.witness("GET", f"{PREFIX}/keys?old=0", b""))
                    self._own.witness.learn(history, key)
            except CheckpointInvalid as error:
                raise PeerUnavailable(f"{key.name} answered with no signature lines") from error
            self._own.accept(write_cosignatures(self._submitted, [lines]))  # 3
            return self._submitted

    def witness(self, peer: Peer, origin: str) -> int:
        """Cosign the peer's own log, and bring it the cosignature; return the size.

        Raises:
            PeerUnavailable: It does not answer: later again.
            WitnessRefused: Its log does not continue what we cosigned; an alarm, where certain.
        """
        with self._lock:
            last = self._own.witness.last_size(origin)
            body = _ok(*peer.witness("GET", f"{PREFIX}/request?old={last}", b""))
            submitted = read_submission(body)
            if submitted.claimed.size == last and last:
                return last
            if self._own.witness.lacks_keys(submitted.note):
                body = _ok(*peer.witness("GET", f"{PREFIX}/keys?old={last}", b""))
                submitted = read_history(body).submission
                line = self._own.witness.add_keys(body, said_at=self._clock())
            else:
                line = self._own.witness.add_checkpoint(body, said_at=self._clock())
            brought = write_cosignatures(submitted.claimed.size, [line])
            _ok(*peer.witness("POST", f"{PREFIX}/cosignatures", brought))
            return submitted.claimed.size

    def gossip(self, teller: Peer, origin: str, log: Peer) -> None:
        """Hold what one peer saw of a third log against what we saw; the log itself must prove it.

        Raises:
            PeerUnavailable: One of them does not answer, or saw nothing yet: later again.
            WitnessRefused: They were shown two histories; there is an alarm.
        """
        path = f"{PREFIX}/{origin_hash(origin)}/checkpoint"
        note = _ok(*teller.witness("GET", path, b"")).decode(errors="replace")
        if self._own.witness.lacks_keys(note):
            raise PeerUnavailable("what was told is by keys that the log did not show us yet")

        def prove(old: int, new: int) -> bytes:
            path = f"{PREFIX}/request?old={old}&size={new}"
            status, body = log.witness("GET", path, b"")
            if status == Refusal.INCONSISTENT:
                raise WitnessRefused(Refusal.INCONSISTENT, "the log denies what it signed")
            return _ok(status, body)

        with self._lock:
            self._own.witness.compare(note, prove)

    def _add(self, peer: Peer, key: VerifyKey, old: int) -> tuple[int, bytes]:
        changes = len(self._own.log.keys.chain.events)
        if self._told.get(key.name, 0) == changes:
            body = submission_of(self._own.log, old)
            self._submitted = read_submission(body).claimed.size
            return peer.witness("POST", f"{PREFIX}/add-checkpoint", body)
        body = write_history(self._own.log, old)
        self._submitted = read_history(body).submission.claimed.size
        status, answer = peer.witness("POST", f"{PREFIX}/add-keys", body)
        if status == HTTPStatus.OK:
            self._told[key.name] = changes
        return status, answer

    def _compare_with_own(self, peer: Peer, *, at: int | None) -> None:
        """Return if the peer's checkpoint of our log is on our history; otherwise shut the log."""
        log = self._own.log
        if at is not None and at <= log.size:
            return
        path = f"{PREFIX}/{origin_hash(log.origin)}/checkpoint"
        note = _ok(*peer.witness("GET", path, b"")).decode(errors="replace")
        try:
            signed = open_checkpoint(note, self._keys_known_to(peer), origin=log.origin)
        except (CheckpointInvalid, SignatureInvalid, ValueError) as error:
            raise PeerUnavailable("a peer has a checkpoint of ours that is not ours") from error
        if signed.size > log.size:
            what = f"this log ends at {log.size}; a witness has our checkpoint at {signed.size}"
            raise log.shut(LogTampered(Tampering.TRUNCATED, what, index=log.size))
        if log.root(signed.size) != signed.root:
            what = f"a witness has our checkpoint of another history, at {signed.size}"
            raise log.shut(LogTampered(Tampering.FORKED, what, index=signed.size))

    def _keys_known_to(self, peer: Peer) -> KeyChain:
        """Return our own log's keys as a peer learned them: later ones too, were we put back."""
        log = self._own.log
        path = f"{PREFIX}/{origin_hash(log.origin)}/keys"
        theirs = read_changes(_ok(*peer.witness("GET", path, b"")))
        return max(
            (log.keys.chain, KeyChain.follow(log.key.verify_key, theirs)),
            key=lambda keys: len(keys.events),
        )


def each(*steps: Callable[[], object]) -> AuditError | None:
    """Take every step, whoever fails; return the first failure that is more than absence."""
    found: AuditError | None = None
    for step in steps:
        try:
            step()
        except PeerUnavailable:
            continue
        except AuditError as error:
            found = found or error
    return found


def _ok(status: int, body: bytes) -> bytes:
    if status != HTTPStatus.OK:
        raise PeerUnavailable(f"a witness's peer answered {status}")
    return body
