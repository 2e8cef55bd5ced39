"""The law's dates and clocks, read from `law.toml`: data that a lawyer may correct.

Says when a provision applies and how long a clock runs. Says nothing on what is allowed;
the rules do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib import resources
from types import MappingProxyType
from typing import Any

from policies.errors import PolicyInvalid

LAW_FILE = resources.files("policies").joinpath("law.toml")

LONGER_IS_TIGHTER = frozenset({"high_risk_log_days", "ask_again_days", "hasty_approval_s"})
"""Clocks that protect by lasting; every other protects by ending soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """One article of a statute; `to_confirm` marks a date that was still moving."""

    title: str
    applies_from: date
    to_confirm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Every duration the law or the rules fix, each in the unit of its name."""

    clock_skew_s: int
    access_answer_months: int
    access_extension_months: int
    breach_notice_hours: int
    high_risk_log_days: int
    emotion_session_hours: int
    ask_again_days: int
    calm_test_days: int
    hasty_approval_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """All provisions by their short name, and the clocks."""

    provisions: Mapping[str, Provision]
    clocks: Clocks


def parse_law(text: str) -> Law:
    """Read the law from TOML.

    Raises:
        PolicyInvalid: Not TOML, a field is missing or unknown, or a clock runs backwards.
    """
    try:
        data = tomllib.loads(text)
        clocks = Clocks(**data["clocks"])
        provisions = {name: _provision(row) for name, row in data["provision"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"law.toml: {type(error).__name__}: {error}") from error
    if any(not isinstance(t, int) or t < 0 for t in data["clocks"].values()):
        raise PolicyInvalid("law.toml: a clock is not a whole number of at least 0")
    return Law(provisions=MappingProxyType(provisions), clocks=clocks)


def tightest(clocks: Clocks, others: Iterable[Mapping[str, int]]) -> Clocks:
    """Return the clocks, each at its tightest among the law's and those set elsewhere.

    Raises:
        PolicyInvalid: One is no clock of the law, or would loosen it.
    """
    ours: dict[str, int] = asdict(clocks)
    found = dict(ours)
    for other in others:
        for name, value in other.items():
            if name not in ours or type(value) is not int or value < 0:
                raise PolicyInvalid(f"{name} is no clock of the law")
            tighter = max if name in LONGER_IS_TIGHTER else min
            if tighter(value, ours[name]) != value:
                raise PolicyInvalid(
                    f"{name} = {value} would loosen the law's {ours[name]}: clocks only tighten"
                )
            found[name] = tighter(found[name], value)
    return replace(clocks, **found)


def _provision(row: Mapping[str, Any]) -> Provision:
    return Provision(
        title=row["title"],
        applies_from=row["applies_from"],
        to_confirm=row.get("confirm", False),
    )


LAW = parse_law(LAW_FILE.read_text("utf-8"))
