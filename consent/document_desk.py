"""Who approved which document, as it then was; two different people where the law asks for two.

Each approval is 1. checked, 2. logged, 3. recorded. It names the digest that was read: a system
that changed meanwhile refuses it, and one that changes later makes it stale.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from audit.staff import Staff
from consent.documents import Kind, Name, Seat, changed, kind_of, stamped
from consent.errors import Conflict, EvidenceMissing
from consent.live import Live
from consent.register import Entry, Register
from consent.register_desk import RegisterDesk


class DocumentDesk:
    """The one writer of approvals; thread-safe."""

    def __init__(self, registers: RegisterDesk, live: Callable[[], Live]) -> None:
        """Prepare.

        Args:
            registers: Records approvals.
            live: What the system is right now.
        """
        self._registers, self._live = registers, live
        self._lock = threading.Lock()

    def every(self) -> list[dict[str, Any]]:
        """Return each document's name, title, digest, what it lacks and how its approval stands."""
        live = self._live()
        return [
            {"name": name.value, "title": kind_of(name)[1].title}
            | {key: value for key, value in self._stamp(name, live).items() if key in _SHORT}
            for name in Name
        ]

    def read(self, word: str) -> dict[str, Any]:
        """Return a document as the system is now; NotFound where there is none of that name."""
        return self._stamp(kind_of(word)[0], self._live())

    def approve(self, word: str, shown: str, *, staff: Staff) -> dict[str, Any]:
        """Approve a document as it was read, as who is signed in.

        Raises:
            NotFound: No such document.
            Conflict: The system has changed since it was read: read it again.
            EvidenceMissing: Something is missing in it, or the second approval would be by the
                person who gave the first, or by none whom it waits for.
        """
        name, kind = kind_of(word)
        with self._lock:
            stamp = self._stamp(name, self._live())
            if shown != stamp["digest"]:
                raise Conflict(f"the {name} has changed since you read it: read it again")
            if stamp["missing"]:
                raise EvidenceMissing(
                    f"the {name} cannot be approved: {'; '.join(stamp['missing'])}"
                )
            seat = _seat(kind, self._given(name, shown), staff)  # 1
            details = {"digest": shown, "sections": stamp["sections"], "seat": seat}
            self._registers.record(Register.DOCUMENT, name, "approved", details, by=staff.name)
        return self.read(name)

    def approvers(self, name: Name) -> frozenset[str]:
        """Return who approved a document as it is now; nobody while a seat is empty."""
        stamp = self.read(name)
        if not stamp["approval"]["approved"]:
            return frozenset()
        return frozenset(row["by"] for row in stamp["approval"]["approvals"] if row["holds"])

    def _given(self, name: Name, digest: str) -> list[Entry]:
        steps = self._registers.entries(Register.DOCUMENT).get(name, [])
        return [step for step in steps if step.details["digest"] == digest]

    def _stamp(self, name: Name, live: Live) -> dict[str, Any]:
        kind = kind_of(name)[1]
        stamp = stamped(kind.build(live))
        steps = self._registers.entries(Register.DOCUMENT).get(name, [])
        approval = _approval(kind, steps, stamp)
        return stamp | {"missing": kind.gaps(live), "approval": approval}


_SHORT = frozenset({"digest", "missing", "approval"})


def _seat(kind: Kind, given: Sequence[Entry], staff: Staff) -> int:
    """Return the seat that a person takes.

    Raises:
        EvidenceMissing: They have one already, or there is none for them.
    """
    if any(step.by.casefold() == staff.name.casefold() for step in given):
        raise EvidenceMissing("who approved it once cannot approve it again: ask another")
    free = _free(kind, given)
    for number, seat in free.items():
        if staff.roles & seat:
            return number
    waits = " and ".join(map(_words, free.values())) or "nobody"
    raise EvidenceMissing(f"it waits for {waits}")


def _free(kind: Kind, given: Sequence[Entry]) -> dict[int, Seat]:
    taken = {int(step.details.get("seat", 0)) for step in given}
    return {n: seat for n, seat in enumerate(kind.seats) if n not in taken}


def _approval(kind: Kind, steps: Sequence[Entry], stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the approval stands: who gave theirs, whom it waits for, what has changed."""
    current = [step for step in steps if step.details["digest"] == stamp["digest"]]
    newest = {(step.by, step.details.get("seat", 0)): step for step in steps}
    waits = [] if not steps else list(_free(kind, current).values())
    since = changed(steps[-1].details["sections"], stamp["sections"]) if steps else []
    return {
        "approved": bool(steps) and not waits,
        "approvals": [
            {
                "by": step.by,
                "at": step.at,
                "digest": step.details["digest"],
                "holds": step in current,
            }
            for step in newest.values()
        ],
        "waits_for": [_words(seat) for seat in (waits if steps else kind.seats)],
        "changed": since,
    }


def _words(seat: Seat) -> str:
    return " or ".join(sorted(seat))
