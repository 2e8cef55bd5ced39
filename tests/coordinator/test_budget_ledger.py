"""The centre never asks for more than was set aside, and never forgets what was."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.budget_ledger import CentralLedger, Spent
from coordinator.errors import BudgetRefused
from coordinator.tables import open_store
from policies.vocabulary import RunId
from tests.coordinator.fleet import make_plan

FIRST, SECOND, THIRD = RunId("run-1"), RunId("run-2"), RunId("run-3")


def ledger(path: Path) -> CentralLedger:
    """Open the ledger of a folder."""
    engine = open_store(path / "ledger.db")
    return CentralLedger(engine, epsilon_ceiling=4.5, delta_ceiling=1e-4, clock=lambda: 1.0)


def test_runs_add_up_to_the_ceiling_and_no_further(tmp_path: Path) -> None:
    """The run that would pass the ceiling is refused and changes nothing."""
    books = ledger(tmp_path)
    books.reserve_run(FIRST, make_plan(epsilon=2.0))
    assert books.reserve_run(SECOND, make_plan(epsilon=2.0)).epsilon == 4.0
    with pytest.raises(BudgetRefused, match="there are 4"):
        books.reserve_run(THIRD, make_plan(epsilon=1.0))
    assert books.spent() == Spent(epsilon=4.0, delta=2e-5)


def test_delta_has_a_ceiling_of_its_own(tmp_path: Path) -> None:
    """A plan with too large a delta is refused however small its epsilon."""
    with pytest.raises(BudgetRefused):
        ledger(tmp_path).reserve_run(FIRST, make_plan(epsilon=0.1, delta=2e-4))


def test_reservations_survive_a_restart(tmp_path: Path) -> None:
    """A crash after a reservation wastes budget and never forgets it."""
    ledger(tmp_path).reserve_run(FIRST, make_plan())
    again = ledger(tmp_path)
    assert again.spent().epsilon == 2.0
    again.reserve_round(FIRST, 1, make_plan())


def test_round_counts_again_when_it_is_retried(tmp_path: Path) -> None:
    """A run has as many rounds as its plan, retries included."""
    books, plan = ledger(tmp_path), make_plan(rounds=2)
    books.reserve_run(FIRST, plan)
    books.reserve_round(FIRST, 1, plan)
    books.reserve_round(FIRST, 1, plan)
    with pytest.raises(BudgetRefused, match="2 of 2 rounds"):
        books.reserve_round(FIRST, 2, plan)


def test_round_of_an_unreserved_run_is_refused(tmp_path: Path) -> None:
    """No round is held for a run that reserved nothing."""
    with pytest.raises(BudgetRefused):
        ledger(tmp_path).reserve_round(FIRST, 1, make_plan())


def test_file_is_private(tmp_path: Path) -> None:
    """Nobody else on the machine reads the coordinator's tables."""
    ledger(tmp_path)
    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0
