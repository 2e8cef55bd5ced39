"""Publish models: build the release and its card, log it, prove it, sign it.

    1. build    weights, labels, threshold, encoder and card, held to the organisation's standard
       permit   shown: leave of the gate for exactly this release (promise 1)
    2. log      a RELEASE_PUBLISHED leaf with the digest of its canonical bytes
    3. prove    the leaf's tlog-proof, so that a node can tell without the log
    4. seal     release, leaf and proof in one envelope, signed by the coordinator
    5. keep     the bundle, for every node that comes later

The permit comes before anything is logged or signed, and steps 2 to 4 come in this
order so that nothing is signed that is not logged. A release is
made by hand and names who approved it. Its card carries figures of public or consented sets
alone (`coordinator.standard`): whoever measured it on people's data at the nodes would have to
spend for it, so the harness or a private evaluation prints that.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from audit.signing import SigningKey, seal
from coordinator.aggregation import Weights
from coordinator.errors import ReleaseRejected
from coordinator.plan import Preview
from coordinator.registry import Published, Registry
from coordinator.standard import Standard
from models.card import Card
from models.heads import first_weights, plan_shape
from models.release import (
    Release,
    abstaining_release,
    public_release,
    release_from_dict,
    release_to_dict,
)
from policies.canonical import digest
from policies.clock import Clock
from policies.permit import Permit
from policies.terms import Plan
from policies.vocabulary import Action, Purpose, ReleaseId, RunId, SubjectId

_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
UNIT = "a person at a node (all their turns there, in all rounds)"
USE = "Hints and routing in customer service, under the node's own rules; never about employees."
LIMITS = (
    "It reads expressed cues in text, not what a person feels.",
    "Below its threshold it abstains; a node shows that as no answer.",
    "Trained on the customers of the nodes that took part; others may be served less well.",
)


def trained_release(
    run: RunId, found: Preview, weights: Weights, *, rounds: int, abstain_below: float
) -> Release:
    """Return the release that a run's candidate makes; its id is given at publication."""
    plan = found.plan
    return Release(
        release_id=ReleaseId(""),
        run=run,
        labels=plan.labels,
        weights=weights,
        abstain_below=abstain_below,
        encoder_digest=plan.encoder_digest,
        card=Card(
            data="Redacted turns of consenting customers, at the nodes; labels by themselves.",
            unit=UNIT,
            epsilon=found.epsilon,
            delta=plan.delta,
            plan_digest=found.digest,
            rounds=rounds,
            intended_use=USE,
            limits=LIMITS,
            epsilon_at_nodes=tuple(sorted(found.epsilon_at_nodes.items())),
        ),
        width=plan.width,
        modalities=plan.modalities,
    )


def first_release(plan: Plan) -> Release:
    """Return what nodes run before any training: the shipped head, or one that abstains."""
    shipped = public_release(plan.labels, plan.encoder_digest)
    return shipped or abstaining_release(plan.labels, plan.encoder_digest)


def starting_weights(base: Published, plan: Plan) -> Weights:
    """Return where a run begins: at the release in force if it fits, else where its part does.

    What was published may be used again at no privacy cost.
    """
    weights = release_from_dict(base.body).weights
    if weights is not None and fits(base, plan):
        return weights
    return first_weights(plan)


def fits(base: Published, plan: Plan) -> bool:
    """Tell whether the release answers, with the labels, features and part of the plan."""
    release = release_from_dict(base.body)
    if (release.labels, release.encoder_digest) != (plan.labels, plan.encoder_digest):
        return False
    if release.weights is None or release.width != plan.width:
        return False
    if release.modalities != plan.modalities:
        return False
    return release.weights.shape == plan_shape(plan)


class ReleaseBook:
    """Publish releases and keep them."""

    def __init__(
        self,
        registry: Registry,
        *,
        log: EvidenceLog,
        key: SigningKey,
        clock: Clock,
        standard: Standard | None = None,
    ) -> None:
        self._registry, self._log, self._key, self._clock = registry, log, key, clock
        self.standard = standard or Standard()

    def upcoming(self) -> ReleaseId:
        """Return the name that the next release will have; ask the gate for it."""
        return ReleaseId(f"release-{len(self.all())}")

    def publish(self, unnamed: Release, permit: Permit, *, approved_by: str) -> Published:
        """Number, log, prove, sign and keep a release.

        Raises:
            PermitInvalid: The permit is not for this release, or its seconds are over.
            ReleaseRejected: The approver is not one word (an id or an address), or the release
                does not meet the standard; that is logged.
            EvidenceUnavailable: The log cannot record; nothing is published.
        """
        if _PERSON.fullmatch(approved_by) is None:
            raise ReleaseRejected("approved_by is one word: a person's id or address")
        release = self._held(replace(unnamed, release_id=self.upcoming()))  # 1
        permit.cover(
            action=Action.RELEASE,
            purpose=Purpose.TRAINING,
            subject=SubjectId(release.release_id),
            now=self._clock(),
        )
        value = release_to_dict(release)
        published = Published(
            release=release.release_id,
            digest=digest(value),
            run=release.run,
            approved_by=approved_by,
            labels=tuple(name for name, _ in release.labels),
            body=value,
            bundle=self._bundle(release, value, approved_by, permit),  # 2, 3, 4
            published_at=self._clock(),
        )
        self._registry.add_release(published, number=len(self.all()))  # 5
        return published

    def _held(self, release: Release) -> Release:
        try:
            return self.standard.hold(release)
        except ReleaseRejected:
            fields = {"release": release.release_id, "reason": "below-standard"}
            kind = EventKind.RELEASE_REFUSED
            self._log.append(Event(kind=kind, at=self._clock(), fields=fields))
            raise

    def _bundle(
        self, release: Release, value: Mapping[str, Any], approved_by: str, permit: Permit
    ) -> bytes:
        fields: dict[str, Value] = {
            "release": release.release_id,
            "digest": digest(value),
            "run": release.run,
            "approved_by": approved_by,
            "card_digest": digest(value["card"]),
            "plan_digest": release.card.plan_digest,
            "decision_id": permit.decision_id,
        }
        event = Event(kind=EventKind.RELEASE_PUBLISHED, at=self._clock(), fields=fields)
        index = self._log.append(event)  # 2
        leaf, proof = self._log.entry(index).leaf, self._log.receipt(index)  # 3
        body = {"release": value, "leaf": base64.b64encode(leaf).decode(), "proof": proof}
        return seal("release", body, self._key)  # 4

    def all(self) -> tuple[Published, ...]:
        """Return all releases, oldest first."""
        return self._registry.releases()

    def latest(self) -> Published | None:
        """Return the newest release, or None before the first."""
        everything = self.all()
        return everything[-1] if everything else None

    def release(self, name: ReleaseId) -> Published:
        """Return one release.

        Raises:
            ReleaseUnknown: There is none of that name.
        """
        return self._registry.release(name)
