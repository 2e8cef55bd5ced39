"""`undertone-trust trace`: from a decision to the rules, approvals and people behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.errors import KeyInvalid
from audit.keys import VerifyKey
from audit.terminal import MISUSE, CommandLine, complain
from audit.trace_cli import print_trace

Log = Annotated[Path, typer.Option("--log", help="The log's database file, or a copy.")]
Key = Annotated[str, typer.Option("--key", help="The log's verify key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with leaves and receipts.")]


def add_commands(app: CommandLine) -> None:
    """Add the commands of this module."""
    app.command("trace")(trace)


def trace(decision: str, *, log: Log, key: Key, as_json: AsJson = False) -> None:
    """Verify a log, and trace a decision in it to all it rests on; any of the three logs."""
    if not log.is_file():
        complain(f"--log {log} is not a file")
        raise typer.Exit(MISUSE)
    try:
        known = VerifyKey.parse(key)
    except KeyInvalid as error:
        complain(f"--key: {error}")
        raise typer.Exit(MISUSE) from error
    print_trace(log, known, decision, as_json=as_json)
