"""The law's dates and clocks, read from `law.toml`: data that a lawyer may correct.

Says when a provision applies and how long a clock runs. Says nothing on what is allowed;
the rules do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from types import MappingProxyType
from typing import Any

from policies.errors import PolicyInvalid

LAW_FILE = resources.files("policies").joinpath("law.toml")


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
    access_answer_days: int
    access_extension_days: int
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


def _provision(row: Mapping[str, Any]) -> Provision:
    return Provision(
        title=row["title"],
        applies_from=row["applies_from"],
        to_confirm=row.get("confirm", False),
    )


LAW = parse_law(LAW_FILE.read_text("utf-8"))
