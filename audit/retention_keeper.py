"""Retention by the clock: once a day what is due goes, and what is old is sealed.

`tick` is cheap and may be called at any time; `start` calls it in a thread of its own. What fails
is said in `state` and tried again; nothing is removed that could not be logged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from audit.errors import AuditError, HoldRefused
from audit.retention import Retention
from audit.retention_policy import DAY_S, policy_to_dict
from audit.sealing import Sealing
from policies.clock import Clock

POLL_S = 300.0


class RetentionKeeper:
    """Runs one service's retention; thread-safe."""

    def __init__(
        self,
        retention: Retention,
        sealing: Sealing | None,
        *,
        clock: Clock,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """Prepare; `ready` says whether it is known what is held: until then nothing goes."""
        self.retention = retention
        self._sealing, self._clock, self._ready = sealing, clock, ready
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None

    @property
    def sealing(self) -> Sealing:
        """What seals into the archive.

        Raises:
            HoldRefused: No archive is set.
        """
        if self._sealing is None:
            raise HoldRefused("no archive is set: name its folder as `archive` in the settings")
        return self._sealing

    def tick(self) -> bool:
        """Do what is due since yesterday; return whether it was time.

        1. what has expired goes; 2. what is old is sealed, and dropped where the policy says so.

        Raises:
            EvidenceUnavailable, LogTampered: As in `Retention.run` and `Sealing`.
        """
        with self._lock:
            last, now = self.retention.last_run(), self._clock()
            if not self._ready() or (last is not None and 0 <= now - last.at < DAY_S):
                return False
            self.retention.run()  # 1
            if self._sealing is not None:  # 2
                until = self._sealing.due()
                while self._sealing.seal_next(until) is not None:
                    pass
                if self.retention.policy.archive_drop:
                    self._sealing.drop()
            return True

    def state(self) -> Mapping[str, Any]:
        """Return policy, last run, what would go now, and how far the archive is, as JSON."""
        last = self.retention.last_run()
        return {
            "policy": policy_to_dict(self.retention.policy),
            "last_run": None if last is None else {"at": last.at, **last.fields},
            "failure": self._failure,
            "due": self.retention.plan(clock_is_right=True).to_dict(),
            "holds": len(self.retention.holds.in_force()),
            "archive": None if self._sealing is None else self._sealing.status(),
        }

    def start(self) -> None:
        """Look every few minutes whether a day has passed, until `close`."""
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after the run at hand; more than once does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.tick()
                self._failure = None
            except AuditError as error:
                self._failure = f"{type(error).__name__}: {error}"
            except Exception as error:  # noqa: BLE001 (the service goes on, and says what failed)
                self._failure = type(error).__name__
            self._stop.wait(POLL_S)
