"""A table of a page: cells that know how they are read, and the same table as CSV.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a line's end for a
formula; in an export such a cell begins with an apostrophe, but for plain numbers. So does what
follows a semicolon or a line's end in it: where the comma is the decimal sign, a cell ends there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from urllib.parse import urlencode

from fastapi import Request, Response

from audit.http import attachment
from audit.portal.moments import moment, moment_utc

PAGE_ROWS = 50
CSV_ROWS = 10_000
"""Rows of a page, and of an export; an export that was cut says so in its last line."""

_SHORT_ID = 10
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")
_SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"
_FORMULA = re.compile(
    rf"\A(?=\s*[{_SIGNS}]|[\t\r\n])|(?:(?<=[;\n])|(?<=\r)(?!\n))(?=\s*[{_SIGNS}])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell: what is shown, what stands behind it, where it leads.

    `tone` is a word of the style: ok, warn, bad, id, time, number, or nothing.
    """

    text: str
    full: str = ""
    href: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A table; `older` is the address of what comes after, `empty` what there would be to see."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    empty: str
    older: str = ""
    newest: str = ""

    @property
    def numbers(self) -> frozenset[int]:
        """The places of the columns of numbers, whose every cell stands to the right."""
        found = {place for row in self.rows for place, c in enumerate(row) if c.tone == "number"}
        return frozenset(found - {0})


def plain(text: object, *, href: str = "") -> Cell:
    """Return a cell of words."""
    return Cell(text=str(text), href=href)


def number(value: float, shown: str = "") -> Cell:
    """Return a cell of a number, which stands to the right."""
    return Cell(text=shown or f"{value:,}", full=str(value), tone="number")


def ident(text: str | None, *, href: str = "") -> Cell:
    """Return an id or digest, abbreviated, the whole of it behind."""
    if not text:
        return Cell(text="-")
    short = text if len(text) <= _SHORT_ID + 4 else f"{text[:_SHORT_ID]}…"
    return Cell(text=short, full=text, href=href, tone="id")


def when(at: float | None, zone: tzinfo) -> Cell:
    """Return a moment in a zone, with UTC behind it."""
    if at is None:
        return Cell(text="-")
    return Cell(text=moment(at, zone), full=moment_utc(at), tone="time")


def badge(text: str, tone: str) -> Cell:
    """Return a state: its word, and a tone that says the same in colour."""
    return Cell(text=text, tone=tone)


def wants_csv(request: Request) -> bool:
    """Return whether a table is asked for in place of its page."""
    return request.query_params.get("format") == "csv"


def rows_wanted(request: Request) -> int:
    """Return how many rows to find."""
    return CSV_ROWS if wants_csv(request) else PAGE_ROWS


def with_query(request: Request, **changes: object) -> str:
    """Return this page's query with some names changed; None takes one away."""
    kept = {n: v for n, v in request.query_params.items() if n not in changes and v}
    new = {n: str(v) for n, v in changes.items() if v is not None}
    return f"?{urlencode(kept | new)}"


def as_csv(listing: Listing) -> Response:
    """Return a table as a CSV file (RFC 4180, UTF-8)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([safe(column) for column in listing.columns])
    writer.writerows([safe(cell.full or cell.text) for cell in row] for row in listing.rows)
    if listing.older:
        writer.writerow([f"cut after {len(listing.rows)} rows: narrow the search for the rest"])
    return Response(
        text.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers=attachment(f"{listing.name}.csv"),
    )


def safe(value: str) -> str:
    """Return a cell's text that no spreadsheet takes for a formula."""
    return value if _NUMBER.fullmatch(value) else _FORMULA.sub("'", value)


def chosen(request: Request, listings: Mapping[str, Listing]) -> Listing | None:
    """Return the table that is asked for as CSV: by its name, or the only one."""
    if not wants_csv(request) or not listings:
        return None
    name = request.query_params.get("table", next(iter(listings)))
    return listings.get(name)
