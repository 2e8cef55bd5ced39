"""`undertone-node pseudonym`: the company's own names for its customers, made where they are known.

Reads a CSV export of the CRM as a stream, a row at a time. No message quotes a row: a line is named
by its number. Identities stay where they are: what is printed has none, but for `make --mapping`,
which writes them beside their pseudonyms into a file that only its owner may read.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TextIO

import typer

from audit.private_files import create_private
from audit.terminal import emit, put, say
from client_node.errors import StartRefused
from client_node.pseudonym import Pseudonyms, key_id, pseudonym
from client_node.pseudonym_keys import PseudonymKeys, load_key
from client_node.settings import NodeSettings, load_policy, parse_key
from client_node.standing_cache import StandingCache
from policies.vocabulary import SubjectId

Column = Annotated[str, typer.Option("--column", help="The column with the customer id.")]
Given = Annotated[Path | None, typer.Option("--in", help="The CSV file; stdin without it.")]
Settings = Annotated[Path | None, typer.Option("--settings", help="The node's TOML file.")]
SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="The company's pseudonym key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

pseudonym_app = typer.Typer(
    no_args_is_help=True, help="Pseudonyms of customers, and the keys that make them."
)


@pseudonym_app.command("key")
def key(file: Annotated[Path, typer.Argument(help="Where to write it; must not exist.")]) -> None:
    """Make a company's pseudonym key, for its owner's eyes; prints the key's name."""
    made = secrets.token_hex(32).encode()
    try:
        create_private(file, made)
    except FileExistsError as error:
        raise typer.BadParameter(f"{file} is there already: a key is never written over") from error
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written ({type(error).__name__})") from error
    say(key_id(made))


@pseudonym_app.command("make")
def make(
    *,
    column: Column,
    key_file: KeyFile = None,
    settings: Settings = None,
    given: Given = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Another column to pass on; repeat it.")
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", help="Write customer id and pseudonym here, mode 0600."),
    ] = None,
) -> None:
    """Turn a CRM export into pseudonyms, row by row: on stdout, or with the ids by --mapping.

    With --settings each customer gets the name that they have at this node, whichever key made it.
    """
    kept = list(keep or ())
    with ExitStack() as opened:
        name = _namer(key_file, settings, opened)
        rows = _rows(_input(given, opened), [column, *kept])
        out: Any = SimpleNamespace(write=put) if mapping is None else _private(mapping, opened)
        shown = [] if mapping is None else [column]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["pseudonym", *shown, *kept])
        for customer, *rest in rows:
            shown = [] if mapping is None else [customer]
            writer.writerow([name(customer), *shown, *rest])


@pseudonym_app.command("census")
def census(
    *, settings: SettingsFile, column: Column, given: Given = None, as_json: AsJson = False
) -> None:
    """Count the customers of an export whom this node knows, by the key that made their pseudonym.

    Exit 1 while anybody is known under an older key: it cannot be retired yet.
    """
    with ExitStack() as opened:
        loaded = NodeSettings.load(settings)
        keys = PseudonymKeys.load(loaded).keys
        cache = _cache(loaded, opened)
        counted: Counter[str] = Counter({key_id(one): 0 for one in keys})
        for (customer,) in _rows(_input(given, opened), [column]):
            counted.update(
                key_id(one)
                for one in keys
                if (known := cache.standing(pseudonym(customer, key=one))) and not known.erased
            )
    emit(dict(counted), as_json=as_json)
    if any(counted[key_id(one)] for one in keys[1:]):
        raise typer.Exit(1)


def _namer(
    key_file: Path | None, settings: Path | None, opened: ExitStack
) -> Callable[[str], SubjectId]:
    if (key_file is None) == (settings is None):
        raise typer.BadParameter("give either --key-file or --settings")
    if key_file is not None:
        key = load_key(key_file)
        return lambda customer: pseudonym(customer, key=key)
    loaded = NodeSettings.load(Path(str(settings)))
    cache = _cache(loaded, opened)
    return Pseudonyms(keys=PseudonymKeys.load(loaded).keys, standing=cache.standing).of


def _cache(settings: NodeSettings, opened: ExitStack) -> StandingCache:
    """Return what the node last heard of who is known, verified, whether or not it runs.

    Raises:
        StartRefused: It has heard nothing yet.
    """
    path = settings.folder / "standing.db"
    if not path.exists():
        raise StartRefused(f"{path}: this node has heard of nobody yet: start it first")
    cache = StandingCache(
        path,
        node=load_policy(settings).node,
        key=parse_key("trust_key", settings.trust_key),
        clock=time.time,
    )
    opened.callback(cache.close)
    return cache


def _input(given: Path | None, opened: ExitStack) -> TextIO:
    try:
        if given is None:
            return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        return opened.enter_context(given.open(encoding="utf-8-sig", newline=""))
    except OSError as error:
        raise typer.BadParameter(f"{given} cannot be read ({type(error).__name__})") from error


def _private(path: Path, opened: ExitStack) -> TextIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return opened.enter_context(os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be made ({type(error).__name__}): name a new file"
        ) from error


def _rows(file: TextIO, wanted: Sequence[str]) -> Iterator[list[str]]:
    """Return the wanted columns of each row, the first of which is never empty.

    Raises:
        StartRefused: A row is not CSV in UTF-8, is short, or has no customer id.
        typer.BadParameter: A column is not there; said before anything is written.
    """
    reader = csv.reader(file, strict=True)
    return _wanted(reader, _places(_next(reader), wanted))


def _wanted(reader: Any, places: Sequence[int]) -> Iterator[list[str]]:
    while (row := _next(reader)) is not None:
        if not row:
            continue
        if len(row) <= max(places) or not row[places[0]]:
            raise StartRefused(
                f"line {reader.line_num}: no customer id or too few columns: nothing after it "
                "was read"
            )
        yield [row[place] for place in places]


def _places(header: list[str] | None, wanted: Sequence[str]) -> list[int]:
    if header is None:
        raise StartRefused("the export is empty: its first line names the columns")
    for name in wanted:
        if header.count(name) != 1:
            raise typer.BadParameter(f"the export has not one column {name!r} in its first line")
    return [header.index(name) for name in wanted]


def _next(reader: Iterator[list[str]]) -> list[str] | None:
    try:
        return next(reader, None)
    except (csv.Error, UnicodeDecodeError) as error:
        line = getattr(reader, "line_num", 0) + 1
        raise StartRefused(
            f"line {line} or after: not CSV in UTF-8 ({type(error).__name__}): export it anew"
        ) from error
