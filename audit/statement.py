"""A node's signed statement that somebody was, or was not, in a round: a file for strangers.

It is an envelope of kind `batch-statement`, signed with the key of the node's log:

    subject, run, round   whom and what it is about; a pseudonym, never a customer id
    answer                present, or absent
    batches               one for each batch that was opened for the round: the entry's leaf, its
                          receipt, the person's blinded leaf, and the proof (`audit.batch`)

Checked in this order, with public keys alone: 1. the node signed it; 2. each entry is in the
node's log; 3. each is a batch of that very round, and none is shown twice; 4. each proof holds
for the root in its entry; 5. the answer is what the proofs show; 6. with a copy of the log: no
batch of the round was left out; 7. with the batches' keys, which an auditor may be given: the
blinded leaf is this person's, as the entry's `key_digest` binds it.

Without 7 a stranger has the node's signed word that the blinded leaf is this person's; two
statements that differ in it convict the node. The keys would let their holder look for anybody
whose pseudonym he has, so they are in no statement.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.batch import Membership, blind, key_digest, verify_batch_proof
from audit.errors import EnvelopeInvalid, EventInvalid, ProofInvalid
from audit.events import Event, EventKind
from audit.keys import LogKeys, SigningKey, VerifyKey
from audit.leaf import decode_leaf
from audit.receipt import open_receipt
from audit.signing import seal, unseal
from policies.vocabulary import RunId, SubjectId

KIND = "batch-statement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a statement that holds says; `entries` are the batches in the log `origin`."""

    subject: SubjectId
    run: RunId
    round_number: int
    answer: Membership
    origin: str
    entries: tuple[int, ...]
    bound: bool


def make_statement(
    subject: SubjectId,
    run: RunId,
    round_number: int,
    batches: Sequence[Mapping[str, Any]],
    key: SigningKey,
) -> bytes:
    """Return the signed statement over a round's batches.

    Args:
        subject: The person's pseudonym.
        run: The run.
        round_number: The round.
        batches: For each batch `leaf` (base64), `receipt`, `root`, `blinded` and `proof`.
        key: The node's.

    Raises:
        ProofInvalid: A proof shows neither presence nor absence.
    """
    body = {
        "subject": subject,
        "run": run,
        "round": round_number,
        "answer": _answer([_shown(batch, str(batch["root"])) for batch in batches]).value,
        "batches": [
            {name: batch[name] for name in ("leaf", "receipt", "blinded", "proof")}
            for batch in batches
        ],
    }
    return seal(KIND, body, key)


def verify_statement(
    data: bytes,
    key: VerifyKey,
    *,
    leaves: Iterable[tuple[int, bytes]] | None = None,
    batch_keys: Sequence[bytes] = (),
    log_keys: LogKeys | None = None,
) -> Statement:
    """Return what a statement says, once all of it holds.

    Args:
        data: The file.
        key: The node's verify key, the first of its log.
        leaves: All of the node's log, where a verified copy is at hand.
        batch_keys: The batches' keys, in any order, where the node opened them to an auditor.
        log_keys: All keys of the node's log, where it changed its first.

    Raises:
        EnvelopeInvalid: Not a statement.
        SignatureInvalid, CheckpointInvalid: Not signed by that key.
        ProofInvalid: An entry is not in the log or of another round, a proof does not hold or
            shows something else, a batch was left out, or the leaf is somebody else's.
    """
    body = unseal(KIND, data, key)  # 1
    try:
        subject, run, round_number = SubjectId(body["subject"]), body["run"], int(body["round"])
        stated, batches = Membership(body["answer"]), list(body["batches"])
        opened = [_open(batch, log_keys or key) for batch in batches]  # 2
        _check_round([event for _, _, event in opened], run, round_number)  # 3
        if len({index for index, _, _ in opened}) != len(opened):
            raise ProofInvalid("a batch is shown twice")
        found = [
            _shown(batch, str(event.fields["batch_root"]))
            for batch, (_, _, event) in zip(batches, opened, strict=True)
        ]  # 4
        if _answer(found) is not stated:  # 5
            raise ProofInvalid(f"the statement says {stated}, its proofs do not")
        if leaves is not None:
            _check_complete({index for index, _, _ in opened}, leaves, run, round_number)  # 6
        if batch_keys:
            pairs = zip(batches, opened, strict=True)
            for batch, (_, _, event) in pairs:
                _check_bound(subject, str(batch["blinded"]), event, batch_keys)  # 7
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnvelopeInvalid(f"not a statement ({type(error).__name__})") from error
    return Statement(
        subject=subject,
        run=RunId(run),
        round_number=round_number,
        answer=stated,
        origin=opened[0][1],
        entries=tuple(index for index, _, _ in opened),
        bound=bool(batch_keys),
    )


def round_of_batch(event: Event) -> tuple[str, int] | None:
    """Return run and round of a batch's event; None for a batch of something else."""
    return _asked_of(event, "train")


def evaluation_of_batch(event: Event) -> tuple[str, int] | None:
    """Return run and number of an evaluation's batch; None for a batch of something else."""
    return _asked_of(event, "evaluate")


def _asked_of(event: Event, asks: str) -> tuple[str, int] | None:
    """Return run and number of a batch that was asked for so; one that does not say so trains."""
    words = event.fields.get("context") if event.kind is EventKind.BATCH_DECISION else None
    context = dict(str(w).partition("=")[::2] for w in words) if isinstance(words, list) else {}
    if context.get("asks", "train") != asks:
        return None
    try:
        return context["run"], int(context["round"])
    except (KeyError, ValueError):
        return None


def _open(batch: Mapping[str, Any], key: LogKeys) -> tuple[int, str, Event]:
    """Return place, log and event of a batch's entry."""
    try:
        leaf = base64.b64decode(batch["leaf"], validate=True)
        index, checkpoint = open_receipt(str(batch["receipt"]), leaf, key)
        return index, checkpoint.origin, decode_leaf(leaf)[0]
    except (binascii.Error, EventInvalid) as error:
        raise ProofInvalid("an entry of the statement is no leaf of a log") from error


def _check_round(events: Sequence[Event], run: str, round_number: int) -> None:
    for event in events:
        if round_of_batch(event) != (run, round_number):
            raise ProofInvalid(f"an entry is no batch of round {round_number} of {run}")


def _shown(batch: Mapping[str, Any], root: str) -> Membership:
    return verify_batch_proof(root, batch["proof"], bytes.fromhex(str(batch["blinded"])))


def _answer(found: Sequence[Membership]) -> Membership:
    if not found:
        raise ProofInvalid("no batch is shown: nothing is proven")
    return Membership.PRESENT if Membership.PRESENT in found else Membership.ABSENT


def _check_complete(
    shown: set[int], leaves: Iterable[tuple[int, bytes]], run: str, round_number: int
) -> None:
    wanted, kind = f'"run={run}"'.encode(), f'"kind":"{EventKind.BATCH_DECISION}"'.encode()
    opened = {
        index
        for index, leaf in leaves
        if kind in leaf
        and wanted in leaf
        and round_of_batch(decode_leaf(leaf)[0]) == (run, round_number)
    }
    if opened != shown:
        raise ProofInvalid(
            f"the log has {len(opened)} batches of that round, the statement shows {len(shown)}"
        )


def _check_bound(
    subject: SubjectId, blinded: str, event: Event, batch_keys: Sequence[bytes]
) -> None:
    stated = event.fields.get("key_digest")
    key = next((key for key in batch_keys if key_digest(key) == stated), None)
    if key is None:
        raise ProofInvalid("no key given is the one that the batch's entry names")
    if not hmac.compare_digest(blind(subject, key=key).hex(), blinded):
        raise ProofInvalid("the blinded leaf is somebody else's")
