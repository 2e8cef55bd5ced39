"""How sure the release in force really is at this branch: a temperature that stays here.

    1. gate(train)  for everybody with a labelled turn, as one batch
    2. vault        opens the labelled turns of those whom the gate allowed
    3. temperature  the divisor of the logits that makes their labels likeliest (Guo et al. 2017)
    4. keep         in memory, for this release alone

It is computed from people's data and charged to no budget, so it may not leave in any form. It
changes the confidence that the branch is shown, and nothing else: label, abstention, valence and
with them every decision, log entry and answer to a challenge are the release's own. It is gone
with a newer release, with the process, and when anybody withdraws from training.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from audit.gate import BATCH_SUBJECT, Gate
from client_node.errors import RecalibrationRefused
from client_node.releases import Releases
from client_node.standing_cache import StandingCache
from client_node.vault import TrainingRecord, Vault
from models.calibration import best_temperature
from models.heads import softmax
from models.inference import Reading
from models.release import Release
from policies.clock import Clock
from policies.decision import Facts, UseRequest
from policies.permit import Permit
from policies.vocabulary import Action, Digest, NodeId, Purpose

FEWEST_PEOPLE = 50
"""A temperature of few people would follow their labels rather than the branch's customers."""
MOST_TURNS = 20
"""Newest labelled turns of one person that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """What divides the logits of one release, named by its digest; above 1 it is less sure."""

    release: Digest
    value: float


class Recalibration:
    """Fits and applies the temperature; thread-safe."""

    def __init__(
        self,
        *,
        node: NodeId,
        gate: Gate,
        cache: StandingCache,
        vault: Vault,
        releases: Releases,
        clock: Clock,
        fewest_people: int = FEWEST_PEOPLE,
    ) -> None:
        """Begin without one."""
        self._node, self._gate, self._cache, self._vault = node, gate, cache, vault
        self._releases, self._clock, self._fewest_people = releases, clock, fewest_people
        self._lock = threading.Lock()
        self._found: Temperature | None = None
        self._withdrawals = 0

    def fit(self) -> Temperature:
        """Find the temperature from the labelled turns of those who allow training.

        Raises:
            RecalibrationRefused: There is nothing to calibrate, too few people gave labels, or
                somebody withdrew meanwhile.
            Refused: The organisation stopped, or did not approve training.
            PermitInvalid, PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing was read.
        """
        current, before = self._releases.current, self._withdrawals
        if current is None or current.release.weights is None:
            raise RecalibrationRefused("no release that answers is in force: nothing to calibrate")
        permit = self._permit()  # 1
        records = self._vault.open_batch(
            permit=permit, max_turns=MOST_TURNS, now=self._clock()
        )  # 2
        value = self._temperature(current.release, records)  # 3
        found = Temperature(release=current.digest, value=value)
        with self._lock:  # 4
            if self._withdrawals != before:
                raise RecalibrationRefused("somebody withdrew meanwhile: ask again")
            self._found = found
        return found

    def applied(self, reading: Reading) -> Reading:
        """Return the reading with the confidence of this branch, where there is a temperature."""
        found, current = self._found, self._releases.current
        if found is None or current is None or found.release != current.digest:
            return reading
        if reading.release_id != current.release.release_id or not reading.probabilities:
            return reading
        likely = np.array([probability for _, probability in reading.probabilities])
        cooled = softmax(np.log(np.maximum(likely, 1e-300)) / found.value)
        return replace(reading, confidence=float(cooled.max()))

    def withdraw(self) -> None:
        """Drop the temperature: it was made with somebody's turns who now says no."""
        with self._lock:
            self._withdrawals += 1
            self._found = None

    def _permit(self) -> Permit:
        people = (self._cache.standing(subject) for subject in self._vault.trainable())
        request = UseRequest(
            node=self._node,
            action=Action.TRAIN,
            purpose=Purpose.TRAINING,
            subject=BATCH_SUBJECT,
            facts=Facts(leaves_node=False),
        )
        return self._gate.open_batch(
            request,
            [standing for standing in people if standing is not None],
            self._cache.governance,
            context={"for": "recalibration"},
        )

    def _temperature(self, release: Release, records: Sequence[TrainingRecord]) -> float:
        names = tuple(name for name, _ in release.labels)
        known = [record for record in records if record.label in names]
        people = len({record.subject for record in known})
        head = release.head
        if people < self._fewest_people or head is None:
            raise RecalibrationRefused(
                f"fewer than {self._fewest_people} people gave labels that count: wait for more"
            )
        logits = head.logits(np.stack([record.features for record in known]))
        return best_temperature(logits, np.array([names.index(r.label) for r in known]))
