"""The first lines of `undertone-node`, before anything else is imported.

What a service imports it keeps, so collecting garbage meanwhile finds next to nothing and takes a
sixth of the start. The collector is told to wait longer, and then to leave what is there alone.
"""

from __future__ import annotations

import gc

ALLOCATIONS = 50_000
"""Objects between two collections; Python's own 700 is for short scripts of few objects."""


def main() -> None:
    """Run the command."""
    gc.set_threshold(ALLOCATIONS)
    from client_node.cli import app  # noqa: PLC0415 (after the line above)

    gc.freeze()
    app()
