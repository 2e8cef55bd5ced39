"""Use 6: never below what everybody gets, by a named person's yes, once, and flagged if hasty."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from audit.events import EventKind
from client_node.approvals import Approvals, ApprovalState
from client_node.errors import ApprovalRefused, StartRefused, TurnInvalid
from client_node.redress import load_redress
from policies.vocabulary import Purpose
from tests.client_node.test_alerts import CUSTOMER, angry_node, say

TABLE = 'currency = "EUR"\n[reason.late]\nbaseline = 500\nmost = 2000\n'
COHORT = {"reason": "late", "people": 40, "given": 21_000, "baseline": 20_000}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table with one reason."""
    path = tmp_path / "redress.toml"
    path.write_text(TABLE, encoding="utf-8")
    return path


def calm(world: Any, node: Any, **changed: Any) -> Any:
    """Run the test over calm customers."""
    body = {"by": "ada", "cohorts": [COHORT | changed]}
    return world.api(node).post("/v1/compensations/calm", json=body).json()


def propose(world: Any, node: Any, **changed: Any) -> Any:
    """Say something and propose a compensation."""
    body = {"turn": say(world, node)["turn"], "reason": "late"} | changed
    return world.api(node).post("/v1/compensations", json=body).json()


def step(world: Any, node: Any, approval: str, name: str, by: str = "mina") -> Any:
    """Take one step with an item."""
    return world.api(node).post(f"/v1/approvals/{approval}/{name}", json={"by": by})


def test_compensation_is_given_by_a_named_yes(world: Any, table: Path) -> None:
    """It waits, is shown with its baseline, and is given once to whoever looked and approved."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    assert calm(world, node)["passed"] is True
    waits = propose(world, node, value=800)
    assert waits["answer"] == "waits"
    assert waits["rules"] == ["r23-offer-unapproved"]
    shown = step(world, node, waits["approval"], "show").json()
    assert (shown["value"], shown["baseline"], shown["currency"]) == (800, 500, "EUR")
    assert step(world, node, waits["approval"], "approve", by="otto").status_code == 409
    world.now += 4
    given = step(world, node, waits["approval"], "approve").json()
    assert (given["answer"], given["value"], given["hasty"]) == ("done", 800, False)
    assert step(world, node, waits["approval"], "approve").status_code == 409
    decision = node.log.find(EventKind.DECISION, limit=1)[0].event.fields
    assert (decision["use"], decision["allowed"]) == ("compensation", True)


def test_hasty_yes_is_flagged(world: Any, table: Path) -> None:
    """Under two seconds after it was shown, the yes counts and is flagged, here and in the log."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    for wait_s, hasty in ((1.9, True), (2.0, False)):
        waits = propose(world, node)
        step(world, node, waits["approval"], "show")
        world.now += wait_s
        assert step(world, node, waits["approval"], "approve").json()["hasty"] is hasty
        logged = node.log.find(EventKind.APPROVAL_STEP, limit=1)[0].event.fields
        assert logged["hasty"] is hasty


@pytest.mark.parametrize(
    ("changed", "rule"),
    [({"value": 499}, "r12-worse-off"), ({"cancelling": True}, "r17-cancelling")],
)
def test_what_may_never_be_is_put_before_nobody(
    world: Any, table: Path, changed: dict[str, Any], rule: str
) -> None:
    """Below the baseline, or on the way out, the gate refuses at once and nothing waits."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    refused = propose(world, node, **changed)
    assert refused["answer"] == "refused"
    assert rule in refused["rules"]
    assert node.room.approvals.waiting() == []


def test_without_the_calm_test_nobody_is_compensated_by_a_feeling(world: Any, table: Path) -> None:
    """Before a test passed, and after one failed, the gate refuses (rule 14)."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    assert "r14-calm-not-tested" in propose(world, node)["rules"]
    assert calm(world, node, people=9)["passed"] is False  # too few to tell: nothing passed
    assert "r14-calm-not-tested" in propose(world, node)["rules"]
    calm(world, node)
    waits = propose(world, node)
    assert waits["answer"] == "waits"
    assert calm(world, node, given=19_999) == {
        "passed": False,
        "short": ["late"],
        "too_few": [],
        "compared": 1,
    }
    step(world, node, waits["approval"], "show")
    refused = step(world, node, waits["approval"], "approve").json()
    assert refused["answer"] == "refused"
    assert "r14-calm-not-tested" in refused["rules"]


def test_withdrawal_before_the_yes_gives_nothing(world: Any, table: Path) -> None:
    """The gate is asked again when somebody approves, and what waited is gone."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    waits = propose(world, node)
    step(world, node, waits["approval"], "show")
    world.trust.withdraw(
        world.standing(CUSTOMER, withdrawn=frozenset({Purpose.SERVICE})), Purpose.SERVICE
    )
    node.keeper.poll()
    assert step(world, node, waits["approval"], "approve").status_code == 404


def test_denied_item_is_done_by_nobody(world: Any, table: Path) -> None:
    """A no is final, and on record."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    waits = propose(world, node)
    step(world, node, waits["approval"], "show")
    assert step(world, node, waits["approval"], "deny").json()["state"] == "denied"
    assert step(world, node, waits["approval"], "approve").status_code == 409
    assert node.log.find(EventKind.APPROVAL_STEP, limit=1)[0].event.fields["step"] == "denied"


def test_two_who_approve_at_once_give_once(world: Any, table: Path) -> None:
    """Of many threads that decide one item, one does."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    waits = propose(world, node)
    step(world, node, waits["approval"], "show")
    done: list[str] = []

    def decide() -> None:
        try:
            node.room.approvals.decide(waits["approval"], ApprovalState.APPROVED, hasty=False)
            done.append("done")
        except ApprovalRefused:
            done.append("refused")

    threads = [threading.Thread(target=decide) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["done", *["refused"] * 5]


def test_queue_outlives_the_process_and_ends_with_its_time(world: Any, table: Path) -> None:
    """A node started anew still has what waited; once its time is over the row is gone."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    waits = propose(world, node)
    node.close()
    again = world.open(redress_file=table)
    assert [i.approval for i in again.room.approvals.waiting()] == [waits["approval"]]
    assert again.room.approvals.calm_passed_at() == int(world.now)
    world.now += 3_600
    assert again.room.approvals.waiting() == []
    assert step(world, again, waits["approval"], "show").status_code == 404
    assert again.room.approvals.expire() == 1


def test_queue_is_bounded(world: Any, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more wait than somebody can decide; the next is refused in one line."""
    monkeypatch.setattr("client_node.approvals.MOST_WAITING", 1)
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    propose(world, node)
    assert propose(world, node)["status"] == 409


def test_baseline_knows_no_emotion(table: Path) -> None:
    """What everybody gets follows from the reason alone, and a cue is no reason."""
    found = load_redress(table).propose("late", None)
    assert (found.offer_value, found.baseline_value) == (500, 500)
    with pytest.raises(TurnInvalid, match="at most 2000"):
        load_redress(table).propose("late", 2_001)
    with pytest.raises(TurnInvalid, match="late"):
        load_redress(table).propose("anger", None)


@pytest.mark.parametrize(
    "text",
    [
        "currency = 'EUR'",
        TABLE.replace("500", "-1"),
        TABLE.replace("2000", "400"),
        TABLE.replace("500", "5.5"),
        "[reason",
        TABLE.replace("baseline = 500\n", ""),
    ],
)
def test_table_that_is_none_refuses_the_start(world: Any, table: Path, text: str) -> None:
    """One line says what is expected."""
    table.write_text(text, encoding="utf-8")
    with pytest.raises(StartRefused, match=r"redress redress\.toml: expected") as refused:
        world.open(redress_file=table)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "mina m", "x" * 65, "<b>"])
def test_nobody_decides_without_a_name(world: Any, table: Path, name: str) -> None:
    """A yes has a name that a log can hold."""
    node = angry_node(world, Purpose.SERVICE, redress_file=table)
    calm(world, node)
    waits = propose(world, node)
    assert step(world, node, waits["approval"], "show", by=name).status_code == 422


def test_approvals_file_is_private(tmp_path: Path) -> None:
    """The queue's file is its owner's alone."""
    queue = Approvals(tmp_path / "approvals.db", clock=lambda: 0.0, lasts_s=1.0)
    queue.close()
    assert (tmp_path / "approvals.db").stat().st_mode & 0o077 == 0
