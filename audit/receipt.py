"""Receipts: an offline proof that a leaf is in a log (C2SP tlog-proof).

Whoever holds the leaf, the receipt and the log's verify key needs nobody else to check it.
The opaque `extra` line is refused: nothing of ours writes one, and it is not authenticated.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

from audit.checkpoint import MAX_NOTE_BYTES, Checkpoint, open_checkpoint
from audit.cosignature import require_witnesses
from audit.errors import ProofInvalid
from audit.keys import LogKeys, VerifyKey
from audit.tree import leaf_hash, verify_inclusion

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_MOST_HASHES = 63
_MOST_BYTES = MAX_NOTE_BYTES + 4096


def make_receipt(index: int, proof: Sequence[bytes], checkpoint: str) -> str:
    """Return the tlog-proof of an entry: index, audit path, and the signed checkpoint."""
    hashes = [base64.b64encode(part).decode() for part in proof]
    return "\n".join([_HEADER, f"index {index}", *hashes, "", checkpoint])


def checkpoint_in(path: Path) -> str:
    """Return the signed checkpoint in a file that is one, or a receipt with one; unverified.

    Raises:
        ProofInvalid: The file cannot be read as either.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProofInvalid(f"{path.name} cannot be read as a checkpoint or receipt") from error
    return text.partition("\n\n")[2] if text.startswith(_HEADER) else text


def verify_receipt(receipt: str, leaf: bytes, key: LogKeys) -> int:
    """Return the index at which the leaf is in the log of that key.

    Raises:
        ProofInvalid: Not a receipt, or it is for another leaf.
        CheckpointInvalid, SignatureInvalid: The log's key did not sign its checkpoint.
    """
    return open_receipt(receipt, leaf, key)[0]


def open_receipt(
    receipt: str,
    leaf: bytes,
    key: LogKeys,
    *,
    origin: str | None = None,
    witnesses: Sequence[VerifyKey] = (),
    at_least: int = 0,
) -> tuple[int, Checkpoint]:
    """Return index and checkpoint of a receipt that holds for the leaf.

    Args:
        receipt: The tlog-proof.
        leaf: The entry, to the byte.
        key: The log's, or its keys, each for its sizes.
        origin: The log's origin where the caller knows it.
        witnesses: Witnesses that the caller knows; a line of theirs that does not hold spoils all.
        at_least: How many of them must have cosigned.

    Raises:
        ProofInvalid: Not a receipt, or it is for another leaf.
        CheckpointInvalid, SignatureInvalid: The log's key did not sign its checkpoint, it is of
            another log than `origin`, or too few witnesses cosigned it.
    """
    head, separator, note = receipt.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(receipt) > _MOST_BYTES or len(lines) < 2:  # noqa: PLR2004
        raise ProofInvalid(f"not a receipt: expected {_HEADER}")
    index = _INDEX.fullmatch(lines[1])
    if lines[0] != _HEADER or index is None or len(lines) > _MOST_HASHES + 2:
        raise ProofInvalid(f"not a receipt: expected {_HEADER} and an index")
    try:
        proof = [base64.b64decode(line, validate=True) for line in lines[2:]]
    except (ValueError, binascii.Error) as error:
        raise ProofInvalid("a hash of the receipt is malformed") from error
    checkpoint = open_checkpoint(note, key, origin=origin)
    require_witnesses(note, witnesses, at_least=at_least)
    verify_inclusion(leaf_hash(leaf), int(index[1]), checkpoint.size, proof, checkpoint.root)
    return int(index[1]), checkpoint
