"""What remains of a privacy budget, told alike at node, portal and privacy centre.

A `BudgetState` may leave a node: it is computed from public constants of plans and from the
operator's policy, never from records, and its times are whole days (ADR 25). Epsilon is a number
for experts. What it means for one customer: whoever sees all that ever left and guesses whether
this customer's messages were used is right at most so often in a hundred such guesses
(e^epsilon + delta) / (1 + e^epsilon) (Kairouz, Oh & Viswanath 2015). Fifty is a coin; a hundred
is certainty. The sentences are data (`budget_words.toml`).
"""

from __future__ import annotations

import math
import string
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from policies.errors import PolicyInvalid
from policies.vocabulary import Purpose
from policies.words import Language

WORDS_FILE = resources.files("policies").joinpath("budget_words.toml")
NODES = 2
"""For how many nodes that hold the same person the words give the composed bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What people at a place may have lost in the period, and what is left.

    `day` (ISO) is when this was so, `period_days` 0 where nothing is ever given back;
    `epsilon_at_nodes` is for a person at `NODES` places that have spent alike;
    `more_like_the_last` is how often the last computation would still fit, `first_over_on` (ISO)
    when the oldest is over. Where `readable` is false, nothing but the limit is known.
    """

    day: str
    period_days: int
    delta: float
    epsilon_spent: float
    epsilon_limit: float
    epsilon_at_nodes: float
    by_purpose: Mapping[Purpose, float] = field(default_factory=dict)
    caps: Mapping[Purpose, float] = field(default_factory=dict)
    more_like_the_last: int = 0
    first_over_on: str | None = None
    readable: bool = True

    @property
    def epsilon_left(self) -> float:
        """What the whole still allows; none where the ledger cannot be read."""
        return max(0.0, self.epsilon_limit - self.epsilon_spent) if self.readable else 0.0


def budget_to_dict(state: BudgetState) -> dict[str, Any]:
    """Return the state as JSON values."""
    return asdict(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One line of a state: all purposes together, or one of them."""

    purpose: Purpose | None
    epsilon_spent: float
    epsilon_limit: float
    epsilon_left: float
    right_percent: float
    most_percent: float


def shares(state: BudgetState) -> tuple[Share, ...]:
    """Return the line of all purposes, then one for each that spent or has a cap.

    What a purpose may still take is the less of its own cap's rest and the whole's.
    """
    named = sorted({*state.by_purpose, *state.caps})
    return (
        _share(state, None, state.epsilon_spent, state.epsilon_limit),
        *(
            _share(
                state,
                each,
                state.by_purpose.get(each, 0.0),
                min(state.caps.get(each, state.epsilon_limit), state.epsilon_limit),
            )
            for each in named
        ),
    )


def _share(state: BudgetState, purpose: Purpose | None, spent: float, limit: float) -> Share:
    return Share(
        purpose=purpose,
        epsilon_spent=spent,
        epsilon_limit=limit,
        epsilon_left=min(state.epsilon_left, max(0.0, limit - spent)),
        right_percent=right_percent(spent, state.delta),
        most_percent=right_percent(limit, state.delta),
    )


def sentences(state: BudgetState, language: Language = Language.ENGLISH) -> list[str]:
    """Return the state in sentences, for staff or for a customer."""
    said = _words()[language]
    if not state.readable:
        return [said["unreadable"]]
    most = percent(right_percent(state.epsilon_limit, state.delta), language)
    spent = percent(right_percent(state.epsilon_spent, state.delta), language)
    ever = "" if state.period_days else "_ever"
    if state.epsilon_spent == 0:
        told = [said[f"nothing{ever}"].format(days=state.period_days, most=most)]
    else:
        told = [
            said[f"spent{ever}"].format(days=state.period_days, most=most, spent=spent),
            said["elsewhere"].format(
                nodes=NODES,
                elsewhere=percent(right_percent(state.epsilon_at_nodes, state.delta), language),
            ),
            said["room" if state.more_like_the_last else "reached"].format(
                more=state.more_like_the_last
            ),
        ]
        if state.first_over_on is not None:
            told.append(said["over"].format(day=state.first_over_on))
    return [*told, *(_cap(state, each, language) for each in sorted(state.caps))]


def _cap(state: BudgetState, purpose: Purpose, language: Language) -> str:
    cap, so_far = state.caps[purpose], state.by_purpose.get(purpose, 0.0)
    return str(
        _words()[language]["cap"].format(
            purpose=purpose_name(purpose, language),
            most=percent(right_percent(cap, state.delta), language),
            spent=percent(right_percent(so_far, state.delta), language),
        )
    )


def purpose_name(purpose: Purpose, language: Language) -> str:
    """Return a purpose as the sentences name it."""
    return str(_words()[language]["purposes"][purpose.value])


def right_percent(spent: float, delta: float) -> float:
    """Return how often a guess between two equally likely worlds is right at most, in percent."""
    return 100 * (1 + delta * math.exp(-spent)) / (1 + math.exp(-spent))


def found_at_most(epsilon: float, delta: float, *, false_alarms: float) -> float:
    """Return the largest share of members that any attack finds, at a share of false alarms.

    Both shares are in [0, 1]. Source: Kairouz, Oh and Viswanath 2015, theorem 2.1.
    """
    missed = (
        1 - delta - math.exp(epsilon) * false_alarms,
        math.exp(-epsilon) * (1 - delta - false_alarms),
    )
    return 1 - max(0.0, *missed)


def percent(value: float, language: Language = Language.ENGLISH) -> str:
    """Return a percentage rounded up: a bound is not rounded in its own favour."""
    tenths = math.ceil(10 * value - 1e-9) / 10
    told = f"{tenths:.0f}" if tenths == round(tenths) else f"{tenths:.1f}"
    return told if language is Language.ENGLISH else told.replace(".", ",")


@cache
def _words() -> Mapping[Language, Mapping[str, Any]]:
    return parse_budget_words(WORDS_FILE.read_text(encoding="utf-8"))


def parse_budget_words(text: str) -> Mapping[Language, Mapping[str, Any]]:
    """Read the sentences, the same in every language.

    Raises:
        PolicyInvalid: A language lacks a sentence or a purpose, or a sentence fills in other
            names than the same one in English.
    """
    try:
        rows = tomllib.loads(text)
    except ValueError as error:
        raise PolicyInvalid(f"budget_words.toml: {error}") from error
    if set(rows) != set(Language):
        raise PolicyInvalid("budget_words.toml: expected en, de and fr, and nothing else")
    english = rows[Language.ENGLISH]
    for language, said in rows.items():
        if set(said) != set(english) or set(said["purposes"]) != set(Purpose):
            raise PolicyInvalid(f"budget_words.toml: {language} lacks a sentence or a purpose")
        for name in set(english) - {"purposes"}:
            if _names(said[name]) != _names(english[name]):
                raise PolicyInvalid(f"budget_words.toml: {language}.{name} fills in other names")
    return {Language(language): said for language, said in rows.items()}


def _names(sentence: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}
