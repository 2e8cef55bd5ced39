"""Rows as a benchmark prints them: JSON, or one a line."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.report import Row, rows_to_json


def print_rows(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print name, value, unit, aim and whether it held, in columns as wide as the widest."""
    if as_json:
        print(rows_to_json(rows))
        return
    names, values, units, aims = (
        max((len(str(cell)) for cell in column), default=0)
        for column in (
            [row.name for row in rows],
            [row.value for row in rows],
            [row.unit for row in rows],
            [row.aim for row in rows],
        )
    )
    for row in rows:
        held = {None: "", True: "held", False: "MISSED"}[row.held]
        cells = f"{row.name:<{names}} {row.value!s:>{values}} {row.unit:<{units}} {row.aim:<{aims}}"
        print(f"{cells} {held}".rstrip())
