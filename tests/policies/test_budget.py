"""What remains of a budget: bounds rounded against us, and the same in three languages."""

from __future__ import annotations

import json
import math

import pytest

from policies.budget import (
    WORDS_FILE,
    BudgetState,
    budget_to_dict,
    found_at_most,
    parse_budget_words,
    percent,
    right_percent,
    sentences,
    shares,
)
from policies.errors import PolicyInvalid
from policies.vocabulary import Purpose
from policies.words import Language

STATE = BudgetState(
    day="2027-01-15",
    period_days=30,
    delta=1e-5,
    epsilon_spent=1.5,
    epsilon_limit=2.0,
    epsilon_at_nodes=2.7,
    by_purpose={Purpose.TRAINING: 1.5},
    caps={Purpose.TRAINING: 1.75, Purpose.RESEARCH: 1.0},
    more_like_the_last=3,
    first_over_on="2027-02-01",
)


@pytest.mark.parametrize("language", list(Language))
def test_every_language_tells_every_figure(language: Language) -> None:
    """Bound, limit, two branches, room, day and both caps are in the sentences."""
    said = " ".join(sentences(STATE, language))
    for epsilon in (1.5, 2.0, 2.7, 1.75, 1.0):
        assert percent(right_percent(epsilon, STATE.delta), language) in said
    for figure in ("30", "3", "2027-02-01"):
        assert figure in said


@pytest.mark.parametrize("language", list(Language))
def test_an_unreadable_ledger_is_told_as_nothing_left(language: Language) -> None:
    """No figure is told of it, and nothing remains."""
    unread = BudgetState(
        day="2027-01-15",
        period_days=30,
        delta=1e-5,
        epsilon_spent=2.0,
        epsilon_limit=2.0,
        epsilon_at_nodes=4.0,
        readable=False,
    )
    assert len(sentences(unread, language)) == 1
    assert unread.epsilon_left == 0


def test_a_purpose_has_what_both_its_cap_and_the_whole_leave() -> None:
    """Research has a cap of 1.0 unspent, but the whole has only 0.5 left."""
    found = {share.purpose: share.epsilon_left for share in shares(STATE)}
    assert found == {None: 0.5, Purpose.TRAINING: 0.25, Purpose.RESEARCH: 0.5}


def test_a_bound_is_rounded_up() -> None:
    """What is told is never below what holds."""
    for tenth in range(80):
        value = right_percent(tenth / 10, 1e-5)
        assert float(percent(value)) >= value - 1e-9
        assert float(percent(value, Language.GERMAN).replace(",", ".")) - value < 0.1
    assert math.isclose(right_percent(0.0, 0.0), 50)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 6.0])
def test_what_an_attack_finds_agrees_with_how_often_a_guess_is_right(epsilon: float) -> None:
    """Over all false alarms the best guess is right as often as the other formula says.

    Nobody is found for certain, guessing is never worse than nothing, and more alarms find more.
    """
    shares = [step / 10_000 for step in range(10_001)]
    found = [found_at_most(epsilon, 1e-5, false_alarms=share) for share in shares]
    best = max(50 * (1 + hits - share) for share, hits in zip(shares, found, strict=True))
    assert math.isclose(best, right_percent(epsilon, 1e-5), abs_tol=0.1)
    assert found == sorted(found)
    assert all(share <= hits <= 1 for share, hits in zip(shares, found, strict=True))
    assert found[0] < 1


def test_a_state_travels_as_json() -> None:
    """What a node sends is plain JSON."""
    assert json.loads(json.dumps(budget_to_dict(STATE)))["caps"] == {
        "training": 1.75,
        "research": 1.0,
    }


@pytest.mark.parametrize(
    ("old", "new"), [("[fr]", "[es]"), ("{spent}", "{most}"), ('research = "Forschung"', "")]
)
def test_a_language_that_lacks_something_is_refused(old: str, new: str) -> None:
    """A missing language or purpose, or a figure left out in one language, does not load."""
    text = WORDS_FILE.read_text(encoding="utf-8")
    german = text.index("[de]")
    changed = text[:german] + text[german:].replace(old, new, 1)
    with pytest.raises(PolicyInvalid):
        parse_budget_words(changed)
