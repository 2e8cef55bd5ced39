"""How many bytes passed the gateway, read from its access log.

The gateway is another process and only writes; this reads what is new since last time.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Totals since the log began; `bytes_in` came from nodes, `bytes_out` went to them."""

    calls: int = 0
    refused: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class TrafficMeter:
    """Add up the access log, reading each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._totals = Traffic()
        self._lock = threading.Lock()

    def read(self) -> Traffic:
        """Return the totals so far; a line still being written waits for the next call."""
        with self._lock:
            if self._path.exists():
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    for line in file:
                        if not line.endswith(b"\n"):
                            break
                        self._offset += len(line)
                        self._totals = _add(self._totals, json.loads(line))
            return self._totals

    def between(self, start: float, end: float) -> Traffic:
        """Return the totals of the calls that ended in that time (Unix seconds)."""
        totals = Traffic()
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        call = json.loads(line)
                        totals = _add(totals, call) if start <= call["time"] <= end else totals
        return totals


def _add(totals: Traffic, line: dict[str, int]) -> Traffic:
    return Traffic(
        calls=totals.calls + 1,
        refused=totals.refused + (line["status"] in (403, 501)),
        bytes_in=totals.bytes_in + line["bytes_in"],
        bytes_out=totals.bytes_out + line["bytes_out"],
    )
