"""What the evidence pages of a service stand on: its log, its witnesses, its index, its verifier.

One for each service; `close` it before the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from audit.archive import Archive
from audit.log import EvidenceLog
from audit.portal.decision_index import DecisionIndex
from audit.portal.verifying import Verifier
from audit.witnessing import Witnessing
from policies.clock import Clock


class EvidenceDesk:
    """Owner of the index and the verifier of one log."""

    def __init__(
        self,
        *,
        folder: Path,
        log: EvidenceLog,
        log_file: Path | None,
        witnessing: Callable[[], Witnessing],
        clock: Clock,
        archive: Callable[[], Archive | None] = lambda: None,
    ) -> None:
        """Join the parts; nothing is opened before a page asks."""
        self.log, self._witnessing, self.clock = log, witnessing, clock
        self._path, self._lock = folder / "decisions.db", threading.Lock()
        self._index: DecisionIndex | None = None
        self.verifier = Verifier(
            log,
            log_file,
            clock=clock,
            cosigned=lambda: witnessing().cosigned(),
            archive=archive,
        )

    @property
    def witnessing(self) -> Witnessing:
        """The service's witness, and what others cosigned for it."""
        return self._witnessing()

    @property
    def index(self) -> DecisionIndex:
        """The index of decisions, with the newest in it; it follows the log once it was asked.

        Raises:
            EvidenceUnavailable: It cannot be opened, or the log cannot be read.
        """
        with self._lock:
            if self._index is None:
                self._index = DecisionIndex(self._path, self.log)
                self._index.start()
        self._index.freshen()
        return self._index

    def close(self) -> None:
        """End the verification and the index; more than once does nothing."""
        self.verifier.close()
        if self._index is not None:
            self._index.close()
