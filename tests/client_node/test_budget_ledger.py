"""The node's budget ledger: never over, never forgotten, whatever happens to clock or file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_node.budget_ledger import RESERVED_S, BudgetLedger, Limits
from client_node.errors import LedgerRolledBack
from models.accounting import NOTHING_SPENT, RdpCurve, epsilon, gaussian_curve, within
from policies.errors import BudgetExhausted
from policies.vocabulary import Digest, Purpose, RunId

DAY = 86_400
DELTA = 1e-5
TERMS = Digest("0" * 64)
ROUND = gaussian_curve(noise_multiplier=8.0, sample_rate=1.0, steps=1)

REWRITTEN = "update budget_entry set head = 'another' where number = 2"
SMALL = gaussian_curve(noise_multiplier=100.0, sample_rate=1.0, steps=1)


@dataclass
class Desk:
    """A ledger on a disk of its own, and a clock that a test turns."""

    folder: Path
    limit: float = 2.0
    period_s: int = 30 * DAY
    now: float = 1_800_000_000.0
    opened: list[BudgetLedger] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Where the ledger lies."""
        return self.folder / "budget.db"

    def open(self, head: str | None = None) -> BudgetLedger:
        """Open and verify."""
        limits = Limits(epsilon=self.limit, delta=DELTA, period_s=self.period_s)
        ledger = BudgetLedger(self.path, limits=limits, clock=lambda: self.now)
        self.opened.append(ledger)
        ledger.verify(head)
        return ledger


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    """Return a desk whose ledgers are closed at the end."""
    made = Desk(tmp_path)
    yield made
    for ledger in made.opened:
        ledger.close()


def spend(ledger: BudgetLedger, run: str = "run-1", curve: RdpCurve = ROUND, **more: Any) -> str:
    """Spend once and return the chain's head."""
    return ledger.spend(curve, run=RunId(run), round_number=1, terms_digest=TERMS, **more).head


def fill(ledger: BudgetLedger, run: str = "run-1") -> int:
    """Spend until no more fits; return how often."""
    count = 0
    while ledger.covers(ROUND, run=RunId(run)):
        spend(ledger, run)
        count += 1
    with pytest.raises(BudgetExhausted):
        spend(ledger, run)
    return count


def test_everything_together_stays_within_the_limit(desk: Desk) -> None:
    """Runs, and purposes other than training, draw on one bound; each can be told by itself."""
    ledger = desk.open()
    spend(ledger, "run-1")
    spend(ledger, "report", purpose=Purpose.AGGREGATE_REPORTING)
    fill(ledger, "run-2")
    assert ledger.epsilon_spent() <= desk.limit
    parts = [ledger.epsilon_spent(p) for p in (Purpose.TRAINING, Purpose.AGGREGATE_REPORTING)]
    assert max(parts) < ledger.epsilon_spent() < sum(parts)
    assert ledger.epsilon_spent(Purpose.OFFERS) == 0.0


def test_a_run_that_set_its_budget_aside_is_not_stranded(desk: Desk) -> None:
    """What one run reserved another cannot spend; the run itself spends it to the end."""
    ledger = desk.open()
    ledger.reserve(ROUND * 5, run=RunId("run-1"), terms_digest=TERMS)
    fill(ledger, "run-2")
    for _ in range(5):
        spend(ledger, "run-1")
    with pytest.raises(BudgetExhausted):
        spend(ledger, "run-1")
    assert ledger.epsilon_spent() <= desk.limit


def test_a_run_that_does_not_fit_is_refused_whole(desk: Desk) -> None:
    """Nothing is set aside for a run that could not end, and nothing is spent."""
    ledger = desk.open()
    with pytest.raises(BudgetExhausted):
        ledger.reserve(ROUND * 500, run=RunId("run-1"), terms_digest=TERMS)
    assert ledger.entries() == []
    assert ledger.spent() == NOTHING_SPENT


def test_what_was_set_aside_and_not_spent_comes_back(desk: Desk) -> None:
    """After a day a reservation lapses; what was spent of it stays spent."""
    ledger = desk.open()
    whole = fill(desk.open())
    desk.now += desk.period_s + 1
    ledger.reserve(ROUND * whole, run=RunId("run-2"), terms_digest=TERMS)
    spend(ledger, "run-2")
    assert not ledger.covers(ROUND, run=RunId("run-3"))
    desk.now += RESERVED_S + 1
    assert fill(ledger, "run-3") == whole - 1


def test_a_clock_set_back_brings_no_budget_back(desk: Desk) -> None:
    """Spent with the clock a year back, an entry counts as long as any other."""
    ledger = desk.open()
    spend(ledger)
    desk.now -= 365 * DAY
    fill(ledger)
    desk.now += 365 * DAY
    assert not ledger.covers(ROUND, run=RunId("run-1"))
    desk.now += desk.period_s - 1
    assert not ledger.covers(ROUND, run=RunId("run-1"))


def test_a_ledger_that_ends_in_the_future_waits(desk: Desk) -> None:
    """After a clock was too far ahead, time stands still until it is there again."""
    ledger = desk.open()
    desk.now += 10 * DAY
    fill(ledger)
    desk.now -= 10 * DAY
    assert not ledger.covers(ROUND, run=RunId("run-1"))
    assert ledger.entries()[-1].spent_at > desk.now


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["spend", "reserve", "wait", "back"]),
            st.integers(0, 2),
            st.floats(3.0, 30.0),
        ),
        max_size=25,
    )
)
def test_no_order_of_events_passes_the_limit(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, float]]
) -> None:
    """Spending, reserving, waiting and clocks set back in any order: every period stays within."""
    desk = Desk(tmp_path_factory.mktemp("ledger"), period_s=10 * DAY)
    ledger = desk.open()
    for what, run, noise in events:
        curve = gaussian_curve(noise_multiplier=noise, sample_rate=1.0, steps=1)
        named: dict[str, Any] = {"run": RunId(f"run-{run}"), "terms_digest": TERMS}
        with suppress(BudgetExhausted):
            if what == "spend":
                ledger.spend(curve, round_number=1, **named)
            elif what == "reserve":
                ledger.reserve(curve, **named)
            else:
                desk.now += 3 * DAY if what == "wait" else -3 * DAY
    spent = [(e.spent_at, gaussian_of(e.curve)) for e in ledger.entries()]
    for end, _ in spent:
        window = [curve for at, curve in spent if end - desk.period_s < at <= end]
        total = sum(window, start=NOTHING_SPENT)
        assert within(total, epsilon=desk.limit, delta=DELTA)
        assert epsilon(total, delta=DELTA) <= desk.limit
    ledger.close()


def gaussian_of(stored: str) -> RdpCurve:
    """Return the curve that an entry holds."""
    return RdpCurve(values=tuple(float(v) for v in stored.strip("[]").split(",")))


@pytest.mark.parametrize("kept", [0, 1, 100, 4096, 0.5])
def test_a_ledger_that_was_cut_is_refused_in_one_line(desk: Desk, kept: float) -> None:
    """A file cut anywhere, even to nothing, is not the one the log knows: no training."""
    ledger = desk.open()
    head = [spend(ledger, curve=SMALL) for _ in range(40)][-1]
    ledger.close()
    size = desk.path.stat().st_size
    os.truncate(desk.path, int(kept * size) if isinstance(kept, float) else kept)
    for part in desk.folder.glob("budget.db-*"):
        part.unlink()
    with pytest.raises(LedgerRolledBack) as caught:
        desk.open(head)
    assert "\n" not in str(caught.value)
    assert "restore the newest ledger" in str(caught.value).lower()


def test_a_write_cut_in_the_middle_leaves_what_was_whole(desk: Desk) -> None:
    """Power fails while an entry is written: those before it stand, and the log catches a loss."""
    ledger = desk.open()
    heads = [spend(ledger) for _ in range(3)]
    log = desk.folder / "budget.db-wal"
    ahead, torn = desk.folder / "copy.db", desk.folder / "copy.db-wal"
    ahead.write_bytes(desk.path.read_bytes())
    torn.write_bytes(log.read_bytes()[:-100])
    ledger.close()
    desk.path.unlink()
    for part in desk.folder.glob("budget.db-*"):
        part.unlink()
    ahead.rename(desk.path)
    torn.rename(log)
    again = desk.open(heads[1])
    assert [entry.head for entry in again.entries()] == heads[:2]
    with pytest.raises(LedgerRolledBack, match="earlier state"):
        again.verify(heads[2])
    with pytest.raises(LedgerRolledBack):
        spend(again)


def test_a_ledger_whose_file_breaks_while_it_is_open_spends_no_more(desk: Desk) -> None:
    """What can no longer be read is an error of ours, in one line, and the end of spending."""
    ledger = desk.open()
    spend(ledger)
    assert ledger._engine is not None
    with ledger._engine.begin() as database:
        database.exec_driver_sql("DROP TABLE budget_entry")
    for ask in (ledger.entries, ledger.epsilon_spent, lambda: spend(ledger)):
        with pytest.raises(LedgerRolledBack, match="cannot be read"):
            ask()
    assert ledger.fault is not None


def test_the_head_is_told_without_reading_the_whole_ledger(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each poll asks for the head: it reads the last entry, not a year of them."""
    ledger = desk.open()
    heads = [ledger.head(), *(spend(ledger, curve=SMALL) for _ in range(3))]
    assert heads[0] == "0" * 64
    assert len(set(heads)) == len(heads)
    monkeypatch.setattr(BudgetLedger, "_all", lambda _: pytest.fail("the whole ledger was read"))
    assert ledger.head() == heads[-1]


@pytest.mark.parametrize("change", ["delete from budget_entry where number = 2", REWRITTEN])
def test_a_ledger_put_back_while_it_is_open_spends_no_more(desk: Desk, change: str) -> None:
    """What this process wrote must still be there, at each poll and before each spending."""
    for ask in (BudgetLedger.head, spend):
        ledger = desk.open()
        for _ in range(3 - len(ledger.entries())):
            spend(ledger, curve=SMALL)
        with closing(sqlite3.connect(desk.path)) as other, other:
            other.execute(change)
        with pytest.raises(LedgerRolledBack, match="while it was open"):
            ask(ledger)
        assert ledger.fault is not None
        with pytest.raises(LedgerRolledBack):
            spend(ledger, curve=SMALL)
        desk.path.unlink()


def test_a_ledger_that_grew_elsewhere_is_no_fault(desk: Desk) -> None:
    """A second opening of the same file may be ahead; what is known is still in it."""
    first, second = desk.open(), desk.open()
    spend(first, curve=SMALL)
    later = spend(second, curve=SMALL)
    assert first.head() == later
