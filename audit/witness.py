"""A witness (C2SP tlog-witness): cosigns a log's checkpoint if it continues the last one.

It trusts nobody: not the caller, who may be anyone, and not the log, whose history it holds
against what it cosigned before. A submission is judged in this order, with tlog-witness's
statuses:

1. its form (400); 2. its log is known (404); 3. the log signed it (403); 4. its old size is not
beyond the new (400); 5. the old size is the one cosigned last (409); 6. an empty log has the
empty root, and the proof holds (422); 7. it is remembered, durably; 8. it is cosigned.

A refusal alone accuses nobody, for anyone can send an old checkpoint or a broken proof. An
alarm needs two signed roots at one size, or the log's own word (`said_at`): what it sent over
its own connection, or signed at a time.

A log's later keys are learned from the log: with the entries that brought them (`add_keys`), by
the same order of judgement, so that they are remembered only with a checkpoint that continues
what was cosigned. A key that no entry brought is never taken.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable

from audit.checkpoint import Checkpoint, open_checkpoint, text_of
from audit.cosignature import cosign
from audit.errors import (
    CheckpointInvalid,
    ProofInvalid,
    Refusal,
    SignatureInvalid,
    WitnessRefused,
)
from audit.key_chain import KeyChain
from audit.key_history import History, lacks_keys, read_history
from audit.keys import SigningKey, VerifyKey
from audit.submission import Submission, read_submission
from audit.tree import EMPTY_ROOT, verify_consistency
from audit.witness_store import Alarm, Misdeed, Seen, WitnessStore
from policies.clock import Clock

FindLog = Callable[[str], VerifyKey | None]
"""Return the key of the log with this origin; None for a log that is not ours to witness."""


class Witness:
    """Cosigns; remembers; raises alarms. Thread-safe."""

    def __init__(
        self,
        store: WitnessStore,
        key: SigningKey,
        *,
        clock: Clock,
        find_log: FindLog,
        on_alarm: Callable[[Alarm], None] = lambda _: None,
        signers: Callable[[], Iterable[SigningKey]] | None = None,
    ) -> None:
        """Join the parts.

        Args:
            store: What was cosigned.
            key: Signs the cosignatures.
            clock: Unix seconds.
            find_log: Knows the logs, by the first key of each.
            signers: Instead of the one key all that sign now: two while one is rotated.
            on_alarm: Told of each new alarm, after it is on disk.
        """
        self._store, self._clock = store, clock
        self._signers = signers or (lambda: (key,))
        self._find_log, self._on_alarm = find_log, on_alarm
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes, *, said_at: float | None = None) -> str:
        """Cosign a submission; return the signature line.

        Args:
            body: What tlog-witness describes.
            said_at: When the log itself sent this, in Unix seconds, where that is certain.

        Raises:
            WitnessRefused: It is not cosigned; says why.
            EvidenceUnavailable: It could not be remembered, so it is not cosigned.
        """
        submitted = read_submission(body)  # 1
        checkpoint = self._open_note(submitted.note, submitted.claimed.origin)  # 2, 3
        return self._judge(submitted, checkpoint, None, said_at)

    def add_keys(self, body: bytes, *, said_at: float | None = None) -> str:
        """Learn a log's later keys and cosign the checkpoint that has them; return the line.

        Args:
            body: What `audit.key_history` describes.
            said_at: As in `add_checkpoint`.

        Raises:
            WitnessRefused, EvidenceUnavailable: As in `add_checkpoint`; nothing is learned then.
        """
        history = read_history(body)  # 1
        first = self._find_log(history.submission.claimed.origin)  # 2
        if first is None:
            raise WitnessRefused(Refusal.UNKNOWN_LOG, "this log is not known here")
        chain, checkpoint = self._follow(history, first)  # 3
        return self._judge(history.submission, checkpoint, chain, said_at)

    def learn(self, body: bytes, first: VerifyKey) -> None:
        """Learn the later keys of a log that is not ours to witness, for its word as a witness.

        Raises:
            WitnessRefused: Malformed (400), or it does not follow from the first key (403).
        """
        self._store.learn(self._follow(read_history(body), first)[0])

    def lacks_keys(self, note: str) -> bool:
        """Return whether a known log's checkpoint is by keys that were not learned yet."""
        try:
            first = self._find_log(text_of(note).partition("\n")[0])
            return first is not None and lacks_keys(note, self._store.keys_of(first))
        except CheckpointInvalid:
            return False

    def _follow(self, history: History, first: VerifyKey) -> tuple[KeyChain, Checkpoint]:
        try:
            chain, checkpoint = history.follow(first)
        except (SignatureInvalid, CheckpointInvalid, ProofInvalid) as error:
            raise WitnessRefused(Refusal.UNTRUSTED, f"keys of {first.name}: {error}") from error
        known = self._store.keys_of(first).events
        if chain.events[: len(known)] != known:
            raise WitnessRefused(Refusal.INCONSISTENT, f"keys of {first.name}: another history")
        return chain, checkpoint

    def _judge(
        self,
        submitted: Submission,
        checkpoint: Checkpoint,
        keys: KeyChain | None,
        said_at: float | None,
    ) -> str:
        if submitted.old_size > checkpoint.size:  # 4
            raise WitnessRefused(Refusal.MALFORMED, "the old size is beyond the checkpoint's")
        with self._lock:
            last = self._store.seen(checkpoint.origin)
            self._check_size(submitted, checkpoint, last, said_at)  # 5
            self._check_proof(submitted, checkpoint, last, said_at)  # 6
            at_s = int(self._clock())
            line = "".join(cosign(submitted.note, key, at_s=at_s) for key in self._signers())
            note = _only(submitted.note, self._find_log(checkpoint.origin)) + line
            known_by = self._clock() if said_at is None else said_at
            if keys is not None:
                self._store.learn(keys)
            self._store.remember(
                Seen(checkpoint.origin, checkpoint.size, checkpoint.root, note, known_by)
            )  # 7
        return line  # 8

    def compare(self, note: str, prove: Callable[[int, int], bytes]) -> None:
        """Hold what somebody else saw of a log against what we saw (gossip).

        Args:
            note: A checkpoint that the log signed, whoever brought it.
            prove: Asks the log itself for its submission from one size to another.

        Raises:
            WitnessRefused: The log did not sign it, or cannot prove that both are one history;
                in the second case there is an alarm.
        """
        theirs = self._open_note(note)
        ours = self._store.seen(theirs.origin)
        if ours is None or theirs.size == 0:
            return
        mine = Checkpoint(origin=ours.origin, size=ours.size, root=ours.root)
        old, new = sorted((mine, theirs), key=lambda checkpoint: checkpoint.size)
        try:
            proof = () if old.size == new.size else _proof(prove(old.size, new.size), old.size)
            verify_consistency(old.size, new.size, old.root, new.root, proof)
        except (ProofInvalid, WitnessRefused) as error:
            self._raise_alarm(theirs, Misdeed.FORKED, note)
            raise WitnessRefused(Refusal.INCONSISTENT, _fork(theirs, old.size)) from error

    def checkpoint(self, origin_hash: str) -> str:
        """Return the checkpoint last cosigned, by the SHA-256 of its origin in hexadecimal.

        Raises:
            WitnessRefused: None of that log was cosigned (404).
        """
        for origin in self._store.origins():
            if hashlib.sha256(origin.encode()).hexdigest() == origin_hash:
                seen = self._store.seen(origin)
                if seen is not None:
                    return seen.note
        raise WitnessRefused(Refusal.UNKNOWN_LOG, "no checkpoint of this log was cosigned")

    def keys_at(self, origin_hash: str) -> KeyChain:
        """Return the keys of a log that was cosigned, by the SHA-256 of its origin.

        Raises:
            WitnessRefused: None of that log was cosigned (404).
        """
        origin = text_of(self.checkpoint(origin_hash)).partition("\n")[0]
        first = self._find_log(origin)
        if first is None:
            raise WitnessRefused(Refusal.UNKNOWN_LOG, "this log is not known here")
        return self._store.keys_of(first)

    def last_size(self, origin: str) -> int:
        """Return the size of a log that was cosigned last; 0 for none."""
        seen = self._store.seen(origin)
        return 0 if seen is None else seen.size

    def _open_note(self, note: str, origin: str | None = None) -> Checkpoint:
        """Return the checkpoint that its known log signed."""
        named = text_of(note).partition("\n")[0] if origin is None else origin
        key = self._find_log(named)
        if key is None:
            raise WitnessRefused(Refusal.UNKNOWN_LOG, "this log is not known here")
        try:
            return open_checkpoint(note, self._store.keys_of(key), origin=named)
        except (SignatureInvalid, CheckpointInvalid) as error:
            raise WitnessRefused(Refusal.UNTRUSTED, f"not signed by {key.name}") from error

    def _check_size(
        self,
        submitted: Submission,
        checkpoint: Checkpoint,
        last: Seen | None,
        said_at: float | None,
    ) -> None:
        cosigned = 0 if last is None else last.size
        if last is not None and checkpoint.size == last.size and checkpoint.root != last.root:
            self._raise_alarm(checkpoint, Misdeed.FORKED, submitted.note)
            raise WitnessRefused(Refusal.INCONSISTENT, _fork(checkpoint, last.size))
        if last is not None and checkpoint.size < last.size and _later(said_at, last.known_by):
            self._raise_alarm(checkpoint, Misdeed.ROLLED_BACK, submitted.note)
        if submitted.old_size != cosigned:
            raise WitnessRefused(
                Refusal.CONFLICT, f"the checkpoint cosigned last has size {cosigned}", size=cosigned
            )

    def _check_proof(
        self,
        submitted: Submission,
        checkpoint: Checkpoint,
        last: Seen | None,
        said_at: float | None,
    ) -> None:
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise WitnessRefused(Refusal.INCONSISTENT, "an empty log has the empty root")
        if last is None or last.size == 0:
            if submitted.proof:
                raise WitnessRefused(Refusal.INCONSISTENT, "nothing is proven from size 0")
            return
        try:
            verify_consistency(
                last.size, checkpoint.size, last.root, checkpoint.root, submitted.proof
            )
        except ProofInvalid as error:
            if said_at is not None:
                self._raise_alarm(checkpoint, Misdeed.FORKED, submitted.note)
            raise WitnessRefused(Refusal.INCONSISTENT, _fork(checkpoint, last.size)) from error

    def _raise_alarm(self, checkpoint: Checkpoint, what: Misdeed, note: str) -> None:
        alarm = Alarm(checkpoint.origin, what, checkpoint.size, note, self._clock())
        if self._store.alarm(alarm):
            self._on_alarm(alarm)


def _later(said_at: float | None, known_by: float) -> bool:
    """Return whether the log itself said this after the other was known: no late delivery."""
    return said_at is not None and said_at > known_by


def _only(note: str, key: VerifyKey | None) -> str:
    """Return a note with the log's own signatures alone: nobody else's words are kept."""
    text, _, lines = note.rpartition("\n\n")
    kept = [
        line for line in lines.splitlines() if key is not None and line.split(" ")[1] == key.name
    ]
    return "\n".join([f"{text}\n", *kept, ""])


def _proof(body: bytes, old_size: int) -> tuple[bytes, ...]:
    submitted = read_submission(body)
    if submitted.old_size != old_size:
        raise WitnessRefused(Refusal.MALFORMED, "the log proved something else")
    return submitted.proof


def _fork(checkpoint: Checkpoint, size: int) -> str:
    return f"size {checkpoint.size} is not shown to continue the history cosigned at {size}"
