"""What the rules and the budgets say to customers reads as easily as the pages around it."""

from __future__ import annotations

import pytest

from policies.budget import BudgetState, sentences
from policies.catalogue import CATALOGUE, DUTIES
from policies.vocabulary import Purpose
from policies.words import Language, Reader, say
from tests.consent.test_privacy_centre import MOST_LIX, lix

STATES = [
    BudgetState(
        day="2027-01-15",
        period_days=days,
        delta=1e-5,
        epsilon_spent=spent,
        epsilon_limit=8.0,
        epsilon_at_nodes=spent * 1.4,
        by_purpose={Purpose.TRAINING: spent},
        caps={Purpose.TRAINING: 4.0},
        more_like_the_last=more,
        first_over_on=over,
        readable=readable,
    )
    for days, spent, more, over, readable in (
        (365, 0.0, 0, None, True),
        (365, 2.0, 3, None, True),
        (0, 7.9, 0, "2028-01-15", True),
        (0, 0.0, 0, None, False),
    )
]


def _rules(language: Language) -> list[str]:
    return [say(rule, Reader.CUSTOMER, language) for rule in (*CATALOGUE, *DUTIES)]


def _budgets(language: Language) -> list[str]:
    return [said for state in STATES for said in sentences(state, language)]


@pytest.mark.parametrize("language", list(Language))
def test_rules_and_budgets_read_as_at_fourteen(language: Language) -> None:
    """LIX of each body of text is at most 40."""
    for said in (_rules(language), _budgets(language)):
        whole = " ".join(text if text[-1] in ".?!" else f"{text}." for text in said)
        assert lix(whole) <= MOST_LIX, f"{language}: {lix(whole):.1f}"
