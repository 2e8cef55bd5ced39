"""Importing a library without what it would load and we would not use.

spaCy and Presidio import torch and transformers wherever they are installed, for models that
this node does not run: ten seconds of start and 300 MB in every node. Presidio imports spaCy to
split words that it then does not look at, and recognisers for fifty countries of which we ask
seven: half a second.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
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
def with_empty(modules: Mapping[str, Iterable[str]]) -> Iterator[None]:
    """Let imports inside find these modules without running them.

    Each has the names that will be asked of it, an empty class each. Of a library that is
    installed, parts of an empty package are found as ever. A module that is loaded already stays;
    an empty one is gone afterwards, so that who really needs it gets it.
    """
    made = {name: ModuleType(name) for name in modules if name not in sys.modules}
    for name, empty in made.items():
        empty.__path__ = _places(name)
        vars(empty).update({asked: type(asked, (), {}) for asked in modules[name]})
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


@contextmanager
def with_value(module: str, name: str, value: object) -> Iterator[None]:
    """Let a module that is loaded have this value by this name while imports inside run."""
    known = sys.modules[module]
    kept = getattr(known, name)
    setattr(known, name, value)
    try:
        yield
    finally:
        setattr(known, name, kept)


def _places(module: str) -> list[str]:
    """Return where parts of the module lie, if it is a package inside an installed one.

    The first package's own place is asked, which runs nothing of it.
    """
    library, *inner = module.split(".")
    spec = find_spec(library) if inner and library not in sys.modules else None
    folders = [] if spec is None else spec.submodule_search_locations or []
    return ["/".join([folder, *inner]) for folder in folders]
