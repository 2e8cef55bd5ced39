"""What the centre signs and sends: the terms of a round or evaluation, the enrolment, a release.

Each is one sealed envelope (audit.signing) that nodes verify before they read it. The same
bytes go to every node.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from audit.signing import SigningKey, seal
from coordinator.aggregation import Weights
from models.update import weights_bytes, weights_digest
from policies.canonical import digest as digest_of
from policies.terms import RoundKind, RoundTerms, terms_to_dict
from policies.vocabulary import Digest

if TYPE_CHECKING:
    from coordinator.rounds import Run

VALID_S = 60
"""Terms expire this long after the deadline: time to travel, too short to keep for later."""
FIRST_ROUND = 1
ENVELOPES = {RoundKind.TRAIN: "terms", RoundKind.EVALUATE: "evaluation"}
"""The kind of envelope in which terms of each kind travel."""


def announce_terms(
    run: Run,
    number: int,
    weights: Weights,
    *,
    key: SigningKey,
    now: float,
    kind: RoundKind = RoundKind.TRAIN,
) -> tuple[RoundTerms, Digest, bytes]:
    """Return a round's terms, their digest, and the signed envelope with the weights."""
    terms = _terms(run, number, weights, now, kind)
    value = terms_to_dict(terms)
    body = {"terms": value, "weights": base64.b64encode(weights_bytes(weights)).decode()}
    return terms, digest_of(value), seal(ENVELOPES[kind], body, key)


def announce_enrolment(
    run: Run, weights: Weights, *, key: SigningKey, now: float
) -> tuple[Digest, bytes]:
    """Return the digest of a run's first terms and the signed question who is ready for them."""
    kind = RoundKind.TRAIN if run.plan.rounds else RoundKind.EVALUATE
    value = terms_to_dict(_terms(run, FIRST_ROUND, weights, now, kind))
    return digest_of(value), seal("enrolment", {"terms": value}, key)


def _terms(run: Run, number: int, weights: Weights, now: float, kind: RoundKind) -> RoundTerms:
    return RoundTerms(
        run=run.run,
        round_number=number,
        plan_digest=run.plan_digest,
        plan=run.plan,
        fab_digest=run.fab_digest,
        base_release=run.base_release,
        weights_digest=weights_digest(weights),
        issued_at=int(now),
        expires_at=int(now + run.plan.deadline_s + VALID_S),
        kind=kind,
    )
