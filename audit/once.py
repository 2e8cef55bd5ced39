"""Names that a log takes once: the ids of decisions, and of submissions by other processes.

They lie in a table beside the tree, written in the transaction of the entries that they name, so
that after any crash a name is taken if and only if its entries are there. A submission that comes
again, because its answer was lost, gets the place it has; a decision's id that comes again is
refused. The table is an index for the writer and no evidence: whoever owns the database can
empty it, and changes no leaf by that.

Not here: who may submit (`audit.intake`), the tables (`audit.log_store`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from audit.drafts import Pending
from audit.errors import AuditError, EntryRepeated, EventInvalid
from audit.log_store import Taken

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Work(NamedTuple):
    """What one caller wants appended together, and the id under which it may come again."""

    pending: Sequence[Pending]
    submission: str | None = None


class Names:
    """What is taken before a group and within it; for the writer's thread alone."""

    def __init__(
        self,
        works: Iterable[Work],
        *,
        find: Callable[[Sequence[str]], Iterable[Taken]],
        holds: Callable[[int, bytes], bool],
        every: bool,
    ) -> None:
        """Look up the names of a group.

        Submissions come again in the course of things, ids of decisions hardly ever: whether these
        are taken the table itself says when they are written, and only then is every name looked
        up. A look-up for each would cost a quarter of the rate.

        Args:
            works: The group.
            find: Returns those of some names that the log has taken.
            holds: Says whether an entry, of this group too, has the event of a leaf.
            every: Look up the ids of decisions too.

        Raises:
            EvidenceUnavailable: The storage cannot be read.
        """
        wanted = sorted(
            {
                row.name
                for work in works
                if every or work.submission is not None
                for row in _names_of(work, 0)
            }
        )
        self._taken: Mapping[str, Taken] = {row.name: row for row in find(wanted)} if wanted else {}
        self._holds = holds
        self._new: dict[str, Taken] = {}

    @property
    def new(self) -> list[Taken]:
        """What this group takes."""
        return list(self._new.values())

    def place(self, work: Work, first: int) -> int | AuditError | None:
        """Take the names of a work that begins at `first`; None if it is new.

        Returns:
            The first entry of the same submission where it came before; why it is refused where
            one of its names is another's, or where it cannot be told: its neighbours go on.
        """
        before = None if work.submission is None else self._find(_submission(work.submission))
        if before is not None:
            try:
                return before.first if self._is(before, work) else _another()
            except AuditError as error:
                return error
        rows = list(_names_of(work, first))
        names = {row.name for row in rows}
        if len(names) < len(rows) or any(self._find(name) for name in names):
            return EntryRepeated("this decision_id is in the log already", field="decision_id")
        self._new |= {row.name: row for row in rows}
        return None

    def _find(self, name: str) -> Taken | None:
        return self._taken.get(name) or self._new.get(name)

    def _is(self, before: Taken, work: Work) -> bool:
        """Say whether these are the events that were recorded under that id."""
        if before.length != len(work.pending):
            return False
        given = enumerate(work.pending, before.first)
        return all(self._holds(index, pending.leaf) for index, pending in given)


def check_submission_id(value: str) -> str:
    """Return an id of a submission.

    Raises:
        EventInvalid: It is not 1 to 64 letters, digits and `._:-`.
    """
    if not _ID.fullmatch(value):
        raise EventInvalid("a submission's id is 1 to 64 letters, digits and ._:-", field="id")
    return value


def _names_of(work: Work, first: int) -> Iterator[Taken]:
    if work.submission is not None:
        yield Taken(_submission(work.submission), first, len(work.pending))
    for offset, pending in enumerate(work.pending):
        if pending.decision is not None:
            yield Taken(f"decision/{pending.decision}", first + offset, 1)


def _submission(value: str) -> str:
    return f"submission/{value}"


def _another() -> EntryRepeated:
    return EntryRepeated("other events were recorded under this submission's id", field="id")
