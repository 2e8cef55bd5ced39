"""A stamped document as a PDF, set by Typst: tagged, so that it can be read aloud and searched.

The document goes to the typesetter as one JSON value, which `paper.typ` shows as text: nothing that
people wrote is markup, and nothing of it is run. What Typst's own fonts have no letter for is
looked for among the system's; a PDF with a letter that none has is not called accessible.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst

from consent.document_pages import columns_of, heading_of, is_nested, parts_of, plain, word
from consent.documents import Kind
from consent.paper import pieces

_ACCESSIBLE = "ua-1"
_TEMPLATE = Path(__file__).with_name("paper.typ")


def as_pdf(kind: Kind, stamp: Mapping[str, Any]) -> bytes:
    """Return the document as PDF/UA-1, its approvals and what is missing at the end."""
    said = {
        "title": kind.title,
        "digest": pieces(stamp["digest"]),
        "sections": [
            {"heading": pieces(heading_of(kind, name)), "value": _value(value)}
            for name, value in parts_of(stamp).items()
        ],
    }
    inputs = {"document": json.dumps(said)}
    try:
        return _set(inputs, _ACCESSIBLE)
    except typst.TypstError:
        return _set(inputs, None)


def _set(inputs: dict[str, str], standard: Any) -> bytes:
    return typst.compile(_TEMPLATE, sys_inputs=inputs, pdf_standards=standard, format="pdf")


def _value(value: Any, name: object = "") -> dict[str, Any]:
    if not is_nested(value):
        return {"kind": "words", "words": pieces(plain(value, name))}
    if isinstance(value, Mapping):
        fields = [[pieces(word(n)), _value(v, n)] for n, v in value.items()]
        return {"kind": "fields", "fields": fields}
    if (columns := columns_of(value)) is not None:
        return {
            "kind": "rows",
            "columns": [pieces(word(column)) for column in columns],
            "rows": [[_value(row[column], column) for column in columns] for row in value],
        }
    return {"kind": "items", "items": [_value(v) for v in value]}
