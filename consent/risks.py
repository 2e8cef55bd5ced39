"""Risks to people, what is done against each, and what is left while the controls hold.

The risks are data (`risks.toml`). What is left of one is computed: the lower likelihood counts
only while **every** control that its mitigations name holds in the live system.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any

from consent.controls import check_name, find
from consent.live import Live
from policies.errors import PolicyInvalid

RISKS_FILE = resources.files("consent").joinpath("risks.toml")
_FIELDS = frozenset(["words", "sources", "charter", "severity", "before", "after", "mitigations"])


class Level(StrEnum):
    """How great a risk is: severity times likelihood, each from 1 to 3."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigation:
    """What is done, and the control of the live system that does it."""

    measure: str
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """One risk; `before` and `after` are likelihoods without and with its mitigations."""

    risk: str
    words: str
    sources: str
    charter: tuple[str, ...]
    severity: int
    before: int
    after: int
    mitigations: tuple[Mitigation, ...]


def parse_risks(text: str) -> tuple[Risk, ...]:
    """Read risks from TOML.

    Raises:
        PolicyInvalid: Not TOML, a field is missing, unknown or wrong, a risk has no mitigation,
            or a mitigation names no control that there is.
    """
    try:
        return tuple(_risk(name, row) for name, row in tomllib.loads(text)["risk"].items())
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyInvalid(f"risks.toml: {type(error).__name__}: {error}") from error


def level(severity: int, likelihood: int) -> Level:
    """Return how great a risk is."""
    product = severity * likelihood
    return Level.LOW if product <= 3 else Level.MEDIUM if product <= 4 else Level.HIGH  # noqa: PLR2004 (the matrix)


def assessed(risk: Risk, live: Live) -> dict[str, Any]:
    """Return a risk with its mitigations as they stand in the live system."""
    found = [(m, find(m.control, live)) for m in risk.mitigations]
    held = all(control.holds for _, control in found)
    return {
        "risk": risk.risk,
        "what": risk.words,
        "sources": risk.sources,
        "before": level(risk.severity, risk.before).value,
        "left": level(risk.severity, risk.after if held else risk.before).value,
        "mitigations": [
            {"measure": m.measure, "control": c.name, "holds": c.holds, "now": c.now}
            for m, c in found
        ],
    }


def gaps_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words which controls do not hold, and which risk stays high because of it."""
    broken = {m["control"]: m["now"] for row in rows for m in row["mitigations"] if not m["holds"]}
    high = [row["risk"] for row in rows if row["left"] == Level.HIGH]
    return [
        *(f"control {name} does not hold: {why}" for name, why in sorted(broken.items())),
        *(f"risk {name} stays high: consult the authority first (GDPR 36)" for name in high),
    ]


def _risk(name: str, row: Mapping[str, Any]) -> Risk:
    if set(row) != _FIELDS:
        raise ValueError(f"risk {name} has {', '.join(sorted(_FIELDS))}, no more")
    numbers = [row["severity"], row["before"], row["after"]]
    if any(type(n) is not int or n not in range(1, 4) for n in numbers) or not row["mitigations"]:
        raise ValueError(f"risk {name}: numbers are 1 to 3, and it has a mitigation")
    if row["after"] > row["before"]:
        raise ValueError(f"risk {name}: what is done against it makes it no likelier")
    mitigations = tuple(Mitigation(**given) for given in row["mitigations"])
    for mitigation in mitigations:
        check_name(mitigation.control)
    return Risk(
        risk=name,
        words=str(row["words"]),
        sources=str(row["sources"]),
        charter=tuple(map(str, row["charter"])),
        severity=row["severity"],
        before=row["before"],
        after=row["after"],
        mitigations=mitigations,
    )


RISKS = parse_risks(RISKS_FILE.read_text("utf-8"))
