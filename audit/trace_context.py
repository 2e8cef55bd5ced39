"""The trace that this thread or task is in, for whoever records what happens in it.

Without a library: the log asks here, and what sets it is `audit.telemetry`.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

TRACE_ID = "trace_id"
"""The field of any event that ties it to its trace."""

_ID = re.compile(r"[0-9a-f]{32}")
_NONE = "0" * 32

current_trace: ContextVar[str | None] = ContextVar("current_trace", default=None)
"""The trace's id (W3C Trace Context: 32 lower-case hexadecimal digits), or None."""


def is_trace_id(value: object) -> bool:
    """Return whether this is the id of a trace."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None and value != _NONE
