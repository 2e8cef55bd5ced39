"""Who is signed in: sessions of browsers, bearer tokens of scripts.

A session is an opaque random id that the browser keeps in a `__Host-` cookie and the service as
a hash. It is new at each sign-in, ends after idle and absolute time-outs, and holds no role:
roles and closing are the account's, read at each request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from audit.errors import AccountInvalid, AccountUnknown, NotSignedIn, SignInRefused
from audit.events import EventKind
from audit.portal.accounts import as_staff
from audit.portal.diary import Diary, words
from audit.portal.ledger import StaffLedger
from audit.portal.secrets import Randomness, hash_of, new_secret, same
from audit.portal.settings import PortalSettings
from audit.portal.tables import AccountRow, SessionRow, TokenRow
from audit.staff import Staff, StaffRole
from policies.clock import Clock

TOKEN_MARK = "undertone_"  # noqa: S105 (what scanners for leaked secrets look for)
MOST_TOKEN_DAYS = 365
MOST_PROVIDED_DAYS = 7
"""Of a token whose owner an identity provider lets in: it is not asked again while one lasts."""
FRESH_S = 600.0
PROVIDED = "provider"
"""How somebody came in whom an identity provider knows."""
_TOUCH_EVERY_S = 30.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How somebody was known as they signed in.

    `amr` are words of RFC 8176; `at` is the Unix second, None where a provider does not say, and
    `provider_sid` what it calls its own session.
    """

    amr: frozenset[str] = frozenset()
    at: float | None = None
    provider_sid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Somebody by a living session; `proven_at` (Unix seconds) and `amr` as in `Proof`."""

    account: AccountRow
    staff: Staff
    id_hash: str
    amr: frozenset[str]
    proven_at: float | None


class Sessions:
    """Opens, finds and ends sessions and tokens."""

    def __init__(
        self,
        *,
        ledger: StaffLedger,
        diary: Diary,
        clock: Clock,
        randomness: Randomness,
        settings: PortalSettings,
    ) -> None:
        self._ledger = ledger
        self._diary = diary
        self._clock = clock
        self._randomness = randomness
        self._settings = settings

    def open(self, account: AccountRow, *, method: str, proof: Proof | None = None) -> str:
        """Log a sign-in and return the id of its new session.

        Raises:
            SignInRefused: Since the owner was known the account was closed, reset, or its password
                changed, which ended all sessions: this one would outlive them.
        """
        now, session = self._clock(), new_secret(self._randomness)
        proof = proof or Proof()
        staff = as_staff(account)
        self._diary.write(
            EventKind.SIGNED_IN, staff=staff.name, method=method, roles=list(words(staff.roles))
        )
        self._ledger.forget_older_sessions(than=now - self._settings.absolute_s)
        row = SessionRow(
            id_hash=hash_of(session),
            account=account.name,
            method=method,
            made_at=now,
            seen_at=now,
            amr=" ".join(sorted(proof.amr)),
            proven_at=proof.at,
            provider_sid=proof.provider_sid,
        )
        if not self._ledger.begin_session(row, account):
            raise SignInRefused("the account was changed while you signed in: sign in again")
        return session

    def signed_in(self, session: str) -> SignedIn | None:
        """Return who is signed in by a session, or None; to ask is to use it."""
        found = self.by_hash(hash_of(session))
        if found is not None:
            self._ledger.touch(found.id_hash, now=self._clock())
        return found

    def by_hash(self, id_hash: str) -> SignedIn | None:
        """Return who is signed in by the session of that hash, or None."""
        found = self._ledger.session_of(id_hash)
        if found is None or found[1].disabled or self._is_over(found[0]):
            return None
        row, account = found
        return SignedIn(
            account=account,
            staff=as_staff(account),
            id_hash=row.id_hash,
            amr=frozenset(row.amr.split()),
            proven_at=row.proven_at,
        )

    def find(self, session: str) -> Staff:
        """Return whose session it is.

        Raises:
            NotSignedIn: Nobody's, over, or of an account that was closed.
        """
        found, now = self._ledger.session_of(hash_of(session)), self._clock()
        if found is None or found[1].disabled:
            raise NotSignedIn("this is for staff: sign in first")
        row, account = found
        if self._is_over(row):
            self._ledger.end_session(row.id_hash)
            raise NotSignedIn("the session is over: sign in again")
        if now - row.seen_at > _TOUCH_EVERY_S:
            self._ledger.touch(row.id_hash, now=now)
        return as_staff(account)

    def _is_over(self, row: SessionRow) -> bool:
        now, provider = self._clock(), self._settings.provider
        most_s = self._settings.absolute_s
        if row.method == PROVIDED and provider is not None and provider.again_s is not None:
            most_s = min(most_s, provider.again_s)
        return now - row.made_at > most_s or now - row.seen_at > self._settings.idle_s

    def is_fresh(self, session: str, *, of: str, method: str) -> bool:
        """Say whether a session is of this account, proven in this way just now."""
        found = self._ledger.session_of(hash_of(session))
        if found is None or (found[0].account, found[0].method) != (of, method):
            return False
        row = found[0]
        proven_at = row.made_at if row.proven_at is None else min(row.made_at, row.proven_at)
        return self._clock() - proven_at <= FRESH_S

    def end(self, session: str) -> None:
        """Sign out of one session; nobody's does nothing."""
        found = self._ledger.session_of(hash_of(session))
        if found is not None:
            name = found[1].name
            self._diary.write(EventKind.SIGNED_OUT, staff=name, everywhere=False)
            self._ledger.end_session(found[0].id_hash)

    def of(self, name: str, *, here: str) -> list[dict[str, Any]]:
        """Return where an account is signed in: how, since when, last seen, and which is `here`.

        Each has the hash of its id as its name, which signs nobody in.
        """
        own = hash_of(here)
        return [
            {
                "id": row.id_hash,
                "method": row.method,
                "since": row.made_at,
                "seen": row.seen_at,
                "here": row.id_hash == own,
            }
            for row in self._ledger.sessions(name)
            if not self._is_over(row)
        ]

    def end_other(self, name: str, id_hash: str) -> None:
        """End one of an account's own sessions.

        Raises:
            AccountUnknown: The account has no such session.
        """
        if id_hash not in {row.id_hash for row in self._ledger.sessions(name)}:
            raise AccountUnknown("that session is over already")
        self._diary.write(EventKind.SIGNED_OUT, staff=name, everywhere=False)
        self._ledger.end_session(id_hash)

    def end_provided(self, account: AccountRow, sid: str) -> None:
        """End what came of one session at the provider; without `sid` all, tokens too."""
        self._diary.write(EventKind.SIGNED_OUT, staff=account.name, everywhere=not sid)
        self._ledger.end_provided(account.name, sid)

    def end_all(self, name: str) -> None:
        """Sign an account out of every session."""
        self._diary.write(EventKind.SIGNED_OUT, staff=name, everywhere=True)
        self._ledger.end_sessions(name)

    # -- bearer tokens ------------------------------------------------------------------

    def issue(self, owner: Staff, roles: Iterable[StaffRole], *, days: int) -> dict[str, Any]:
        """Make a bearer token for some of the owner's roles; its secret is returned this once.

        Raises:
            AccountInvalid: A role that the owner has not, none, or too many days.
            AccountUnknown: The owner is no account of this service.
        """
        wanted = frozenset(roles)
        if not wanted or not wanted <= owner.roles:
            raise AccountInvalid("a token has one or more of the roles that you have yourself")
        most = self.most_days(owner.name)
        if not 1 <= days <= most:
            raise AccountInvalid(f"a token of yours lasts 1 to {most} days")
        token, secret = self._randomness(8).hex(), new_secret(self._randomness)
        until = self._clock() + days * _DAY_S
        named = list(words(wanted))
        self._diary.changed(
            owner.name, "token-issued", by=owner.name, roles=named, token=token, until=until
        )
        row = TokenRow(
            token=token,
            secret_hash=hash_of(secret),
            account=owner.name,
            roles=" ".join(named),
            made_at=self._clock(),
            until=until,
        )
        self._ledger.put(row)
        return {
            "token": token,
            "bearer": f"{TOKEN_MARK}{token}_{secret}",
            "roles": named,
            "until": until,
        }

    def most_days(self, name: str) -> int:
        """Return how long a token of an account may last.

        Raises:
            AccountUnknown: There is no such account.
        """
        account = self._ledger.account(name)
        if account is None:
            raise AccountUnknown("only an account has tokens: sign in with one")
        return MOST_TOKEN_DAYS if account.issuer is None else MOST_PROVIDED_DAYS

    def bearer(self, given: str) -> Staff:
        """Return whose bearer token it is, in the roles that it has and its owner still has.

        Raises:
            NotSignedIn: Nobody's, too old, or of an account that was closed.
        """
        token, _, secret = given.removeprefix(TOKEN_MARK).partition("_")
        found = self._ledger.token(token)
        known = found[0].secret_hash if found is not None else ""
        if not same(hash_of(secret), known) or found is None or found[1].disabled:
            raise NotSignedIn("the bearer token is wrong or was revoked: make another")
        if self._clock() > found[0].until:
            raise NotSignedIn("the bearer token is too old: make another")
        return as_staff(found[1], found[0].roles.split())

    def tokens(self, name: str) -> list[dict[str, Any]]:
        """Return the tokens of an account, without their secrets."""
        return [
            {"token": row.token, "roles": row.roles.split(), "until": row.until}
            for row in self._ledger.tokens(name)
        ]

    def revoke(self, name: str, token: str, *, by: str) -> None:
        """End a token at once.

        Raises:
            AccountUnknown: The account has no such token.
        """
        if token not in {row.token for row in self._ledger.tokens(name)}:
            raise AccountUnknown("that account has no such token")
        self._diary.changed(name, "token-revoked", by=by, token=token)
        self._ledger.end_tokens(name, token)


def claimed_token(given: str) -> str:
    """Return what a bearer token claims to be: its id; of one without, a digest of it all."""
    if given.startswith(TOKEN_MARK):
        return given.removeprefix(TOKEN_MARK).partition("_")[0][:64]
    return hash_of(given)
