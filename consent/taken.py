"""The file that a person takes away, verified by whoever has it, offline, by public keys alone.

It is the answer to a grant or withdrawal as it came: the receipt, the log's leaf and the
`.tlog-proof`, and the manage token where one was given. Verifying takes these steps:
1. the file has these parts and no other; 2. the leaf is in the log whose key is given; 3. the
leaf is the entry of this record, made at the receipt's second; 4. the leaf holds the digest of
this receipt, to the character; 5. the token is the one that the receipt is for.

What it cannot say: whether the consent is still in force. A later withdrawal is another receipt.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.keys import LogKeys
from audit.leaf import decode_leaf
from audit.receipt import verify_receipt
from consent.errors import ReceiptInvalid
from consent.tokens import token_hash
from policies.canonical import digest
from policies.vocabulary import Digest

_PARTS = frozenset({"record", "receipt", "log_index", "leaf", "proof"})
_KINDS = frozenset(
    {EventKind.GRANT_RECORDED, EventKind.WITHDRAWAL_RECORDED, EventKind.CONSENT_MOVED}
)
MOST_BYTES = 256 * 1024
NAMELESS = (
    "It names the company by its id alone, without address and contact: ask for them "
    "(GDPR 13(1)(a))."
)
UNINFORMED = (
    "It says that the notice was not shown first: such a yes is no valid consent (GDPR 4(11)), and "
    "nothing may rest on it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """What a verified receipt proves."""

    record: str
    log_index: int
    log_key: str
    receipt_digest: Digest
    receipt: dict[str, Any]

    def sentences(self) -> list[str]:
        """Return in plain words what holds, and what this does not say."""
        event = self.receipt["undertone:event"]
        what = event["dct:type"].removeprefix("undertone:")
        purposes = [
            name.removeprefix("undertone:") for name in self.receipt.get("dpv:hasPurpose", [])
        ]
        named = "dpv:hasName" in self.receipt["dpv:hasDataController"]
        of = f" for {', '.join(purposes)}" if purposes else ""
        company = self.receipt["dpv:hasDataController"]["dct:identifier"]
        return [
            f"Your {what}{of} at {company} was recorded at {event['dct:date']}.",
            f"This receipt is, to the character, what was recorded (log entry {self.log_index}).",
            f"The log is signed by the key {self.log_key}.",
            "It does not say what you chose later: each later choice has its own receipt.",
            *([] if named else [NAMELESS]),
            *([UNINFORMED] if _is_uninformed(self.receipt) else []),
        ]


def verify_taken(data: bytes, key: LogKeys) -> Holds:
    """Return what a receipt file proves against the log's public key.

    Raises:
        ReceiptInvalid: It is damaged, changed, of another log, or no receipt at all; the
            message says which part.
    """
    try:
        taken = _parts(data)  # 1
        leaf = _exact_base64(taken["leaf"], "leaf")
        _check_proof_bytes(taken["proof"])
        index = verify_receipt(taken["proof"], leaf, key)  # 2
        event, _ = decode_leaf(leaf)
        _check_entry(taken, event, index)  # 3
        found = digest(taken["receipt"])
        if event.fields.get("receipt") != found:  # 4
            raise ReceiptInvalid("the receipt is not the one that was recorded: a word differs")
        _check_token(taken)  # 5
    except (AuditError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, AuditError) else "it is damaged"
        raise ReceiptInvalid(f"the receipt does not hold: {reason}") from error
    return Holds(
        record=taken["record"],
        log_index=index,
        log_key=str(key),
        receipt_digest=found,
        receipt=taken["receipt"],
    )


def _is_uninformed(receipt: dict[str, Any]) -> bool:
    """Return whether it is of a yes that an earlier version took without information."""
    return receipt.get("dpv:hasNotice", {}).get("undertone:shownFirst") is False


def _parts(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise ReceiptInvalid(f"not a receipt file: longer than {MOST_BYTES} bytes")
    taken = json.loads(data)
    if not isinstance(taken, dict) or not _PARTS <= taken.keys() <= _PARTS | {"manage_token"}:
        raise ReceiptInvalid(f"not a receipt file: expected {', '.join(sorted(_PARTS))}")
    return taken


def _check_entry(taken: dict[str, Any], event: Event, index: int) -> None:
    receipt = taken["receipt"]
    if event.kind not in _KINDS or event.fields["record"] != taken["record"]:
        raise ReceiptInvalid("the log's entry is of another record than the file says")
    if taken["log_index"] != index or isinstance(taken["log_index"], bool):
        raise ReceiptInvalid(f"the proof is for entry {index}, the file says another")
    if receipt["dct:isPartOf"]["dct:identifier"] != taken["record"]:
        raise ReceiptInvalid("the receipt is of another record than the file says")
    at = datetime.fromisoformat(receipt["undertone:event"]["dct:date"]).timestamp()
    if int(event.at) != int(at):
        raise ReceiptInvalid("the receipt and the log's entry name different times")


def _check_token(taken: dict[str, Any]) -> None:
    token, wanted = taken.get("manage_token"), taken["receipt"].get("undertone:manageTokenDigest")
    if token is not None and (wanted is None or token_hash(token) != wanted):
        raise ReceiptInvalid("the manage token is not the one that this receipt is for")


def _check_proof_bytes(proof: str) -> None:
    """Refuse base64 with bits that no decoder reads, so that no byte can change unseen."""
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")[2:] + [
        line.rsplit(" ", 1)[-1] for line in note.split("\n") if line.startswith("\u2014 ")
    ]
    for line in lines:
        _exact_base64(line, "proof")


def _exact_base64(text: str, part: str) -> bytes:
    value = base64.b64decode(text, validate=True)
    if base64.b64encode(value).decode() != text:
        raise ReceiptInvalid(f"the {part} is damaged")
    return value
