"""What remains of the budget, told so that people understand it and experts do not object."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import tomli_w
from scipy import stats

from audit.terminal import run
from client_node.budget_ledger import BudgetLedger, Limits
from client_node.budget_words import remaining, to_dict, words
from client_node.cli import app
from models.accounting import gaussian_curve
from policies.vocabulary import Digest, Purpose, RunId
from tests.client_node.test_training import trained

DAY = 86_400
ROUND = gaussian_curve(noise_multiplier=8.0, sample_rate=1.0, steps=1)


def told(tmp_path: Any, *, rounds: int, epsilon: float = 2.0) -> Any:
    """Return what remains after so many rounds, and the words."""
    limits = Limits(epsilon=epsilon, delta=1e-5, period_s=30 * DAY)
    ledger = BudgetLedger(tmp_path / "budget.db", limits=limits, clock=lambda: 1_800_000_000.0)
    ledger.verify(None)
    for number in range(rounds):
        ledger.spend(ROUND, run=RunId("run-1"), round_number=number, terms_digest=Digest("0" * 64))
    found = remaining(ledger, limits, clock=lambda: 1_800_000_000.0)
    ledger.close()
    return found, words(found, fault=None)


def test_nothing_spent_is_a_coin(tmp_path: Any) -> None:
    """Before anything left, a guess is right half of the time, and the words say so."""
    found, said = told(tmp_path, rounds=0)
    assert found.right_percent == 50.0005
    assert "Nothing" in said[0]
    assert "88.1 times in 100" in said[0]


def test_words_name_what_was_spent_and_what_is_left(tmp_path: Any) -> None:
    """Figures and words agree, and what is said to fit does fit, and no more."""
    found, said = told(tmp_path, rounds=3)
    text = " ".join(said)
    percent = (
        100 * (1 + 1e-5 * math.exp(-found.epsilon_spent)) / (1 + math.exp(-found.epsilon_spent))
    )
    assert found.right_percent == pytest.approx(percent)
    assert f"{math.ceil(10 * percent) / 10:g} times in 100" in text
    assert f"room for {found.more_like_the_last} more" in text
    assert "2027-02-14" in text
    assert found.by_purpose == {Purpose.TRAINING.value: found.epsilon_spent}
    assert "reached" in " ".join(told(tmp_path, rounds=found.more_like_the_last)[1])


def test_the_bound_is_never_below_the_best_guess(tmp_path: Any) -> None:
    """The best test between neighbours of one Gaussian is right less often than we say."""
    found, _ = told(tmp_path, rounds=1)
    best = 100 * stats.norm.cdf(1 / (2 * 8.0))
    assert best < found.right_percent


def test_a_person_at_two_nodes_is_told_more(tmp_path: Any) -> None:
    """The composed figure for two branches is larger, and in the words."""
    found, said = told(tmp_path, rounds=3)
    assert found.right_percent < found.at_nodes_percent < 100
    assert f"{math.ceil(10 * found.at_nodes_percent) / 10:g}" in said[1]


def test_command_and_api_say_the_same(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`budget show` and GET /v1/budget give the words; `--json` the figures too."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    said = world.api(node).get("/v1/budget").json()
    assert said["entries"] == 1
    assert said["epsilon_spent"] > 0
    node.close()
    settings = world.folder / "node.toml"
    values = {name: str(value) for name, value in world.settings_values.items()}
    settings.write_text(tomli_w.dumps(values), encoding="utf-8")
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            run(app, ["budget", "show", "--settings", str(settings), *more])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert json.loads(out)["words"] if more else said["words"][0] in out


def test_ledger_that_cannot_be_read_is_said_and_the_node_serves(world: Any) -> None:
    """A ledger cut to pieces stops training and nothing else: the node answers, and says why."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    node.close()
    path = node.settings.folder / "budget.db"
    path.write_bytes(b"not a database, and long enough to be seen as none" * 100)
    again = world.open()
    said = world.api(again).get("/v1/budget").json()
    assert said["training"].startswith("the budget ledger cannot be read")
    assert said["words"] == [f"What was spent cannot be read: {said['training']}"]
    turn = {"customer": "a", "conversation": "y", "text": "still here"}
    assert world.api(again).post("/v1/turns", json=turn).status_code == 200
    assert to_dict(None, fault="x") == {
        "training": "x",
        "words": ["What was spent cannot be read: x"],
    }
