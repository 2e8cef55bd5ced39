"""Server-sent events (WHATWG HTML, 9.2) of what is told, until somebody leaves.

A comment begins a stream and shows every fifteen seconds that it lives. `event: behind` ends a
watcher that did not keep up, `event: leaving` one whose node stops: either connects again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import TypeVar

from fastapi.responses import StreamingResponse

LOOK_S = 0.1
ALIVE_S = 15.0
BEHIND = "event: behind\ndata: {}\n\n"
LEAVING = "event: leaving\ndata: {}\n\n"
_Told = TypeVar("_Told")


def event_stream(
    find: Callable[[], str | None], held: ExitStack, leaving: threading.Event
) -> StreamingResponse:
    """Return the answer that tells what `find` finds, and lets go of `held` when it is over."""
    headers = {"Cache-Control": "no-store"}
    told = events(find, held, leaving)
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)


async def events(
    find: Callable[[], str | None], held: ExitStack, leaving: threading.Event
) -> AsyncIterator[str]:
    """Yield each event until the watcher leaves, is behind, or the node stops.

    What was told before the node stops is still sent: it is told once, and to nobody again.
    """
    quiet_s = 0.0
    with held:
        yield ": watching\n\n"
        while True:
            stops = leaving.is_set()
            found = find()
            if found is not None:
                yield found
                if found == BEHIND:
                    return
            elif stops:
                yield LEAVING
                return
            else:
                await asyncio.sleep(LOOK_S)
                quiet_s += LOOK_S
                if quiet_s >= ALIVE_S:
                    yield ": alive\n\n"
                    quiet_s = 0.0


def next_event(told: queue.Queue[_Told | None], draw: Callable[[_Told], str]) -> str | None:
    """Return the next event of a watcher's queue, drawn; None where nothing is new."""
    try:
        found = told.get_nowait()
    except queue.Empty:
        return None
    return BEHIND if found is None else draw(found)
