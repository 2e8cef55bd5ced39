"""Wake those who wait for news: rung by any thread, heard on any event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Bell:
    """Listeners by company; ringing costs nothing where nobody listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.Event, tuple[str, asyncio.AbstractEventLoop]] = {}

    @contextlib.contextmanager
    def listen(self, company: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at the company's next news; call inside a coroutine.

        Listen first and look for news afterwards: then none falls between the two.
        """
        heard = asyncio.Event()
        with self._lock:
            self._listeners[heard] = (company, asyncio.get_running_loop())
        try:
            yield heard
        finally:
            with self._lock:
                del self._listeners[heard]

    def ring(self, company: str | None) -> None:
        """Wake the listeners of one company, or all of them (None)."""
        with self._lock:
            listeners = list(self._listeners.items())
        for heard, (whose, loop) in listeners:
            if company is None or whose == company:
                with contextlib.suppress(RuntimeError):  # that loop has ended
                    loop.call_soon_threadsafe(heard.set)
