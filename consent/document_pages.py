"""A stamped document as Markdown, as a page to print, or as JSON-LD; all say the same.

What people wrote is text in each of them: it heads no section, links nowhere, names no node.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from audit.visible import visible
from consent.documents import Kind
from consent.paper import breakable, moment_of, paper

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "undertone": "urn:undertone:documents#",
    "@vocab": "urn:undertone:documents#",
}
_TERM = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_MARKS = re.compile(r"[\\`*_\[\]<>&|~]")
_BEGINS = re.compile(r"\A(?=(?:#+|\+|=+|-+)(?: |\Z))|\A[0-9]+(?=[.)](?: |\Z))")


def as_markdown(kind: Kind, stamp: Mapping[str, Any]) -> str:
    """Return the document as Markdown, its approvals and what is missing at the end."""
    parts = [
        f"## {heading_of(kind, name)}\n\n{_lines(value)}\n"
        for name, value in parts_of(stamp).items()
    ]
    return f"# {kind.title}\n\nDigest: `{stamp['digest']}`\n\n" + "\n".join(parts)


def as_html(kind: Kind, stamp: Mapping[str, Any]) -> str:
    """Return the document as one HTML page without script, fit to print."""
    parts = _sections(kind, parts_of(stamp))
    return paper(kind.title, f"<p>Digest: <code>{stamp['digest']}</code></p>{parts}")


def body_of(kind: Kind, stamp: Mapping[str, Any]) -> str:
    """Return the document's sections as HTML for a page; every value in them is escaped."""
    return _sections(kind, stamp["document"])


def _sections(kind: Kind, document: Mapping[str, Any]) -> str:
    return "".join(
        f"<section><h2>{html.escape(heading_of(kind, name))}</h2>{_html(value)}</section>"
        for name, value in document.items()
    )


def as_json_ld(kind: Kind, stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as JSON-LD; its type is DPV's where DPV has a word for it."""
    typed = {} if kind.term is None else {"@type": kind.term}
    identity = {
        "@context": CONTEXT,
        "@id": f"urn:sha256:{stamp['digest']}",
        "dct:title": kind.title,
        "undertone:approver": [row["by"] for row in stamp["approval"]["approvals"] if row["holds"]],
    }
    return identity | typed | {"dct:hasPart": _linked(stamp["document"])}


def _linked(value: Any) -> Any:
    """Return JSON values whose every name is a term of ours, whatever a branch is called."""
    if isinstance(value, Mapping):
        return {_term(str(name)): _linked(of) for name, of in value.items()}
    return [_linked(of) for of in value] if isinstance(value, list | tuple) else value


def _term(name: str) -> str:
    plain = _TERM.fullmatch(name)
    return name if plain else f"undertone:{quote(name, safe='', errors='replace')}"


def parts_of(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's sections, and at their end what is missing and who approved it."""
    ending = {"missing": list(stamp["missing"]), "approval": stamp["approval"]}
    return {**stamp["document"], **ending}


def heading_of(kind: Kind, name: str) -> str:
    """Return what a section is called."""
    return kind.headings.get(name, name.replace("_", " ").capitalize())


def _lines(value: Any, depth: int = 0) -> str:
    pad = "  " * depth
    if not is_nested(value):
        return f"{pad}{_marked(plain(value))}"
    if isinstance(value, Mapping):
        return "\n".join(
            f"{pad}- {_marked(word(n))}: {_marked(plain(v, n))}"
            if not is_nested(v)
            else f"{pad}- {_marked(word(n))}:\n{_lines(v, depth + 1)}"
            for n, v in value.items()
        )
    return "\n".join(
        f"{pad}- {_marked(plain(v)) if not is_nested(v) else _lines(v, depth + 1).lstrip()}"
        for v in value
    )


def _marked(text: str) -> str:
    """Return text on one line in which Markdown sees no mark."""
    line = _MARKS.sub(r"\\\g<0>", " ".join(text.split()))
    return _BEGINS.sub(r"\g<0>\\", line)


def _html(value: Any) -> str:
    if not is_nested(value):
        return f"<p>{breakable(plain(value))}</p>"
    if isinstance(value, Mapping):
        rows = (
            f'<tr><th scope="row">{breakable(word(n))}</th><td>{_cell(v, n)}</td></tr>'
            for n, v in value.items()
        )
        return f"<table>{''.join(rows)}</table>"
    if (columns := columns_of(value)) is not None:
        return _table(columns, value)
    return f"<ul>{''.join(f'<li>{_cell(v)}</li>' for v in value)}</ul>"


def columns_of(rows: Any) -> list[str] | None:
    """Return what every row says, if all say the same and nothing is nested deeper."""
    first = rows[0]
    if len(rows) == 1 or not all(
        isinstance(row, Mapping) and row.keys() == first.keys() for row in rows
    ):
        return None
    return None if any(is_nested(v) for row in rows for v in row.values()) else list(first)


def _table(columns: list[str], rows: Any) -> str:
    """Return rows that say the same as one table, in place of one table each."""
    head = "".join(f'<th scope="col">{breakable(word(name))}</th>' for name in columns)
    body = "".join(
        f"<tr>{''.join(_named(name, row[name]) for name in columns)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _named(name: str, value: Any) -> str:
    """Return a cell that knows its column, for where there is no room for a head."""
    return f'<td data-name="{html.escape(word(name))}">{_cell(value, name)}</td>'


def _cell(value: Any, name: object = "") -> str:
    return _html(value) if is_nested(value) else breakable(plain(value, name))


def is_nested(value: Any) -> bool:
    """Return whether a value has parts."""
    return isinstance(value, Mapping | list | tuple) and bool(value)


def plain(value: Any, name: object = "") -> str:
    """Return a value without parts as text; the name says whether it is a moment."""
    if (at := moment_of(str(name), value)) is not None:
        return f"{at:%Y-%m-%d %H:%M} UTC"
    if value is None or (isinstance(value, Mapping | list | tuple) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else visible(str(value))


def word(name: object) -> str:
    """Return the name of a field as a person reads it."""
    return visible(str(name).replace("_", " "))
