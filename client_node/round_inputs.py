"""What a round brings and needs, checked and made: its weights, its cost, its bags.

Pure functions of what was signed and of records that were opened under a permit.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from audit.errors import AuditError
from audit.signing import VerifyKey, unseal
from client_node.budget_ledger import ENROLMENT
from client_node.errors import RoundRefusal, RoundRefused, UpdateRejected
from client_node.vault import TrainingRecord
from models.accounting import plan_epsilon
from models.bags import Bags
from models.errors import ModelError
from models.features import FEATURES
from models.fusion import Layout, rows_of
from models.heads import plan_shape
from models.update import Update, update_from_dict, weights_digest, weights_from_bytes
from policies.canonical import digest
from policies.errors import PolicyInvalid, TermsRefused
from policies.node_policy import NodePolicy, check_terms
from policies.terms import RoundKind, RoundTerms, plan_to_dict, terms_from_dict, terms_to_dict
from policies.vocabulary import Modality, SubjectId

ASKED: Mapping[str, RoundKind] = {"terms": RoundKind.TRAIN, "evaluation": RoundKind.EVALUATE}
"""What an envelope's kind may ask for; an enrolment shows the run's first terms, whichever."""


def read_terms(
    kind: str, envelope: bytes, *, key: VerifyKey, policy: NodePolicy, now: float
) -> tuple[RoundTerms, dict[str, Any]]:
    """Return an envelope's terms and body, once the coordinator signed and the policy allows.

    Raises:
        RoundRefused: Signature, terms or plan do not hold.
    """
    try:
        body = unseal(kind, envelope, key)
        terms = terms_from_dict(body["terms"])
    except AuditError as error:
        raise RoundRefused(RoundRefusal.SIGNATURE, str(error)) from error
    except (PolicyInvalid, KeyError) as error:
        raise RoundRefused(RoundRefusal.TERMS, f"malformed: {type(error).__name__}") from error
    if ASKED.get(kind, terms.kind) is not terms.kind:
        raise RoundRefused(RoundRefusal.TERMS, "the terms are for another kind of round")
    try:
        check_terms(terms, policy, now=now)
    except TermsRefused as error:
        raise RoundRefused(RoundRefusal.TERMS, str(error)) from error
    if digest(plan_to_dict(terms.plan)) != terms.plan_digest:
        raise RoundRefused(RoundRefusal.TERMS, "the plan is not the one its digest names")
    check_cost(terms)
    return terms, body


def batch_context(terms: RoundTerms, round_number: int) -> dict[str, str]:
    """Return what a batch is for; what does not train says so."""
    context = {
        "run": terms.run,
        "round": str(round_number),
        "terms": digest(terms_to_dict(terms)),
        "plan": terms.plan_digest,
    }
    if terms.kind is not RoundKind.TRAIN and round_number != ENROLMENT:
        context["asks"] = terms.kind.value
    return context


def bags_of(
    records: Sequence[TrainingRecord], labels: Sequence[str], modalities: Layout = ()
) -> Bags:
    """Return the records as bags; turns whose label is not in the plan are left out.

    With a plan's `modalities` each turn is a row of a fusion. What is kept here is of texts, so
    that any other modality is missing.
    """
    index = {label: number for number, label in enumerate(labels)}
    known = [record for record in records if record.label in index]
    owners: dict[SubjectId, int] = {}
    for record in known:
        owners.setdefault(record.subject, len(owners))
    features = np.zeros((len(known), FEATURES), np.float32)
    for row, record in enumerate(known):
        features[row] = record.features
    if modalities:
        features = rows_of(modalities, {Modality.TEXT: features}, turns=len(known))
    return Bags(
        features=features,
        labels=np.array([index[record.label] for record in known], np.int64),
        owners=np.array([owners[record.subject] for record in known], np.int64),
    )


def check_cost(terms: RoundTerms) -> None:
    """Refuse a plan that costs a person more than it declares, or what cannot be computed."""
    try:
        cost = plan_epsilon(terms.plan)
    except ModelError as error:
        raise RoundRefused(RoundRefusal.TERMS, str(error)) from error
    if cost > terms.plan.epsilon:
        raise RoundRefused(
            RoundRefusal.TERMS,
            f"the plan declares epsilon {terms.plan.epsilon:g} and costs {cost:.3f}",
        )


def weights_of(terms: RoundTerms, body: Mapping[str, Any]) -> bytes:
    """Return the weights' bytes if they are those that the terms name."""
    try:
        data = base64.b64decode(body["weights"], validate=True)
        found = weights_digest(weights_from_bytes(data, shape=plan_shape(terms.plan)))
    except (KeyError, TypeError, binascii.Error, ModelError) as error:
        raise RoundRefused(RoundRefusal.MODEL, "the weights are not weights") from error
    if found != terms.weights_digest:
        raise RoundRefused(RoundRefusal.MODEL, "the weights are not those the terms name")
    return data


def update_of(value: Mapping[str, Any]) -> Update:
    """Return the executor's update.

    Raises:
        UpdateRejected: It cannot be read.
    """
    try:
        return update_from_dict(value)
    except ModelError as error:
        raise UpdateRejected(f"not an update: {error}") from error
