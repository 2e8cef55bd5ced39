"""Do heavy work in a process that ends with it, so that its memory is given back."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


class Apart:
    """Start a function by its module and name; the caller never imports the module."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def start(self, module: str, function: str, *values: Any) -> Future[Any]:
        """Return the future of the function's value."""
        return self._pool.submit(_call, module, function, values)


@contextmanager
def apart() -> Iterator[Apart]:
    """Yield a place to work in, one process for each task, one task at a time."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as pool:
        try:
            yield Apart(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for unfinished in multiprocessing.active_children():
                unfinished.terminate()


def _call(module: str, function: str, values: tuple[Any, ...]) -> Any:
    return getattr(importlib.import_module(module), function)(*values)
