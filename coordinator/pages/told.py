"""One run as its pages tell it: the record, its plan with the costs, its rounds, its figures."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.journal import EvaluationRecord, RoundRecord, RunRecord
from coordinator.plan import Preview
from coordinator.service import CoordinatorService
from models.private_evaluation import Bounds, Figures, figures_of
from policies.terms import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run and all that is known of it."""

    record: RunRecord
    preview: Preview
    rounds: tuple[RoundRecord, ...]
    evaluations: tuple[EvaluationRecord, ...]

    @property
    def plan(self) -> Plan:
        """Return the plan."""
        return self.preview.plan

    def figures(self, one: EvaluationRecord) -> Figures | None:
        """Return what an evaluation measured; None if too few nodes answered."""
        if one.table is None:
            return None
        return figures_of(one.table, self.plan, nodes=one.replies)

    @property
    def final_accuracy(self) -> Bounds | None:
        """Return the macro-F1 of the last evaluation that counted."""
        counted = [found for one in self.evaluations if (found := self.figures(one)) is not None]
        return counted[-1].macro_f1 if counted else None


def told_of(service: CoordinatorService, record: RunRecord) -> Told:
    """Return a run with all that is known of it.

    Raises:
        PlanUnknown: Its plan was not accepted here.
    """
    return Told(
        record=record,
        preview=service.registry.plan(record.plan_digest),
        rounds=service.rounds(record.run),
        evaluations=service.evaluations(record.run),
    )
