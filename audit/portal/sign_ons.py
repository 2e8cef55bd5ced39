"""The store of single sign-on: codes that were given out, and sessions that reach the other site.

It stores and finds only. A code is kept as a hash, is good once, and stays until it is old so that
a second use is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import and_, col, delete, not_, or_, select, update

from audit.portal.ledger import StaffLedger
from audit.portal.tables import AccountRow, SessionRow, SignOnCodeRow, SignOnRow

KEPT_S = 8 * 86_400.0
"""How long the other site is told of an end: a day beyond the longest token that it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the other site must hear: a session is over, or (`whole`) an account is closed."""

    sid: str
    account: AccountRow
    whole: bool
    tries: int


class SignOns:
    """Rows about single sign-on in the staff's store; safe to share among threads."""

    def __init__(self, ledger: StaffLedger) -> None:
        self._ledger = ledger

    def give(self, row: SignOnCodeRow, *, now: float) -> None:
        """Keep a code, and forget those that are long over."""
        with self._ledger.writing() as session:
            session.exec(delete(SignOnCodeRow).where(col(SignOnCodeRow.until) < now - KEPT_S))
            session.add(row)

    def take(self, code_hash: str) -> tuple[SignOnCodeRow | None, bool]:
        """Use a code up, in one step; return it, and whether this was its first use."""
        unused = and_(col(SignOnCodeRow.code_hash) == code_hash, not_(col(SignOnCodeRow.used)))
        with self._ledger.writing() as session:
            taken = session.exec(update(SignOnCodeRow).where(unused).values(used=True))
            return session.get(SignOnCodeRow, code_hash), bool(taken.rowcount)

    def begin(self, code: SignOnCodeRow, *, now: float) -> None:
        """Remember that a session reaches the other site from now on."""
        row = SignOnRow(
            sid=code.sid, account=code.account, session_hash=code.session_hash, until=now + KEPT_S
        )
        with self._ledger.writing() as session:
            session.exec(delete(SignOnRow).where(col(SignOnRow.until) < now))
            session.merge(row)

    def cut(self, sid: str) -> None:
        """Have the other site end what it has of a session that goes on here."""
        statement = update(SignOnRow).where(col(SignOnRow.sid) == sid)
        with self._ledger.writing() as session:
            session.exec(statement.values(session_hash="", told="", again_at=0.0))

    def ended(self, *, now: float) -> list[Ended]:
        """Return what the other site has not been told and may be told now."""
        closed = or_(col(AccountRow.disabled), not_(col(AccountRow.active)))
        over = and_(col(SignOnRow.told) == "", col(SessionRow.id_hash).is_(None))
        query = (
            select(SignOnRow, AccountRow)
            .join(AccountRow, col(AccountRow.name) == col(SignOnRow.account))
            .outerjoin(SessionRow, col(SessionRow.id_hash) == col(SignOnRow.session_hash))
            .where(col(SignOnRow.told) != "account", col(SignOnRow.until) > now)
            .where(col(SignOnRow.again_at) <= now, or_(closed, over))
        )
        with self._ledger.writing() as session:
            return [
                Ended(
                    sid=row.sid,
                    account=account,
                    whole=account.disabled or not account.active,
                    tries=row.tries,
                )
                for row, account in session.exec(query)
            ]

    def told(self, ended: Ended) -> None:
        """Remember that the other site knows."""
        what = "account" if ended.whole else "session"
        self._set(ended.sid, told=what, tries=0)

    def failed(self, ended: Ended, *, again_at: float) -> None:
        """Remember when to tell it again."""
        self._set(ended.sid, again_at=again_at, tries=ended.tries + 1)

    def _set(self, sid: str, **values: object) -> None:
        with self._ledger.writing() as session:
            session.exec(update(SignOnRow).where(col(SignOnRow.sid) == sid).values(**values))
