"""What is handed out on paper: one HTML page without script, whose style is made for printing."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from itertools import pairwise

from audit.visible import visible

STYLE = "/documents/paper.css"
_LONG = re.compile(r"\b[0-9a-f]{32,}\b|\S{40,}")
_SECONDS = re.compile(r"at|now|as_of|until|\w+_at")


def paper(title: str, body: str) -> str:
    """Return a page; the title is text, the body markup whose values are escaped."""
    title = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<link rel="stylesheet" href="{STYLE}"></head>'
        f"<body><main><h1>{title}</h1>{body}</main></body></html>"
    )


def breakable(text: str) -> str:
    """Return text as HTML that steers nothing, and whose lines may break where they must.

    Within a digest and what no line holds, which a sheet would cut off, and within nothing else; a
    copy of it stays whole.
    """
    return "<wbr>".join(html.escape(piece) for piece in pieces(text))


def pieces(text: str) -> list[str]:
    """Return the parts of a text between which a line may break though no space is there."""
    shown = visible(text)
    breaks = [at for f in _LONG.finditer(shown) for at in range(f.start() + 16, f.end(), 16)]
    return [shown[start:end] for start, end in pairwise([0, *breaks, len(shown)])]


def moment_of(name: str, value: object) -> datetime | None:
    """Return the moment that a field of this name holds; None where it holds none."""
    if not _SECONDS.fullmatch(name) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # a node may say what it likes
        return None
