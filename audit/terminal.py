"""The terminal's manners, the same for every command of ours.

Results go to stdout, as JSON where asked; one line on stderr says what went wrong; exit 0 is
done, 1 refused or failed, 2 misuse. No traceback reaches a user: what nobody expected is
named by type only, because a third party's message may quote a person. Nothing that is printed
steers the terminal or forges a line, wherever it came from: every word goes through here.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from audit.visible import visible
from policies.errors import UndertoneError

DONE, FAILED, MISUSE = 0, 1, 2

Known = Annotated[
    Path | None, typer.Option("--known", help="A checkpoint or receipt that you kept earlier.")
]

Sealed = Annotated[
    Path | None,
    typer.Option("--archive", help="The archive's folder, where entries have been sealed."),
]

Bookmark = Annotated[
    Path | None,
    typer.Option("--bookmark", help="Remember here how far it is, and go on from there."),
]

_DEBUG = "UNDERTONE_DEBUG"


class CommandLine(typer.Typer):
    """A Typer app whose call ends the process by these manners; for `[project.scripts]`."""

    def __init__(self, *, help: str) -> None:  # noqa: A002 (Typer's own word)
        super().__init__(
            help=help,
            no_args_is_help=True,
            add_completion=False,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command that the arguments name, and exit."""
        sys.exit(_outcome(super().__call__, *args, **kwargs))


class PlainConsole(Console):
    """A console on which every text is what it is: no markup, nothing that steers it."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | how)

    def render_str(self, text: str, **how: Any) -> Text:
        """Return a text as it is drawn, wherever it stands."""
        return super().render_str(visible(text), **how)


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 refused or failed, 2 misuse."""
    call = super(CommandLine, app).__call__ if isinstance(app, CommandLine) else app
    sys.exit(_outcome(call, args=None if arguments is None else list(arguments)))


def emit(value: Any, *, as_json: bool) -> None:
    """Print a result to stdout: JSON, or for people a table of a mapping or of rows."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
        return
    console = PlainConsole(soft_wrap=True)
    if isinstance(value, Mapping):
        console.print(_pairs(value))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        console.print(_rows(value))
    else:
        console.print(str(value))


def say(*lines: str, err: bool = False) -> None:
    """Print lines for people, each one line whatever is in it."""
    file = sys.stderr if err else sys.stdout
    file.writelines(f"{visible(line, one_line=True)}\n" for line in lines)
    file.flush()


def put(text: str) -> int:
    """Write what is a file to stdout: as it is, but on a terminal visibly; return its length."""
    return sys.stdout.write(visible(text) if sys.stdout.isatty() else text)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how far long work is; on a terminal only, and gone when it is done.

    Yields:
        A function of what is done and what there is in all.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def complain(message: str) -> None:
    """Print one line to stderr."""
    say(" ".join(message.split()), err=True)


def _outcome(call: Any, *args: Any, **kwargs: Any) -> int:
    """Run a command and return its exit status, every error told in one line."""
    try:
        status = call(*args, **{**kwargs, "standalone_mode": False})
    except UndertoneError as error:
        complain(f"{type(error).__name__}: {error}")
        return FAILED
    except click.ClickException as error:
        told = io.StringIO()
        error.show(file=told)
        sys.stderr.write(visible(told.getvalue()))
        return MISUSE
    except (click.Abort, KeyboardInterrupt):
        complain("stopped")
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        complain(f"unexpected {type(error).__name__}; set {_DEBUG}=1 to see where")
        return FAILED
    return status if isinstance(status, int) else DONE


def _pairs(value: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for _ in ("name", "value"):
        table.add_column(overflow="fold")  # a digest that is cut cannot be compared
    for name, item in value.items():
        table.add_row(visible(_text(name), one_line=True), _text(item))
    return table


def _rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*(Column(n, overflow="fold") for n in names), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(visible(_text(row.get(name, "")), one_line=True) for name in names))
    return table


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
