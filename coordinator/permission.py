"""Leave to publish and to train: the coordinator's questions to the one gate.

A release is asked for by its name, with who approved it and whether its card keeps to its
plan. A run is worth its budget only while what it makes may be released, so it starts and
goes on under the same rules; a no is recorded as evidence, the repeated yes is not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audit.gate import Gate
from models.release import Release, public_release
from policies.clock import Clock
from policies.decision import Facts, UseRequest
from policies.engine import PolicyEngine
from policies.permit import Permit
from policies.standing import Governance
from policies.terms import Plan
from policies.vocabulary import Action, NodeId, Purpose, ReleaseId, RunId, SubjectId


class Permission:
    """Asks the rules under the governance of the moment."""

    def __init__(
        self,
        *,
        name: NodeId,
        engine: PolicyEngine,
        gate: Gate,
        governance: Callable[[], Governance | None],
        clock: Clock,
    ) -> None:
        self._name, self._engine, self._gate = name, engine, gate
        self._governance, self._clock = governance, clock

    def to_release(self, release: ReleaseId, *, approved_by: str, protected: bool) -> Permit:
        """Return leave to publish this release.

        Raises:
            Refused: The rules said no; recorded.
            PolicyUnavailable, EvidenceUnavailable: No answer or no record, so no.
        """
        request = self._request(release, approved_by, protected=protected)
        return self._gate.open(request, None, self._governance())

    def check_run(self, run: RunId, *, approved_by: str) -> None:
        """Return if what the run makes may be released as things stand.

        Raises:
            Refused: The organisation stopped, did not approve training, or was not heard of
                lately; recorded.
            PolicyUnavailable, EvidenceUnavailable: No answer or no record, so no.
        """
        request = self._request(run, approved_by, protected=True)
        governance = self._governance()
        if not self._engine.decide(request, None, governance, now=self._clock()).allowed:
            self._gate.open(request, None, governance)

    def _request(self, subject: str, approved_by: str, *, protected: bool) -> UseRequest:
        return UseRequest(
            node=self._name,
            action=Action.RELEASE,
            purpose=Purpose.TRAINING,
            subject=SubjectId(subject),
            facts=Facts(leaves_node=True, protected=protected, approved_by=approved_by),
        )


def is_protected(release: Release, plan: Plan) -> bool:
    """Return whether the card states a loss within the plan, or no run and nobody's data made it.

    What states neither is not protected, and neither is a model with weights that nobody paid
    for, unless they are the public ones that ship, to the bit.
    """
    card = release.card
    if card.epsilon is None and card.delta is None:
        return release.run is None and (release.weights is None or _is_shipped(release))
    if card.epsilon is None or card.delta is None:
        return False
    return 0 <= card.epsilon <= plan.epsilon and 0 <= card.delta <= plan.delta


def _is_shipped(release: Release) -> bool:
    shipped = public_release(release.labels, release.encoder_digest)
    return (
        shipped is not None
        and shipped.weights is not None
        and np.array_equal(shipped.weights, release.weights)  # type: ignore[arg-type]
    )
