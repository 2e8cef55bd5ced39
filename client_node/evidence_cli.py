"""`undertone-node trace`: from a decision of this node to all it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.terminal import CommandLine
from audit.trace_cli import print_trace
from client_node.releases import published_in
from client_node.settings import NodeSettings, load_signing_key, parse_key

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with leaves and receipts.")]


def add_commands(app: CommandLine) -> None:
    """Add the commands of this module."""
    app.command("trace")(trace)


def trace(decision: str, *, settings: SettingsFile, as_json: AsJson = False) -> None:
    """Verify the node's log, and trace a decision in it, whether or not the node runs."""
    loaded = NodeSettings.load(settings)
    coordinator = parse_key("coordinator_key", loaded.coordinator_key)
    log_key = parse_key("coordinator_log_key", loaded.coordinator_log_key or loaded.coordinator_key)
    print_trace(
        loaded.folder / "log.db",
        load_signing_key(loaded.signing_key).verify_key,
        decision,
        published=published_in(loaded.folder / "releases.db", coordinator, log_key),
        as_json=as_json,
    )
