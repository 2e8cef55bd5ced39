"""Rows of a report: the same shape for the demo and for every benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured or checked thing.

    `held` is None where there is no aim. A row with `safety` set must hold; one without may
    miss its aim and is then reported, not hidden.
    """

    name: str
    value: float | int | bool | str | None
    unit: str = ""
    aim: str = ""
    held: bool | None = None
    safety: bool = False


def at_most(name: str, value: float, most: float | None, unit: str = "", **more: bool) -> Row:
    """Return a row whose value should not be above `most`; no aim where that is None."""
    if most is None:
        return Row(name=name, value=value, unit=unit)
    return Row(name=name, value=value, unit=unit, aim=f"<= {most:g}", held=value <= most, **more)


def at_least(name: str, value: float, least: float | None, unit: str = "") -> Row:
    """Return a row whose value should not be below `least`; no aim where that is None."""
    if least is None:
        return Row(name=name, value=value, unit=unit)
    return Row(name=name, value=value, unit=unit, aim=f">= {least:g}", held=value >= least)


def rows_to_json(rows: Iterable[Row]) -> str:
    """Return the rows as a JSON list of name, value, unit, aim and held."""
    return json.dumps(
        [{k: v for k, v in asdict(row).items() if k != "safety"} for row in rows], indent=2
    )


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write the rows to a file.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(rows_to_json(rows) + "\n", encoding="utf-8")


def broken_safety(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the safety rows that do not hold."""
    return tuple(row for row in rows if row.safety and not row.held)
