"""How others learn that a log changed its key: the entries, proven in the log that they trust.

undertone-keys/v1
INDEX LEAF HASH HASH ...         (a line an entry, base64: its audit path in the checkpoint below)

old 20852014                     (what a log submits to a witness, `audit.submission`)
(consistency proof)

(the checkpoint, by the keys of its size)

Followed from the first key that the reader knows, offline. A witness also holds it against the
history that it cosigned before.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from audit.checkpoint import Checkpoint, open_checkpoint, signatures_of, unverified_checkpoint
from audit.errors import ProofInvalid, Refusal, WitnessRefused
from audit.key_chain import KeyChain
from audit.keys import VerifyKey
from audit.log import EvidenceLog
from audit.submission import Submission, read_submission, submission_of
from audit.tree import HASH_BYTES, leaf_hash, verify_inclusion

HEADER = "undertone-keys/v1"
MAX_BYTES = 2**20
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class Change(NamedTuple):
    """An entry that changes keys, and its audit path."""

    entry: int
    leaf: bytes
    path: tuple[bytes, ...]


class History(NamedTuple):
    """Changes of a log's keys, and the checkpoint that has them; unverified."""

    changes: tuple[Change, ...]
    submission: Submission

    def follow(self, first: VerifyKey) -> tuple[KeyChain, Checkpoint]:
        """Return the keys that come of the first one, and the checkpoint.

        1. each change follows from the keys before it; 2. the keys of its size signed the
        checkpoint; 3. each change is in it, at its index.

        Raises:
            SignatureInvalid, CheckpointInvalid, ProofInvalid: One of these does not hold.
        """
        chain = KeyChain.follow(first, ((c.entry, c.leaf) for c in self.changes))  # 1
        checkpoint = open_checkpoint(self.submission.note, chain)  # 2
        for index, leaf, path in self.changes:  # 3
            verify_inclusion(leaf_hash(leaf), index, checkpoint.size, path, checkpoint.root)
        return chain, checkpoint


def write_history(log: EvidenceLog, old_size: int) -> bytes:
    """Return all changes of a log's keys, for a witness that saw it last at `old_size`.

    Raises:
        EvidenceUnavailable: The log cannot be read.
    """
    changes, submission = log.keys.chain.events, submission_of(log, old_size)
    size = read_submission(submission).claimed.size
    lines = [
        " ".join([str(index), _encode(leaf), *map(_encode, log.inclusion(index, size))])
        for index, leaf in changes
        if index < size
    ]
    return "\n".join([HEADER, *lines, "", ""]).encode() + submission


def read_history(body: bytes) -> History:
    """Return the parts of a history.

    Raises:
        WitnessRefused: Malformed (400).
    """
    head, separator, rest = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
        changes = tuple(_change(line) for line in lines)
    except (ValueError, binascii.Error) as error:
        raise WitnessRefused(Refusal.MALFORMED, "not the history of a log's keys") from error
    if first != HEADER or not separator or len(body) > MAX_BYTES:
        raise WitnessRefused(Refusal.MALFORMED, f"not the history of a log's keys: {HEADER}")
    return History(changes, read_submission(rest))


def follow_file(data: bytes, first: VerifyKey) -> KeyChain:
    """Return the keys in a history that somebody kept, from the first key.

    Raises:
        ProofInvalid: It is no history.
        SignatureInvalid, CheckpointInvalid: It does not follow from that key.
    """
    try:
        return read_history(data).follow(first)[0]
    except WitnessRefused as error:
        raise ProofInvalid(str(error)) from error


def lacks_keys(note: str, keys: KeyChain) -> bool:
    """Return whether a checkpoint bears, or may need, a key of its log that these do not have.

    Raises:
        CheckpointInvalid: Not a checkpoint.
    """
    known = {term.key.key_id for term in keys.terms}
    by_log = {line[:4] for name, line in signatures_of(note) if name == keys.name}
    needed = {key.key_id for key in keys.keys_at(unverified_checkpoint(note).size)}
    return not by_log <= known or not needed <= by_log


def _change(line: str) -> Change:
    index, leaf, *path = line.split(" ")
    hashes = tuple(base64.b64decode(part, validate=True) for part in path)
    if not _NUMBER.fullmatch(index) or any(len(part) != HASH_BYTES for part in hashes):
        raise ValueError("not a change of keys")
    return Change(int(index), base64.b64decode(leaf, validate=True), hashes)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
