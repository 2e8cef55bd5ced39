"""The terminal: one line on stderr, results on stdout, exit 0, 1 or 2."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
import typer

from audit.terminal import CommandLine, emit, run
from policies.errors import NotBuilt

app = CommandLine(help="Try things.")


@app.command()
def show(*, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show a result."""
    emit({"size": 3, "root": "[red]ab"}, as_json=as_json)


@app.command()
def fail(how: str) -> None:
    """Fail in some way."""
    if how == "ours":
        raise NotBuilt("voice comes\nlater")
    if how == "exit":
        raise typer.Exit(1)
    raise ValueError("Ann said this")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show"], 0, ""),
        (["fail", "ours"], 1, "NotBuilt: voice comes later\n"),
        (["fail", "exit"], 1, ""),
        (["fail", "else"], 1, "unexpected ValueError; set UNDERTONE_DEBUG=1 to see where\n"),
    ],
)
def test_terminal_exits_by_the_manners(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    """Done is 0, refused or failed 1 with one line; nobody's words and no traceback."""
    with pytest.raises(SystemExit) as caught:
        run(app, arguments)
    assert caught.value.code == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("arguments", [["show", "--none"], ["nothing"], ["fail"]])
def test_terminal_misuse_is_two(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """An unknown option, command or missing argument is misuse, told on stderr."""
    with pytest.raises(SystemExit) as caught:
        app(arguments)
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert "Usage" in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_terminal_emits_json_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is JSON; a table shows what is in it, markup and all, as text."""
    with pytest.raises(SystemExit):
        run(app, ["show", "--json"])
    assert json.loads(capsys.readouterr().out) == {"size": 3, "root": "[red]ab"}
    emit({"root": "[red]ab"}, as_json=False)
    emit([{"a": 1, "b": [1]}, {"a": 2}], as_json=False)
    emit("done [bold]", as_json=False)
    told = capsys.readouterr().out
    assert "[red]ab" in told
    assert "done [bold]" in told
