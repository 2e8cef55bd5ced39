"""Proofs that a person was in a computation's batches here, or was not."""

from __future__ import annotations

import base64
from typing import Any

from audit.errors import EntryMissing
from audit.gate import Gate
from audit.log import EvidenceLog
from audit.statement import evaluation_of_batch, round_of_batch
from client_node.round_answers import RoundAnswers
from policies.terms import RoundKind
from policies.vocabulary import RunId, SubjectId

_OF = {RoundKind.TRAIN: round_of_batch, RoundKind.EVALUATE: evaluation_of_batch}


def prove_batches(
    answers: RoundAnswers,
    gate: Gate,
    log: EvidenceLog,
    *,
    computation: tuple[RunId, int, RoundKind],
    subject: SubjectId,
) -> list[dict[str, Any]]:
    """Return a proof for each batch of one round, or of one evaluation.

    Raises:
        EntryMissing: This node opened no batch for it.
    """
    run, number, kind = computation
    found = [
        index
        for index in answers.batches(run, number)
        if _OF[kind](log.entry(index).event) == (run, number)
    ]
    if not found:
        raise EntryMissing(f"no batch was opened here to {kind.value}, number {number} of {run}")
    return [_proof(gate, log, index, subject) for index in found]


def _proof(gate: Gate, log: EvidenceLog, index: int, subject: SubjectId) -> dict[str, Any]:
    batch = gate.batches.restore(index)
    return {
        "log_index": index,
        "root": batch.root,
        "blinded": batch.blinded(subject).hex(),
        "proof": batch.prove(subject),
        "leaf": base64.b64encode(log.entry(index).leaf).decode(),
        "receipt": log.receipt(index),
    }
