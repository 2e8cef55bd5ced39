"""What a round brings and needs, checked and made: its weights, its cost, its bags.

Pure functions of what was signed and of records that were opened under a permit.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from client_node.errors import RoundRefusal, RoundRefused, UpdateRejected
from client_node.vault import TrainingRecord
from models.accounting import plan_epsilon
from models.bags import Bags
from models.errors import ModelError
from models.features import FEATURES
from models.heads import plan_shape
from models.update import Update, update_from_dict, weights_digest, weights_from_bytes
from policies.terms import RoundTerms
from policies.vocabulary import SubjectId


def bags_of(records: Sequence[TrainingRecord], labels: Sequence[str]) -> Bags:
    """Return the records as bags; turns whose label is not in the plan are left out."""
    index = {label: number for number, label in enumerate(labels)}
    known = [record for record in records if record.label in index]
    owners: dict[SubjectId, int] = {}
    for record in known:
        owners.setdefault(record.subject, len(owners))
    features = np.zeros((len(known), FEATURES), np.float32)
    for row, record in enumerate(known):
        features[row] = record.features
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
