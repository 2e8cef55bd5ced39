"""Releases published: the first one for a plan's labels, a run's candidate, the base of a run.

Each by a permit of its own that names who approved it. Not here: what a release is and how it is
kept (`coordinator.release`), runs (`coordinator.running`).
"""

from __future__ import annotations

import threading

from coordinator.aggregation import candidate
from coordinator.errors import ReleaseRejected
from coordinator.journal import Journal, aggregates
from coordinator.permission import Permission, is_protected
from coordinator.registry import Published, Registry
from coordinator.release import ReleaseBook, first_release, fits, trained_release
from models.heads import plan_shape
from models.release import Release
from policies.terms import Plan
from policies.vocabulary import Digest, ReleaseId, RunId


class Publisher:
    """Publishes one release at a time; thread-safe."""

    def __init__(
        self, *, registry: Registry, journal: Journal, releases: ReleaseBook, permission: Permission
    ) -> None:
        self._registry, self._journal = registry, journal
        self._releases, self._permission = releases, permission
        self._lock = threading.RLock()

    def first(self, plan_digest: Digest, *, approved_by: str) -> Published:
        """Publish the abstaining release for a plan's labels, or return it if it is newest.

        Raises:
            PlanUnknown: The plan was not accepted.
            Refused: The rules do not let it be published.
            ReleaseRejected: The approver is not one word.
        """
        with self._lock:
            return self._first_of(self._registry.plan(plan_digest).plan, approved_by)

    def of_run(self, run: RunId, *, approved_by: str, abstain_below: float = 0.5) -> Published:
        """Publish a run's candidate: the average of the second half of its aggregates.

        Raises:
            RunUnknown: There is none of that name.
            Refused: The rules do not let it be published.
            ReleaseRejected: The run is not over, no round counted, or the approver is no word.
        """
        with self._lock:
            record = self._journal.run(run)
            found = self._registry.plan(record.plan_digest)
            made = aggregates(self._journal.rounds(run, shape=plan_shape(found.plan)))
            if not record.state.final or not made:
                raise ReleaseRejected(
                    f"run {run} is {record.state} with {len(made)} rounds that counted: "
                    "there is nothing to release"
                )
            release = trained_release(
                run, found, candidate(made), rounds=len(made), abstain_below=abstain_below
            )
            return self._publish(release, found.plan, approved_by)

    def base_of(self, plan: Plan, approved_by: str, named: ReleaseId | None) -> Published:
        """Return the release that a run starts at: the one named, the newest, or a first one.

        Raises:
            ReleaseUnknown: There is no release of that name.
            ReleaseRejected: The one that was named, or is to be evaluated, does not fit the plan.
            Refused: The rules do not let a first one be published.
        """
        with self._lock:
            if named is not None:
                base = self._releases.release(named)
            else:
                base = self._releases.latest() or self._first_of(plan, approved_by)
            if (named is not None or plan.rounds == 0) and not fits(base, plan):
                raise ReleaseRejected(
                    f"{base.release} answers with other labels, features or part than plan "
                    f"{plan.name}, or not at all: name a release that fits it"
                )
            return base

    def _first_of(self, plan: Plan, approved_by: str) -> Published:
        newest = self._releases.latest()
        names = tuple(name for name, _ in plan.labels)
        if newest is not None and newest.run is None and newest.labels == names:
            return newest
        return self._publish(first_release(plan), plan, approved_by)

    def _publish(self, unnamed: Release, plan: Plan, approved_by: str) -> Published:
        """Ask the gate for the release's own permit, then publish."""
        permit = self._permission.to_release(
            self._releases.upcoming(),
            approved_by=approved_by,
            protected=is_protected(unnamed, plan),
        )
        return self._releases.publish(unnamed, permit, approved_by=approved_by)
