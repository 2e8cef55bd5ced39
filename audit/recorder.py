"""What the gate asks of the log: each record whole or an error; whatever breaks is no evidence."""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import EvidenceUnavailable
from audit.log import Draft, EvidenceLog
from audit.once import Work
from policies.errors import UndertoneError


class Recorder:
    """Records decisions; never says of one that it is recorded where that is not certain."""

    def __init__(self, log: EvidenceLog) -> None:
        self._log = log

    def record(self, draft: Draft) -> int:
        """Record one event; return its index once it is durable.

        Raises:
            EvidenceUnavailable: It could not be recorded.
        """
        (recorded,) = self.append([self.prepare([draft])])
        if isinstance(recorded, Exception):
            raise recorded
        return recorded.start

    def prepare(self, drafts: Sequence[Draft]) -> Work:
        """Prepare what is to be recorded together.

        Raises:
            EvidenceUnavailable: It could not be prepared.
        """
        try:
            return self._log.prepare(drafts)
        except UndertoneError:
            raise
        except Exception as error:
            raise _broke(error) from error

    def append(self, works: Sequence[Work]) -> list[range | Exception]:
        """Record each work whole or not at all; return its indices, or its error.

        Raises:
            EvidenceUnavailable: Nothing counts as recorded.
        """
        try:
            recorded = self._log.append_works(works)
        except UndertoneError:
            raise
        except Exception as error:
            raise _broke(error) from error
        if len(recorded) != len(works):
            raise EvidenceUnavailable("the log recorded another number of decisions")
        return [_whole(work, said) for work, said in zip(works, recorded, strict=True)]


def _whole(work: Work, recorded: range | Exception) -> range | Exception:
    if isinstance(recorded, UndertoneError):
        return recorded
    if isinstance(recorded, Exception):
        return _broke(recorded)
    if len(recorded) != len(work.pending):
        return EvidenceUnavailable("the log recorded another number of decisions")
    return recorded


def _broke(error: Exception) -> EvidenceUnavailable:
    return EvidenceUnavailable(f"the log broke ({type(error).__name__})")
