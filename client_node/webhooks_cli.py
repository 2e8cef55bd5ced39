"""`undertone-node webhooks`: what waits to be told, and what is dead, at the running node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.terminal import emit, say
from client_node.running_node import ask_node

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Item = Annotated[str, typer.Argument(help="The id that `list` shows.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

webhooks_app = typer.Typer(no_args_is_help=True, help="Webhooks that wait or are dead.")


@webhooks_app.command("list")
def listed(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Show what waits and what is dead, oldest first."""
    found = ask_node("GET", "webhooks", settings)
    if as_json:
        emit(found, as_json=True)
        return
    for one in found["webhooks"]:
        why = one["reason"] or ""
        say(f"{one['delivery']}  {one['state']}  {one['target']}  {one['type']}  {why}")
    if not found["webhooks"]:
        say("Nothing waits, and nothing is dead.")


@webhooks_app.command("retry")
def retry(item: Item, settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Try a dead webhook again, from the beginning."""
    emit(ask_node("POST", f"webhooks/{item}/retry", settings), as_json=as_json)


@webhooks_app.command("drop")
def drop(
    item: Item,
    settings: SettingsFile,
    yes: Yes = False,  # noqa: FBT002 (typer)
    as_json: AsJson = False,  # noqa: FBT002 (typer)
) -> None:
    """Give a webhook up: it is never told."""
    if not yes:
        typer.confirm("It is never told then. Drop it?", abort=True, err=True)
    emit(ask_node("POST", f"webhooks/{item}/drop", settings), as_json=as_json)
