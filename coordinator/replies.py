"""Check what a node sent back, before it may count.

A reply counts when it is an update, or the table of an evaluation, signed by that node's
registered key, for exactly these terms, of the right shape and all finite. A refusal is one word
of a closed set. Anything else is rejected with a reason that is ours, never the sender's text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from audit.errors import AuditError
from audit.signing import VerifyKey, unseal
from coordinator.aggregation import Weights, in_bounds
from coordinator.errors import ReplyRejected
from models.errors import ModelError
from models.heads import plan_shape
from models.private_evaluation import table_shape
from models.update import Update, update_from_dict
from policies.terms import RoundKind, RoundTerms
from policies.vocabulary import Digest, NodeId


class Rejection(StrEnum):
    """Why a reply does not count."""

    ABSENT = "absent"  # nothing came by the deadline
    REFUSED = "refused"  # the node's own, signed no
    UNKNOWN = "unknown"  # a node that was not asked
    SIGNATURE = "signature"  # not signed by the node's registered key
    TERMS = "terms"  # another run, round, node or digest: a replay, or changed terms
    SHAPE = "shape"  # not that of the plan's head, or not a table of the plan
    WEIGHTS = "weights"  # numbers that cannot be read, or NaN, or infinity
    MALFORMED = "malformed"  # not an envelope that we know


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The replies of a round, sorted into those that count and why the others do not.

    `updates` are weights, or tables `(group * row, label)` where an evaluation was asked for.
    """

    updates: Mapping[NodeId, Weights] = field(default_factory=dict)
    rejected: Mapping[NodeId, Rejection] = field(default_factory=dict)


_WANTED = {RoundKind.TRAIN: "update", RoundKind.EVALUATE: "table"}


class _Rejected(ReplyRejected):
    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.value)
        self.reason = reason


def check_replies(
    replies: Mapping[NodeId, bytes],
    *,
    cohort: Mapping[NodeId, VerifyKey],
    terms: RoundTerms,
    terms_digest: Digest,
) -> Checked:
    """Return which updates count, once for each node of the cohort."""
    updates: dict[NodeId, Weights] = {}
    rejected = dict.fromkeys(set(replies) - set(cohort), Rejection.UNKNOWN)
    for node, key in cohort.items():
        try:
            updates[node] = _admit(replies.get(node), node, key, terms, terms_digest)
        except _Rejected as error:
            rejected[node] = error.reason
    return Checked(updates=updates, rejected=rejected)


def _admit(
    reply: bytes | None, node: NodeId, key: VerifyKey, terms: RoundTerms, terms_digest: Digest
) -> Weights:
    if not reply:
        raise _Rejected(Rejection.ABSENT)
    kind = envelope_kind(reply)
    if kind not in (_WANTED[terms.kind], "refusal"):
        raise _Rejected(Rejection.MALFORMED)
    try:
        body = unseal(kind, reply, key)
    except AuditError as error:
        raise _Rejected(Rejection.SIGNATURE) from error
    if kind == "refusal":
        raise _Rejected(Rejection.REFUSED)
    return _admit_update(body, node, terms, terms_digest)


def _admit_update(
    body: dict[str, object], node: NodeId, terms: RoundTerms, terms_digest: Digest
) -> Weights:
    shape = _shape(terms)
    try:
        update: Update = update_from_dict(body)
    except ModelError as error:
        raise _Rejected(Rejection.WEIGHTS) from error
    expected = (terms.run, terms.round_number, node, terms_digest)
    if (update.run, update.round_number, update.node, update.terms_digest) != expected:
        raise _Rejected(Rejection.TERMS)
    if update.weights.shape != shape:
        raise _Rejected(Rejection.SHAPE)
    if not in_bounds(update.weights, shape=shape):
        raise _Rejected(Rejection.WEIGHTS)
    return update.weights


def _shape(terms: RoundTerms) -> tuple[int, int]:
    if terms.kind is RoundKind.EVALUATE:
        return table_shape(terms.plan)
    return plan_shape(terms.plan)


def envelope_kind(data: bytes) -> str:
    """Return the kind that an envelope claims, unverified; empty when it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


def acknowledged(
    replies: Mapping[NodeId, bytes], *, kind: str, cohort: Mapping[NodeId, VerifyKey]
) -> dict[NodeId, dict[str, object]]:
    """Return the bodies of correctly signed replies of one kind, by node."""
    bodies: dict[NodeId, dict[str, object]] = {}
    for node, reply in replies.items():
        if node in cohort and envelope_kind(reply) == kind:
            try:
                bodies[node] = unseal(kind, reply, cohort[node])
            except AuditError:
                continue
    return bodies
