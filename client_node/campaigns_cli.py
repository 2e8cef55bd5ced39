"""`undertone-node campaigns`: a campaign's wording, and its audience once it is approved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.terminal import emit, say
from client_node.errors import CohortRefused
from client_node.running_node import ask_node

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The campaign's name, as `word` and `list` show it.")]
Asked = Annotated[Path, typer.Argument(help="JSON: criteria, members, and texts.")]

campaigns_app = typer.Typer(no_args_is_help=True, help="Campaigns, worded for a whole cohort.")


@campaigns_app.command("word")
def word(asked: Asked, settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Count the cohort privately and choose its wording, which waits for a yes; costs budget."""
    _print(ask_node("POST", "campaigns", settings, _read(asked)), as_json=as_json)


@campaigns_app.command("audience")
def audience(
    name: Name,
    asked: Asked,
    settings: SettingsFile,
    as_json: AsJson = False,  # noqa: FBT002 (typer)
) -> None:
    """Say whom an approved campaign may go to, by what they chose as it stands now."""
    people = {key: value for key, value in _read(asked).items() if key != "texts"}
    _print(ask_node("POST", f"campaigns/{name}/audience", settings, people), as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(found, as_json=True)
    else:
        say(*_lines(found))
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
    lines = [f"{found['campaign']}: {found['answer']}."]
    if "because" in found:
        lines.append(f"Because of {found['because']}.")
    if "counts" in found:
        counts = ", ".join(f"{name} {value}" for name, value in found["counts"].items())
        lines.append(f"Noisy counts: {counts}.")
    if "do" in found:
        lines.append(f"Do: {found['do']}.")
    if "approval" in found:
        how = f"undertone-node approvals approve {found['approval']}"
        lines.append(f"The {found['wording']} wording waits for a yes: {how}.")
    if "audience" in found:
        lines += [f"{found['wording']}: {found['text']}", f"For {len(found['audience'])} people:"]
        lines += found["audience"]
    return lines
