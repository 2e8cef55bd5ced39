"""Importing a library without the frameworks that it would load and we would not use.

spaCy and Presidio import torch and transformers wherever they are installed, for models that
this node does not run. That is ten seconds of start and 300 MB in every node.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*frameworks: str) -> Iterator[None]:
    """Let imports inside find none of these; a framework that is loaded already stays."""
    hidden = [name for name in frameworks if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # documented: then it is not found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
