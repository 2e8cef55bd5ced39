"""Verifies the service's own log in the background, one at a time, and says how far it is.

It is the offline verification of `audit.verify` over the same file, against a checkpoint that
witnesses cosigned where there is one. A log in PostgreSQL has no file here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from audit.archive import Archive
from audit.errors import ArchiveOffline, AuditError, EvidenceUnavailable
from audit.log import EvidenceLog
from audit.verify import verify_log
from policies.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One verification: who asked, how far it is, and how it ended."""

    by: str
    started_at: float
    done: int = 0
    size: int = 0
    ended_at: float | None = None
    root: str = ""
    checkpoints: int = 0
    against: bool = False
    fault: str = ""
    """Why the log does not hold."""
    unfinished: str = ""
    """Why nothing was found out: what could not be read, and what to do."""

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None


class Verifier:
    """Begins verifications and remembers the last; thread-safe."""

    def __init__(
        self,
        log: EvidenceLog,
        path: Path | None,
        *,
        clock: Clock,
        cosigned: Callable[[], str | None],
        archive: Callable[[], Archive | None] = lambda: None,
    ) -> None:
        self._log, self._path, self._clock = log, path, clock
        self._cosigned, self._archive = cosigned, archive
        self._lock = threading.Lock()
        self._last: Verification | None = None
        self._thread: threading.Thread | None = None

    @property
    def possible(self) -> bool:
        """Whether there is a file to verify."""
        return self._path is not None

    def last(self) -> Verification | None:
        """Return the last verification, running or ended."""
        with self._lock:
            return self._last

    def begin(self, *, by: str) -> None:
        """Begin one; while another runs this changes nothing."""
        with self._lock:
            if self._path is None or (self._last is not None and self._last.running):
                return
            self._last = Verification(by=by, started_at=self._clock(), size=self._log.size)
            self._thread = threading.Thread(
                target=self._run, args=(self._path,), name="verify-log", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait for the end of what runs."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, path: Path) -> None:
        known = self._cosigned()
        try:
            found = verify_log(
                path,
                self._log.key.verify_key,
                progress=lambda done, size: self._set(done=done, size=size),
                known_checkpoint=known,
                archive=self._archive(),
            )
        except (ArchiveOffline, EvidenceUnavailable) as error:
            self._set(unfinished=str(error), ended_at=self._clock())
            return
        except AuditError as error:
            self._set(fault=str(error), ended_at=self._clock())
            return
        except Exception as error:  # noqa: BLE001 (what ends a thread in silence "runs" for ever)
            why = f"{type(error).__name__} while reading: try again, or verify a copy by command"
            self._set(unfinished=why, ended_at=self._clock())
            return
        self._set(
            done=found.size,
            size=found.size,
            root=found.root.hex(),
            checkpoints=found.checkpoints,
            against=known is not None,
            ended_at=self._clock(),
        )

    def _set(self, **values: object) -> None:
        with self._lock:
            if self._last is not None:
                self._last = replace(self._last, **values)  # type: ignore[arg-type]
