"""A coordinator's own parts around the product's rounds: log, central ledger and journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audit.log import EvidenceLog
from audit.signing import SigningKey
from coordinator.budget_ledger import CentralLedger
from coordinator.journal import Journal, RunState
from coordinator.rounds import Centre, Run, hold_run
from coordinator.tables import open_store
from policies.canonical import digest
from policies.terms import plan_to_dict
from policies.vocabulary import Digest, ReleaseId, RunId
from tests.client_node.conftest import World
from tests.promises.town import Fleet


@dataclass
class Headquarters:
    """Holds runs in memory; `close` it when done."""

    folder: Path
    key: SigningKey
    now: float

    def __post_init__(self) -> None:
        self.folder.mkdir()
        clock = self.clock
        engine = open_store(self.folder / "coordinator.db")
        self.log = EvidenceLog(self.folder / "log.db", self.key, origin="coordinator", clock=clock)
        self.journal = Journal(engine, clock=clock)
        self.ledger = CentralLedger(engine, epsilon_ceiling=50, delta_ceiling=1e-3, clock=clock)

    def clock(self) -> float:
        """Return the town's time."""
        return self.now

    def hold(self, branch: World, fleet: Fleet, *, run: str = "run-1") -> RunState:
        """Hold the branch's plan as a run with everybody in the fleet."""
        plan = branch.plan()
        terms = Run(
            run=RunId(run),
            plan=plan,
            plan_digest=digest(plan_to_dict(plan)),
            fab_digest=Digest("f" * 64),
            base_release=ReleaseId("release-0"),
            start=np.zeros((plan.features, len(plan.labels)), np.float32),
        )
        self.ledger.reserve_run(terms.run, plan)
        self.journal.open_run(terms.run, terms.plan_digest)
        keys = {node: round_.node_key for node, round_ in fleet.rounds.items()}
        centre = Centre(
            courier=fleet,
            ledger=self.ledger,
            journal=self.journal,
            key=self.key,
            record=self.log.append,
            clock=self.clock,
            permitted=lambda: None,  # what the rules say of runs has tests of its own
        )
        return hold_run(centre, terms, keys)

    def close(self) -> None:
        """Close the log."""
        self.log.close()
