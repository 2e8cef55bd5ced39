"""The terminal: one line on stderr, results on stdout, exit 0, 1 or 2."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import pytest
import typer

from audit.terminal import CommandLine, PlainConsole, complain, emit, put, run, say
from policies.errors import NotBuilt

app = CommandLine(help="Try things.")
WICKED = (
    ":warning:zq\x1b[31m\x1b]0;title\x07\x1b]8;;http://zq\x1b\\\x9b2J\r\x08\x00\x7f\u202e\u2066\u2028"
    "\ud800[bold]\\[red]zq[/zq]"
)
STEERS = {chr(n) for n in (*range(9), *range(11, 32), *range(127, 160))} | set("\u202e\u2066\u2028")
WAYS: dict[str, Callable[[], object]] = {
    "mapping": lambda: emit({"name": WICKED, WICKED: [WICKED]}, as_json=False),
    "rows": lambda: emit([{"name": f"{WICKED}\nforged", WICKED: 1}], as_json=False),
    "text": lambda: emit(WICKED, as_json=False),
    "json": lambda: emit({"name": WICKED}, as_json=True),
    "line": lambda: say(f"{WICKED}\nforged"),
    "diagnostic": lambda: complain(f"{WICKED}\nforged"),
    "file": lambda: put(WICKED),
    "console": lambda: PlainConsole().print(WICKED),
    "misuse": lambda: run(app, ["fail", "wicked"]),
    "argument": lambda: run(app, ["fail", "ours", f"--{WICKED}"]),
}


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
    if how == "wicked":
        raise typer.BadParameter(WICKED)
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


class _Screen(io.StringIO):
    """What a person looks at."""

    encoding, errors = "utf-8", "strict"

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return super().write(text.encode().decode())


def test_terminal_cuts_nothing_and_writes_letters(capsys: pytest.CaptureFixture[str]) -> None:
    """A digest in a cell is whole, over two lines if need be, and an umlaut is no escape."""
    layers = {"de": {"text": "Gefühle werden geprüft", "digest": "5f" * 60}}
    for value in ({"layers": layers}, [{"digest": "5f" * 60, "text": ["geprüft"], "other": 1}]):
        emit(value, as_json=False)
        told = capsys.readouterr().out
        assert "geprüft" in told
        assert "…" not in told
        assert "".join(told.split()).count("5f") == 60


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_is_printed_steers_the_terminal(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """No control sign, no override, no markup and no second line comes out of a name.

    The only escape is a table's own bold heading.
    """
    out, err = _Screen(), _Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERM", "xterm")
    with suppress(SystemExit):
        WAYS[way]()
    told = out.getvalue() + err.getvalue()
    assert not STEERS & set(re.sub(r"\x1b\[[01]m", "", told)), repr(told)
    if way != "argument":
        assert "zq" in told
        assert ":warning:" in told
    assert not [line for line in told.splitlines() if line.startswith("forged")]


def test_a_file_is_piped_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no terminal gets a file's bytes."""
    put("a\x1b[31m\r\nb")
    assert capsys.readouterr().out == "a\x1b[31m\r\nb"
