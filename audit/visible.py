"""Text as it may be shown: what would steer whoever shows it is written out instead.

A control sign moves a terminal's cursor, a bidirectional override turns a line around, a NUL ends
what draws a chart, half a surrogate pair is in no encoding. Names come from many places, so each
way out asks this, whatever was checked on the way in. Words of every language pass as they are.
"""

from __future__ import annotations

import re
from typing import Any

_STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u2028-\u202e\u2066-\u2069"  # line and paragraph separators, bidirectional embeddings
    "\ud800-\udfff\ufeff\ufffe\uffff\U000e0000-\U000e007f]"  # surrogates, no letters, tags
)
_BREAKS = re.compile("[\t\n]")


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Return a text that steers nothing: a sign that would is written as `\x1b` or `\u202e`.

    Line feeds and tabs stay, but for what has to stay on one line.
    """
    shown = _STEERS.sub(_written, text.replace("\r\n", "\n"))
    return _BREAKS.sub(_written, shown) if one_line else shown


def visible_value(value: Any) -> Any:
    """Return what a template writes: a text visibly, and markup that it made itself as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _written(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
