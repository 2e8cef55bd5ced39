"""`undertone-node personal`: the head of this node's own, for its operator's eyes.

Asks the running node on its Unix socket, which only the node's own user may open: the gain is a
figure about people here, and is shown to nobody else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from audit.terminal import emit, say
from client_node.running_node import ask_node

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

personal_app = typer.Typer(no_args_is_help=True, help="The head of this node's own.")


@personal_app.command("show")
def show(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Say whether a local head takes part, and what it gains on people held apart."""
    _print(_ask("GET", settings), as_json=as_json)


@personal_app.command("fit")
def fit(settings: SettingsFile, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Fit it anew on those who allow training; seconds to a minute."""
    _print(_ask("POST", settings), as_json=as_json)


@personal_app.command("drop")
def drop(settings: SettingsFile, yes: Yes = False, as_json: AsJson = False) -> None:  # noqa: FBT002 (typer)
    """Destroy it; the release reads alone until `fit`."""
    if not yes:
        typer.confirm("Destroy this node's own head?", abort=True, err=True)
    found = _ask("DELETE", settings)
    words = "dropped" if found["dropped"] else "there was none; none is fitted until `fit`"
    emit(found if as_json else words, as_json=as_json)


def _ask(method: str, settings: Path) -> dict[str, Any]:
    return ask_node(method, "personal", settings)


def _print(value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(value, as_json=True)
        return
    say(*_words(value))


def _words(value: dict[str, Any]) -> list[str]:
    """Return the state as the operator reads it."""
    if not value["on"]:
        return ["Off: the release reads alone. To switch it on, set `personal = true`."]
    if value["state"] == "none":
        when = "only when" if value["waits_for_fit"] else "within minutes, or when"
        return [f"There is none: the release reads alone. One is fitted {when} you say `fit`."]
    until = datetime.fromtimestamp(value["good_until"], UTC).isoformat(timespec="minutes")
    taking = (
        f"It takes part with share {value['share']:g}, temperature {value['temperature']:.2f}."
        if value["share"]
        else "The release reads alone."
    )
    return [
        taking,
        _gain(value["gain"]),
        f"Local head {value['digest'][:16]}, good until {until}.",
        "These figures are about people here: they stay at this node.",
    ]


def _gain(gain: dict[str, Any] | None) -> str:
    if gain is None:
        return "Too few people gave labels that count to judge a local head."
    sure = "" if gain["low"] > 0 else " That is no sure gain."
    return (
        f"On {gain['people']} people, each read by a head fitted without them: macro-F1 "
        f"{gain['before']:.3f} by the release, {gain['after']:.3f} with a local head; the "
        f"difference lies between {gain['low']:+.3f} and {gain['high']:+.3f} (95 %); calibration "
        f"error {gain['ece_before']:.3f} and {gain['ece_after']:.3f}.{sure}"
    )
