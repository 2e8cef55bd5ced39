"""`undertone-node campaigns`: how a campaign is worded for a cohort, asked of the running node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.terminal import emit
from client_node.errors import CohortRefused
from client_node.running_node import ask_node

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Asked = Annotated[Path, typer.Argument(help="JSON: criteria, members, texts, approved_by.")]

campaigns_app = typer.Typer(no_args_is_help=True, help="Campaigns, worded for a whole cohort.")


@campaigns_app.callback()
def group() -> None:
    """Keep `word` a command of its own."""


@campaigns_app.command("word")
def word(asked: Asked, settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Count the cohort privately, and say which wording all of it gets; costs budget."""
    found = ask_node("POST", "campaigns", settings, _read(asked))
    if as_json:
        emit(found, as_json=True)
    else:
        for line in _lines(found):
            typer.echo(line)
    if found["answer"] in {"refused", "abstained"}:
        raise typer.Exit(1)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CohortRefused(
            f"campaign {path.name}: no JSON file ({type(error).__name__})"
        ) from error
    if not isinstance(value, dict):
        raise CohortRefused(f"campaign {path.name}: expected an object")
    return value


def _lines(found: dict[str, Any]) -> list[str]:
    """Return the answer as the operator reads it."""
    if found["answer"] == "refused":
        return [f"Refused: {reason}" for reason in found["reasons"]]
    lines = [f"{found['campaign']}: {found['answer']}, because of {found['because']}."]
    if "counts" in found:
        counts = ", ".join(f"{name} {value}" for name, value in found["counts"].items())
        lines.append(f"Noisy counts: {counts}.")
    if "do" in found:
        lines.append(f"Do: {found['do']}.")
    if "text" in found:
        lines += [f"{found['wording']}: {found['text']}", f"For {len(found['audience'])} people."]
    return lines
