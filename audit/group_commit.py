"""One writer thread that makes many callers' work durable with one fsync.

While a group is being written, the next one gathers: a lone caller waits for its own fsync
only, a hundred callers share one. No timer is needed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from audit.errors import EvidenceUnavailable

Work = TypeVar("Work")
Result = TypeVar("Result")

_LARGEST_GROUP = 1024


class GroupCommit(Generic[Work, Result]):
    """Hand work to `write` in groups, in order of arrival, and give each caller its result.

    `write` takes a group and returns one result each, after making all of it durable; where the
    result is an error, its caller gets that. If `write` raises, every caller of the group does.
    """

    def __init__(
        self, write: Callable[[Sequence[Work]], Sequence[Result | Exception]], *, name: str
    ) -> None:
        self._write = write
        self._queue: queue.SimpleQueue[tuple[Work, Future[Result]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Future[Result]:
        """Queue the work.

        Raises:
            EvidenceUnavailable: Closed.
        """
        future: Future[Result] = Future()
        with self._lock:
            if not self._open:
                raise EvidenceUnavailable("the log is closed")
            self._queue.put((work, future))
        return future

    def close(self) -> None:
        """Finish what was submitted and end the thread; more than once does nothing."""
        with self._lock:
            if self._open:
                self._open = False
                self._queue.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        group = self._gather()
        while group:
            self._finish(group)
            group = self._gather()

    def _gather(self) -> list[tuple[Work, Future[Result]]]:
        """Wait for work and take what else is there; an empty list means the end."""
        first = self._queue.get()
        if first is None:
            return []
        group = [first]
        while len(group) < _LARGEST_GROUP and not self._queue.empty():
            item = self._queue.get()
            if item is None:
                self._queue.put(None)  # nothing comes after it: submit is closed
                break
            group.append(item)
        return group

    def _finish(self, group: list[tuple[Work, Future[Result]]]) -> None:
        """Write a group and tell every caller."""
        try:
            results = self._write([work for work, _ in group])
        except BaseException as error:  # noqa: BLE001 (handed to the callers, who wait for it)
            for _, future in group:
                future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
