"""What is handed out on paper: one HTML page without script, whose style is made for printing."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

STYLE = "/documents/paper.css"
_DIGEST = re.compile(r"\b[0-9a-f]{32,}\b")
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
    """Let a line break within a digest, and within nothing else; a copy of it stays whole."""
    return _DIGEST.sub(lambda found: "<wbr>".join(_parts(found[0])), text)


def _parts(digest: str) -> list[str]:
    return [digest[at : at + 16] for at in range(0, len(digest), 16)]


def moment_of(name: str, value: object) -> datetime | None:
    """Return the moment that a field of this name holds; None where it holds none."""
    if not _SECONDS.fullmatch(name) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # a node may say what it likes
        return None
