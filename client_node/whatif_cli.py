"""`undertone-node whatif`: play a scenario of the queue, as a table, JSON, or a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.terminal import emit, progress_bar, say
from client_node.errors import ScenarioInvalid
from client_node.running_node import ask_node
from client_node.whatif import Hour, what_if
from client_node.whatif_scenario import load_scenario
from client_node.whatif_words import drawn, lines, told_to_dict


def whatif(
    scenario: Annotated[Path, typer.Argument(help="A TOML file: hours, shares and plans.")],
    chart: Annotated[Path | None, typer.Option("--chart", help="Write an SVG here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 (typer)
    recorded: Annotated[
        str | None, typer.Option("--recorded", help="Play what the node recorded of this queue.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="The node's TOML file, for --recorded.")
    ] = None,
) -> None:
    """Say what each plan would change against the first, with 95 % intervals."""
    asked = load_scenario(scenario, None if recorded is None else _recorded(recorded, settings))
    with progress_bar("replications") as progress:
        told = what_if(asked, progress=progress)
    if chart is not None:
        _write(chart, drawn(asked.name, told))
    if as_json:
        emit({"scenario": asked.name, "plans": [told_to_dict(one) for one in told]}, as_json=True)
        return
    say(*lines(told))


def _recorded(queue: str, settings: Path | None) -> tuple[Hour, ...]:
    """Return a day of the queue as the running node recorded it."""
    if settings is None:
        raise ScenarioInvalid("--recorded asks the running node: say --settings FILE")
    found = ask_node("POST", "recorded-days", settings, {"queue": queue})
    return tuple(Hour(calls=one["calls"], handling_s=one["handling_s"]) for one in found["day"])


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ScenarioInvalid(f"chart {path.name}: {type(error).__name__}") from error
