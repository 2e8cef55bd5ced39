"""`undertone-node approvals`: what waits for a person's yes, on the running node."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.terminal import emit, say
from client_node.running_node import ask_node

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Item = Annotated[str, typer.Argument(help="The id that `list` shows.")]
By = Annotated[str, typer.Option("--by", help="Who decides; the user who is signed in.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

approvals_app = typer.Typer(no_args_is_help=True, help="What waits for a person's yes.")


@approvals_app.command("list")
def waiting(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Show what waits, oldest first."""
    found = ask_node("GET", "approvals", settings)
    if as_json:
        emit(found, as_json=True)
        return
    said = [f"{item['approval']}  {item['use']}  {item['topic']}" for item in found["approvals"]]
    say(*said or ["Nothing waits."])


@approvals_app.command("approve")
def approve(
    item: Item,
    settings: SettingsFile,
    by: By = "",
    yes: Yes = False,  # noqa: FBT002 (typer)
    as_json: AsJson = False,  # noqa: FBT002 (typer)
) -> None:
    """Show what waits, ask, and do it."""
    who = {"by": by or getpass.getuser()}
    shown = ask_node("POST", f"approvals/{item}/show", settings, who)
    if not yes:
        say(*_words(shown).splitlines(), err=True)
        typer.confirm(f"Approve as {who['by']}?", abort=True, err=True)
    _print(ask_node("POST", f"approvals/{item}/approve", settings, who), as_json=as_json)


@approvals_app.command("deny")
def deny(
    item: Item,
    settings: SettingsFile,
    by: By = "",
    as_json: AsJson = False,  # noqa: FBT002 (typer)
) -> None:
    """Show what waits, and drop it."""
    who = {"by": by or getpass.getuser()}
    ask_node("POST", f"approvals/{item}/show", settings, who)
    _print(ask_node("POST", f"approvals/{item}/deny", settings, who), as_json=as_json)


def _words(shown: dict[str, Any]) -> str:
    if "text" in shown:
        return str(shown["text"])
    return (
        f"{shown['topic']}: {shown['value']} where everybody gets {shown['baseline']} "
        f"({shown['currency']}, smallest unit)"
    )


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    emit(found, as_json=as_json)
    if found.get("answer") == "refused":
        raise typer.Exit(1)
