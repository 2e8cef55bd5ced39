"""Importing a library without the frameworks that it would load and we would not use.

spaCy and Presidio import torch and transformers wherever they are installed, for models that
this node does not run. That is ten seconds of start and 300 MB in every node. spaCy also imports
the whole of its own command line, a tenth of a second, to offer one function of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


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


@contextmanager
def with_empty(module: str, *names: str) -> Iterator[None]:
    """Let imports inside find this module, and each package above it but the first, empty.

    `names` are what they will ask of it, None each. A module that is loaded already stays; an
    empty one is gone afterwards, so that who really needs it gets it.
    """
    parts = module.split(".")
    wanted = [".".join(parts[:end]) for end in range(2, len(parts) + 1)]
    made = {name: ModuleType(name) for name in wanted if name not in sys.modules}
    for name, empty in made.items():
        empty.__path__ = []
        sys.modules[name] = empty
    if module in made:
        vars(made[module]).update(dict.fromkeys(names))
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]
