"""The `keys` commands of each service, spoken to the running service that owns the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.errors import KeyChangeRefused
from audit.key_history import follow_file
from audit.keys import LogKeys, VerifyKey
from audit.terminal import complain, emit, put

PATH = "/v1/log-keys"
Send = Callable[[Path, Path | None, str, bytes | None], Any]
"""Sends a body (None: GET) to a path of the service of a settings file, by an authority."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Settings = Annotated[Path, typer.Option("--settings", help="The service's TOML file.")]
Ca = Annotated[
    Path | None, typer.Option("--ca", help="Authority of its certificate, where it has one.")
]
History = Annotated[
    Path | None,
    typer.Option("--keys", help="The log's `keys history`, where it changed its first key."),
]


def keys_app(send: Send) -> typer.Typer:
    """Return the commands over a way to the service."""
    app = typer.Typer(help="The keys that sign the log.", no_args_is_help=True)

    @app.command("list")
    def keys(*, settings: Settings, ca: Ca = None, as_json: AsJson = False) -> None:
        """List every key that the log ever had."""
        found = send(settings, ca, PATH, None)
        emit(found if as_json else found["keys"], as_json=as_json)

    @app.command("history")
    def history(*, settings: Settings, ca: Ca = None) -> None:
        """Print how each key came, proven from the first: a file for whoever checks receipts."""
        put(str(send(settings, ca, f"{PATH}/history", None)))

    @app.command("rotate")
    def rotate(
        *,
        settings: Settings,
        overlap_days: Annotated[float, typer.Option("--overlap-days", min=0, max=400)] = 7.0,
        ca: Ca = None,
        as_json: AsJson = False,
    ) -> None:
        """Bring a new key, beside which the old one goes on signing; again, it changes nothing."""
        body = json.dumps({"overlap_s": overlap_days * 86_400}).encode()
        _show(send(settings, ca, f"{PATH}/rotate", body), as_json=as_json)

    @app.command("retire")
    def retire(
        *,
        settings: Settings,
        compromised: Annotated[
            bool, typer.Option("--compromised", help="At once: the old key may be in other hands.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        ca: Ca = None,
        as_json: AsJson = False,
    ) -> None:
        """End the old key, once the overlap is over; its file is destroyed."""
        if not yes:
            typer.confirm("Retire the old key for good?", abort=True, err=True)
        body = json.dumps({"compromised": compromised}).encode()
        _show(send(settings, ca, f"{PATH}/retire", body), as_json=as_json)

    return app


def keys_from(first: VerifyKey, history: Path | None) -> LogKeys:
    """Return a log's keys from its first one and, where it changed, the history that was kept.

    Raises:
        ProofInvalid, SignatureInvalid, CheckpointInvalid: The history is none, or not of that key.
        KeyChangeRefused: The file cannot be read.
    """
    if history is None:
        return first
    try:
        return follow_file(history.read_bytes(), first)
    except OSError as error:
        raise KeyChangeRefused(f"--keys {history} cannot be read") from error


def _show(state: dict[str, Any], *, as_json: bool) -> None:
    if not as_json and not state["changed"]:
        complain("nothing to do: it is so already")
    emit(state if as_json else state["keys"], as_json=as_json)
