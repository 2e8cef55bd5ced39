"""The store of staff accounts, sessions, tokens and throttles; it stores and finds only.

The database is one of `audit.database`. Every write is one transaction behind one lock, so that
what must happen once (a code, a state, a count) does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, col, delete, select, update

from audit.database import BROKEN, is_text_refused, open_database
from audit.errors import AccountConflict, AccountInvalid, AccountsUnavailable
from audit.portal.tables import (
    AccountRow,
    HandshakeRow,
    RecoveryRow,
    SessionRow,
    ThrottleRow,
    TokenRow,
    ViewRow,
)

_MIGRATIONS = Path(__file__).parent / "migrations"
_R = TypeVar("_R", bound=SQLModel)


class StaffLedger:
    """All rows about staff; safe to share among threads."""

    def __init__(self, url: str) -> None:
        """Open the database and bring its tables up to date.

        Raises:
            AccountsUnavailable: It cannot be opened or migrated.
        """
        self._writing = threading.RLock()
        try:
            self._engine = open_database(url, _MIGRATIONS)
        except (*BROKEN, ImportError, UnicodeError) as error:
            raise AccountsUnavailable(
                f"the staff accounts cannot be opened ({type(error).__name__}): "
                "check the folder, its rights and the database URL"
            ) from error

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open one transaction that is committed at the end; no other runs beside it.

        Raises:
            AccountConflict: A row of that name is there already.
            AccountInvalid: A text holds what the database cannot (NUL, in PostgreSQL).
            AccountsUnavailable: Nothing was changed.
        """
        with self._writing, self._session() as session:
            yield session
            try:
                session.commit()
            except IntegrityError as error:
                raise AccountConflict("there is one of that name already: choose another") from (
                    error
                )

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
        except BROKEN as error:
            if is_text_refused(error):
                raise AccountInvalid("a text holds a character that cannot be kept") from error
            raise AccountsUnavailable(
                f"the staff accounts did not answer ({type(error).__name__}): try again"
            ) from error

    def put(self, row: SQLModel) -> None:
        """Add a row that must be new.

        Raises:
            AccountConflict: It is there already.
        """
        with self.writing() as session:
            session.add(row)

    def account(self, name: str) -> AccountRow | None:
        """Return an account, or None."""
        return self._get(AccountRow, name)

    def accounts(self) -> list[AccountRow]:
        """Return all accounts by name."""
        with self._session() as session:
            return list(session.exec(select(AccountRow).order_by(col(AccountRow.name))))

    def account_of(self, issuer: str, subject: str) -> AccountRow | None:
        """Return the account of somebody at an identity provider, or None."""
        query = select(AccountRow).where(
            col(AccountRow.issuer) == issuer, col(AccountRow.subject) == subject
        )
        with self._session() as session:
            return session.exec(query).first()

    def map_roles(self, name: str, roles: str) -> AccountRow:
        """Set an account's roles; without any its sessions and tokens end."""
        with self.writing() as session:
            row = session.get_one(AccountRow, name)
            row.roles = roles
            session.add(row)
            if not roles:
                session.exec(delete(SessionRow).where(col(SessionRow.account) == name))
                session.exec(delete(TokenRow).where(col(TokenRow.account) == name))
            return row

    def remember_handshake(self, row: HandshakeRow, *, now: float) -> None:
        """Keep a sign-in that a browser began at the provider, and forget those too old."""
        with self.writing() as session:
            session.exec(delete(HandshakeRow).where(col(HandshakeRow.until) < now))
            session.add(row)

    def take_handshake(self, state_hash: str) -> HandshakeRow | None:
        """Return a sign-in at the provider and forget it, in one step; None if there is none."""
        with self.writing() as session:
            row = session.get(HandshakeRow, state_hash)
            if row is not None:
                session.expunge(row)
                session.exec(delete(HandshakeRow).where(col(HandshakeRow.state_hash) == state_hash))
            return row

    def take_step(self, name: str, step: int) -> bool:
        """Remember a time step of the second factor; False if it or a later one was used."""
        statement = (
            update(AccountRow)
            .where(col(AccountRow.name) == name, col(AccountRow.totp_step) < step)
            .values(totp_step=step)
        )
        with self.writing() as session:
            return bool(session.exec(statement).rowcount)

    def take_recovery(self, name: str, code_hash: str) -> bool:
        """Use a recovery code up; False if there is none such."""
        statement = delete(RecoveryRow).where(
            col(RecoveryRow.account) == name, col(RecoveryRow.code_hash) == code_hash
        )
        with self.writing() as session:
            return bool(session.exec(statement).rowcount)

    def session_of(self, id_hash: str) -> tuple[SessionRow, AccountRow] | None:
        """Return a session with its account, or None."""
        query = (
            select(SessionRow, AccountRow)
            .where(SessionRow.account == AccountRow.name)
            .where(SessionRow.id_hash == id_hash)
        )
        with self._session() as session:
            found = session.exec(query).first()
        return None if found is None else (found[0], found[1])

    def sessions(self, name: str) -> list[SessionRow]:
        """Return the sessions of an account, the one used last first."""
        query = select(SessionRow).where(SessionRow.account == name)
        with self._session() as session:
            return list(session.exec(query.order_by(col(SessionRow.seen_at).desc())))

    def touch(self, id_hash: str, *, now: float) -> None:
        """Remember that a session was used."""
        statement = update(SessionRow).where(col(SessionRow.id_hash) == id_hash)
        with self.writing() as session:
            session.exec(statement.values(seen_at=now))

    def begin_session(self, row: SessionRow, account: AccountRow) -> bool:
        """Keep a session of an account that is as it was when its owner was known; else False."""
        with self.writing() as session:
            now = session.get(AccountRow, account.name)
            if now is None or _signs_in_by(now) != _signs_in_by(account):
                return False
            session.add(row)
            return True

    def end_session(self, id_hash: str) -> None:
        """Forget one session."""
        with self.writing() as session:
            session.exec(delete(SessionRow).where(col(SessionRow.id_hash) == id_hash))

    def end_sessions(self, name: str) -> None:
        """Forget all sessions of an account."""
        with self.writing() as session:
            session.exec(delete(SessionRow).where(col(SessionRow.account) == name))

    def end_provided(self, name: str, sid: str) -> None:
        """Forget what an account has of one session at its provider; without it all, and tokens."""
        own = col(SessionRow.account) == name
        with self.writing() as session:
            if sid:
                session.exec(delete(SessionRow).where(own, col(SessionRow.provider_sid) == sid))
            else:
                session.exec(delete(SessionRow).where(own))
                session.exec(delete(TokenRow).where(col(TokenRow.account) == name))

    def forget_older_sessions(self, *, than: float) -> None:
        """Forget sessions that were made before a time."""
        with self.writing() as session:
            session.exec(delete(SessionRow).where(col(SessionRow.made_at) < than))

    def token(self, token: str) -> tuple[TokenRow, AccountRow] | None:
        """Return a bearer token by its public half with its account, or None."""
        query = (
            select(TokenRow, AccountRow)
            .where(TokenRow.account == AccountRow.name)
            .where(TokenRow.token == token)
        )
        with self._session() as session:
            found = session.exec(query).first()
        return None if found is None else (found[0], found[1])

    def tokens(self, name: str) -> list[TokenRow]:
        """Return the tokens of an account, newest first."""
        query = select(TokenRow).where(TokenRow.account == name)
        with self._session() as session:
            return list(session.exec(query.order_by(col(TokenRow.made_at).desc())))

    def end_tokens(self, name: str, token: str | None = None) -> int:
        """Forget one token of an account, or all; return how many there were."""
        statement = delete(TokenRow).where(col(TokenRow.account) == name)
        if token is not None:
            statement = statement.where(col(TokenRow.token) == token)
        with self.writing() as session:
            return int(session.exec(statement).rowcount)

    def views(self, name: str) -> list[ViewRow]:
        """Return the saved views of an account by title."""
        query = select(ViewRow).where(ViewRow.account == name)
        with self._session() as session:
            return list(session.exec(query.order_by(col(ViewRow.title))))

    def keep_view(self, row: ViewRow) -> None:
        """Add a view in place of its account's view of that title."""
        own = col(ViewRow.account) == row.account
        with self.writing() as session:
            session.exec(delete(ViewRow).where(own, col(ViewRow.title) == row.title))
            session.add(row)

    def forget_view(self, name: str, view: str) -> int:
        """Forget a view of an account; return how many there were."""
        own = col(ViewRow.account) == name
        with self.writing() as session:
            statement = delete(ViewRow).where(own, col(ViewRow.view) == view)
            return int(session.exec(statement).rowcount)

    def throttle(self, key: str) -> ThrottleRow | None:
        """Return how often a key failed, or None."""
        return self._get(ThrottleRow, key)

    def _get(self, kind: type[_R], key: str) -> _R | None:
        with self._session() as session:
            return session.get(kind, key)


def _signs_in_by(account: AccountRow) -> tuple[object, ...]:
    return account.password_hash, account.totp_salt, account.active, account.disabled
