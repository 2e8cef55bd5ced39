"""What a complaint is worth before anybody looks at a feeling: the organisation's own table.

A TOML file of the operator's says for each reason of complaint what everybody gets and the most
that may be given. Nothing here takes an emotion, so none can lower a baseline (rule 12).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from client_node.errors import StartRefused, TurnInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Redress:
    """What is proposed for one complaint, in the smallest unit of one currency."""

    reason: str
    offer_value: int
    baseline_value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitled:
    """What everybody gets for one reason, and the most that may be given."""

    baseline: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedressTable:
    """The table; empty where the operator gave none, and then nothing is proposed."""

    currency: str
    reasons: Mapping[str, Entitled]

    def propose(self, reason: str, value: int | None) -> Redress:
        """Return a proposal: the baseline itself where no value is named.

        A value below the baseline is returned as it is: the gate refuses it, on record.

        Raises:
            TurnInvalid: The table has no such reason, or allows less.
        """
        if reason not in self.reasons:
            known = ", ".join(sorted(self.reasons)) or "none: set redress_file"
            raise TurnInvalid(f"known reasons of complaint are {known}")
        entitled = self.reasons[reason]
        offered = entitled.baseline if value is None else value
        if offered > entitled.most:
            raise TurnInvalid(f"for {reason}, at most {entitled.most} may be given")
        return Redress(reason=reason, offer_value=offered, baseline_value=entitled.baseline)


NO_REDRESS = RedressTable(currency="", reasons=MappingProxyType({}))


def load_redress(path: Path | None) -> RedressTable:
    """Read the operator's table.

    Raises:
        StartRefused: It cannot be read, or a row of it is no baseline and most.
    """
    if path is None:
        return NO_REDRESS
    try:
        value: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = {str(name): _entitled(row) for name, row in value["reason"].items()}
        return RedressTable(currency=str(value["currency"]), reasons=MappingProxyType(rows))
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise StartRefused(
            f"redress {path.name}: expected currency and [reason.NAME] with baseline and most, "
            f"whole numbers with 0 <= baseline <= most ({type(error).__name__})"
        ) from error


def _entitled(row: Mapping[str, Any]) -> Entitled:
    baseline, most = row["baseline"], row["most"]
    if type(baseline) is not int or type(most) is not int or not 0 <= baseline <= most:
        raise ValueError("not a baseline and a most")
    return Entitled(baseline=baseline, most=most)
