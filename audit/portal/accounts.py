"""Local accounts: made by an operator, opened by their owner with a one-time token.

A new account, or one that was reset, has a one-time token. With it its owner chooses a password
and shows that the second factor works; only then is the account active.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, delete

from audit.errors import AccountConflict, AccountInvalid, AccountUnknown, SignInRefused
from audit.portal.diary import Diary, words
from audit.portal.ledger import StaffLedger
from audit.portal.passwords import Passwords
from audit.portal.second_factor import SecondFactor
from audit.portal.secrets import Randomness, hash_of, new_code, new_secret, same
from audit.portal.tables import AccountRow, RecoveryRow, SessionRow, TokenRow
from audit.staff import Staff, StaffRole
from policies.clock import Clock

OVERSEERS = (StaffRole.OFFICER.value, StaffRole.DPO.value)
"""Roles that nobody gives alone: who has them oversees those who make accounts."""
BOOTSTRAP = "bootstrap"
FIRST_TOKEN_S = 72 * 3600.0
RECOVERY_CODES = 10
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
_TAKEN = frozenset({BOOTSTRAP, "provider", "unknown"})
"""Words that stand in the log for somebody who is no account."""
_WRONG = "name and one-time token do not belong together, or the token is too old"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What the owner of an account puts into an authenticator app."""

    secret: str
    uri: str


class Accounts:
    """Makes and changes accounts; every change is in the log before it is in the store."""

    def __init__(
        self,
        *,
        ledger: StaffLedger,
        diary: Diary,
        clock: Clock,
        randomness: Randomness,
        passwords: Passwords,
        second_factor: SecondFactor,
        issuer: str,
    ) -> None:
        self._ledger = ledger
        self._diary = diary
        self._clock = clock
        self._randomness = randomness
        self._passwords = passwords
        self._second_factor = second_factor
        self._issuer = issuer

    def add(self, name: str, roles: Iterable[StaffRole], *, by: str) -> str:
        """Make an account; return its one-time token, which is good for three days.

        The roles that oversee the others wait for a second person (`confirm`), unless it is
        the bootstrap token that gives them and nobody has one yet.

        Raises:
            AccountInvalid: A name that is no lower-case word, or no role.
            AccountConflict: There is one of that name.
        """
        check_name(name)
        wanted = words(set(roles))
        if not wanted:
            raise AccountInvalid("an account needs a role: name one or more")
        if self._ledger.account(name) is not None:
            raise AccountConflict("there is an account of that name already: choose another")
        token = new_secret(self._randomness)
        waiting = [] if self._may_begin(by) else [role for role in wanted if role in OVERSEERS]
        given = [role for role in wanted if role not in waiting]
        self._diary.changed(name, "added", by=by, roles=given)
        if waiting:
            self._diary.changed(name, "roles-asked", by=by, roles=waiting)
        row = AccountRow(
            name=name,
            roles=" ".join(given),
            asked_roles=" ".join(waiting),
            asked_by=by if waiting else "",
            made_at=self._clock(),
        )
        self._ledger.put(self._fresh(row, token))
        return token

    def confirm(self, name: str, *, by: str) -> list[str]:
        """Give an account the roles that wait; return all that it has then.

        The second person is an overseer who neither asked nor owns the account, and whoever owns
        it has begun, so that the roles reach the person and not whoever holds the token.

        Raises:
            AccountUnknown: No account of that name.
            AccountConflict: Nothing waits, its owner has not begun, or it needs somebody else.
        """
        row = self.known(name)
        if not row.asked_roles:
            raise AccountConflict("no role of this account waits for a second person")
        if by in {row.asked_by, name}:
            raise AccountConflict("it needs a second person: another officer or dpo confirms")
        if not row.active or row.disabled:
            raise AccountConflict("its owner has not begun, or it is closed: confirm afterwards")
        roles = sorted({*row.roles.split(), *row.asked_roles.split()})
        self._diary.changed(name, "roles-confirmed", by=by, roles=row.asked_roles.split())
        given = " ".join(roles)
        self._change(
            name,
            lambda found: _set(found, roles=given, asked_roles="", asked_by="", oversaw=True),
            end_all=True,
        )
        return roles

    def _may_begin(self, by: str) -> bool:
        """Say whether the bootstrap token makes an overseer alone: until one has begun.

        A place that was closed or reset is not free again, or closing one would be a way to it.
        """
        return by == BOOTSTRAP and not self._overseen()

    def _overseen(self) -> bool:
        return any(row.oversaw for row in self._ledger.accounts())

    def reset(self, name: str, *, by: str) -> str:
        """Take password, second factor, codes, sessions and tokens away; return a new token.

        Whoever holds the new token could be anybody, so an overseer's roles wait again.

        Raises:
            AccountUnknown: No local account of that name.
        """
        if self.known(name).issuer is not None:
            raise AccountUnknown("that account signs in at the identity provider: reset it there")
        token = new_secret(self._randomness)
        self._diary.changed(name, "reset", by=by)
        overseen = self._overseen()

        def anew(row: AccountRow) -> AccountRow:
            return self._fresh(_waiting(row, by) if overseen else row, token)

        self._change(name, anew, end_all=True)
        return token

    def disable(self, name: str, *, by: str) -> None:
        """Close an account at once: its sessions and tokens end.

        Raises:
            AccountUnknown: No account of that name.
        """
        self.known(name)
        self._diary.changed(name, "disabled", by=by)
        self._change(name, lambda row: _set(row, disabled=True), end_all=True)

    def enable(self, name: str, *, by: str) -> None:
        """Open a closed account again."""
        self.known(name)
        self._diary.changed(name, "enabled", by=by)
        self._change(name, lambda row: _set(row, disabled=False), end_all=False)

    def every(self) -> list[dict[str, Any]]:
        """Return every account: name, roles and how it stands."""
        return [
            {
                "name": row.name,
                "roles": row.roles.split(),
                "waiting": row.asked_roles.split(),
                "state": state_of(row),
                "signs_in": "here" if row.issuer is None else "identity provider",
            }
            for row in self._ledger.accounts()
        ]

    def has_any(self, *roles: StaffRole) -> bool:
        """Return whether an active account has one of these roles."""
        wanted = {role.value for role in roles}
        rows = (row for row in self._ledger.accounts() if state_of(row) == "active")
        return any(wanted & set(row.roles.split()) for row in rows)

    def how_stands(self, name: str, *roles: StaffRole) -> str:
        """Return `active` where an account can act in one of these roles, else why it cannot.

        `none` (no account of that name), `invited` (its owner has not begun), `disabled`, or
        `no-role` (none of these roles is in force).
        """
        row = self._ledger.account(name)
        if row is None:
            return "none"
        may = {role.value for role in roles} & set(row.roles.split())
        return state_of(row) if may or state_of(row) != "active" else "no-role"

    # -- what the owner does with the one-time token -----------------------------------

    def choose_password(self, name: str, token: str, password: str) -> Enrolment:
        """Set the first password; return the second factor to set up.

        Raises:
            SignInRefused: The token is not this account's, or too old.
            PasswordRefused: The rules refuse it.
        """
        row = self._by_token(name, token)
        hashed = self._passwords.hash(password, name=name)
        self._change(
            name,
            lambda found: _set(_still_by(found, token), password_hash=hashed),
            end_all=True,
        )
        return self.enrolment(row)

    def activate(self, name: str, token: str, code: str) -> list[str]:
        """Take the first code; return the recovery codes, which are shown this once.

        Raises:
            SignInRefused: The token or the code is wrong, or no password was chosen.
        """
        row, now = self._by_token(name, token), self._clock()
        step = self._second_factor.step(name, row.totp_salt, code, now=now)
        if row.password_hash is None or step is None or not self._ledger.take_step(name, step):
            raise SignInRefused("this code does not fit: is the device's clock right?")
        self._diary.changed(name, "activated", by=name)
        codes = [new_code(self._randomness) for _ in range(RECOVERY_CODES)]
        with self._ledger.writing() as session:
            session.exec(delete(RecoveryRow).where(col(RecoveryRow.account) == name))
            session.add_all(RecoveryRow(code_hash=hash_of(c), account=name) for c in codes)
            found = _still_by(session.get_one(AccountRow, name), token)
            oversees = bool(set(OVERSEERS) & set(found.roles.split()))
            session.add(
                _set(
                    found,
                    active=True,
                    oversaw=found.oversaw or oversees,
                    first_token_hash=None,
                    first_token_until=None,
                )
            )
        return codes

    def change_password(self, name: str, password: str) -> None:
        """Set another password for an owner who has just signed in again.

        All sessions and tokens end: who changes a password may have lost the old one.

        Raises:
            PasswordRefused: The rules refuse it.
        """
        hashed = self._passwords.hash(password, name=name)
        self._diary.changed(name, "password-changed", by=name)
        self._change(name, lambda found: _set(found, password_hash=hashed), end_all=True)

    def enrolment(self, row: AccountRow) -> Enrolment:
        """Return an account's second factor."""
        make = self._second_factor
        return Enrolment(
            secret=make.secret(row.name, row.totp_salt),
            uri=make.uri(row.name, row.totp_salt, issuer=self._issuer),
        )

    def _by_token(self, name: str, token: str) -> AccountRow:
        row = self._ledger.account(name)
        known = (row.first_token_hash if row is not None else None) or ""
        if row is None or not same(hash_of(token), known) or row.disabled:
            raise SignInRefused(_WRONG)
        if self._clock() > (row.first_token_until or 0.0):
            raise SignInRefused(_WRONG)
        return row

    def known(self, name: str) -> AccountRow:
        """Return an account.

        Raises:
            AccountUnknown: There is none of that name.
        """
        row = self._ledger.account(name)
        if row is None:
            raise AccountUnknown("there is no account of that name: `staff list` has them")
        return row

    def _change(
        self, name: str, change: Callable[[AccountRow], AccountRow], *, end_all: bool
    ) -> None:
        with self._ledger.writing() as session:
            row = session.get_one(AccountRow, name)
            session.add(change(row))
            if end_all:
                session.exec(delete(SessionRow).where(col(SessionRow.account) == name))
                session.exec(delete(TokenRow).where(col(TokenRow.account) == name))

    def _fresh(self, row: AccountRow, token: str) -> AccountRow:
        return _set(
            row,
            password_hash=None,
            first_token_hash=hash_of(token),
            first_token_until=self._clock() + FIRST_TOKEN_S,
            totp_salt=self._randomness(16).hex(),
            totp_step=-1,
            active=False,
        )


def check_name(name: str) -> None:
    """Return if an account may have this name.

    Raises:
        AccountInvalid: It may not.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise AccountInvalid(
            "a name is 2 to 63 lower-case letters, digits, dots, - and _, none of our own words"
        )


def state_of(row: AccountRow) -> str:
    """Return how an account stands, in one word."""
    return "disabled" if row.disabled else "active" if row.active else "invited"


def as_staff(row: AccountRow, roles: Iterable[str] | None = None) -> Staff:
    """Return who an account is, with all its roles or those of them that are named."""
    held = frozenset(StaffRole(word) for word in row.roles.split())
    wanted = held if roles is None else held & {StaffRole(word) for word in roles}
    return Staff(name=row.name, roles=wanted)


def _waiting(row: AccountRow, by: str) -> AccountRow:
    """Let an overseer's roles wait for a second person."""
    asked = {*row.asked_roles.split(), *(set(OVERSEERS) & set(row.roles.split()))}
    if not asked:
        return row
    kept = [role for role in row.roles.split() if role not in asked]
    return _set(row, roles=" ".join(kept), asked_roles=" ".join(sorted(asked)), asked_by=by)


def _still_by(row: AccountRow, token: str) -> AccountRow:
    """Return an account whose one-time token was used up by nobody meanwhile.

    Raises:
        SignInRefused: It was.
    """
    if row.disabled or not same(hash_of(token), row.first_token_hash or ""):
        raise SignInRefused(_WRONG)
    return row


def _set(row: AccountRow, **values: object) -> AccountRow:
    for name, value in values.items():
        setattr(row, name, value)
    return row
