"""How often signing in may fail: for an account, for an address, and for a known device.

Waiting doubles with each failure beyond the free ones, up to a quarter of an hour, and failures
of a day ago are forgotten. An attempt while waiting is refused without being counted, so nobody
can prolong a wait. A browser in which the person signed in before is counted by itself alone:
strangers who guess at an account cannot keep its owner out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import col, delete

from audit.errors import TooManyAttempts
from audit.portal.ledger import StaffLedger
from audit.portal.secrets import keyed
from audit.portal.tables import ThrottleRow
from audit.wrong_attempts import wait_s
from policies.clock import Clock

_FORGOTTEN_AFTER_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What attempts are counted for: an account, device or address, and how many are free."""

    what: str
    name: str
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A wait that an attempt began: for what, and for how long."""

    what: str
    wait_s: float


class Throttle:
    """Counts in the store, so that a restart forgives nothing; names are kept as keyed digests."""

    def __init__(self, ledger: StaffLedger, *, key: bytes, clock: Clock) -> None:
        self._ledger = ledger
        self._key = key
        self._clock = clock

    def begin(self, all_counted: Sequence[Counted]) -> list[Block]:
        """Count one attempt before it is tried; return the waits that it begins if it fails.

        Raises:
            TooManyAttempts: One of these must wait; nothing was counted.
        """
        now = self._clock()
        with self._ledger.writing() as session:
            rows = [session.get(ThrottleRow, self._id(counted)) for counted in all_counted]
            left_s = max((row.until - now for row in rows if row), default=0.0)
            if left_s > 0:
                raise TooManyAttempts(left_s)
            stale = now - _FORGOTTEN_AFTER_S
            blocks = []
            for counted, row in zip(all_counted, rows, strict=True):
                before = row.failures if row is not None and row.last_at > stale else 0
                pause_s = wait_s(before + 1, counted.free)
                new = ThrottleRow(
                    key=self._id(counted), failures=before + 1, last_at=now, until=now + pause_s
                )
                session.merge(new)
                blocks += [Block(what=counted.what, wait_s=pause_s)] if pause_s else []
            session.exec(delete(ThrottleRow).where(col(ThrottleRow.last_at) < stale))
        return blocks

    def clear(self, all_counted: Sequence[Counted]) -> None:
        """Forget the failures of these: it was the right person."""
        with self._ledger.writing() as session:
            ids = [self._id(counted) for counted in all_counted]
            session.exec(delete(ThrottleRow).where(col(ThrottleRow.key).in_(ids)))

    def forgive(self, all_counted: Sequence[Counted]) -> None:
        """Uncount one attempt of each: it succeeded, and what failed before still counts."""
        with self._ledger.writing() as session:
            for counted in all_counted:
                row = session.get(ThrottleRow, self._id(counted))
                if row is not None:
                    row.failures, row.until = max(0, row.failures - 1), 0.0
                    session.add(row)

    def _id(self, counted: Counted) -> str:
        return keyed(self._key, counted.what, counted.name)


def for_account(name: str) -> Counted:
    """Return what counts attempts at an account, from wherever."""
    return Counted(what="account", name=name, free=5)


def for_address(address: str) -> Counted:
    """Return what counts attempts from an address, at whomever; many may share it."""
    return Counted(what="address", name=address, free=30)


def for_handshakes(address: str) -> Counted:
    """Return what counts sign-ins begun at the identity provider and not ended, by address."""
    return Counted(what="handshakes", name=address, free=100)


def for_questions(name: str) -> Counted:
    """Return what counts a member of staff's questions about people who are not there."""
    return Counted(what="questions", name=name, free=20)


def for_device(device: str) -> Counted:
    """Return what counts attempts from a browser where the person signed in before."""
    return Counted(what="device", name=device, free=5)
