"""What a log submits to a witness (C2SP tlog-witness, add-checkpoint).

old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
(more of the consistency proof, a hash each line)

(the signed checkpoint)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from audit.checkpoint import MAX_NOTE_BYTES, Checkpoint, unverified_checkpoint
from audit.errors import CheckpointInvalid, Refusal, WitnessRefused
from audit.log import EvidenceLog
from audit.tree import HASH_BYTES

MAX_SUBMISSION_BYTES = MAX_NOTE_BYTES + 4096
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_MOST_HASHES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A checkpoint, and the proof that it continues the one of `old_size`; unverified."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str
    claimed: Checkpoint


def write_submission(old_size: int, proof: Sequence[bytes], note: str) -> bytes:
    """Return the body of a submission."""
    hashes = [base64.b64encode(part).decode() for part in proof]
    return "\n".join([f"old {old_size}", *hashes, "", note]).encode()


def submission_of(log: EvidenceLog, old_size: int, *, size: int | None = None) -> bytes:
    """Return what a log submits to a witness that saw it last at `old_size`.

    Where the log has not got so far it shows what it has, without a proof.

    Raises:
        EntryMissing: There is no checkpoint at `size`.
        EvidenceUnavailable: The log cannot be read.
    """
    note = log.checkpoint() if size is None else log.checkpoint_at(size)
    newest = unverified_checkpoint(note).size
    if not 0 < old_size < newest:
        return write_submission(min(old_size, newest), (), note)
    return write_submission(old_size, log.consistency(old_size, newest), note)


def read_submission(body: bytes) -> Submission:
    """Return the parts of a submission.

    Raises:
        WitnessRefused: Malformed (400).
    """
    try:
        if len(body) > MAX_SUBMISSION_BYTES:
            raise WitnessRefused(Refusal.MALFORMED, f"at most {MAX_SUBMISSION_BYTES} bytes")
        head, separator, note = body.decode().partition("\n\n")
        first, *hashes = head.split("\n")
        old = _OLD.fullmatch(first)
        proof = tuple(base64.b64decode(line, validate=True) for line in hashes)
        claimed = unverified_checkpoint(note)
    except (ValueError, binascii.Error, CheckpointInvalid) as error:
        raise WitnessRefused(Refusal.MALFORMED, "not the body of an add-checkpoint call") from error
    hashes_hold = len(proof) <= _MOST_HASHES and all(len(part) == HASH_BYTES for part in proof)
    if old is None or not separator or not hashes_hold:
        raise WitnessRefused(Refusal.MALFORMED, "not the body of an add-checkpoint call")
    return Submission(old_size=int(old[1]), proof=proof, note=note, claimed=claimed)
