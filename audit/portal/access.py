"""How somebody proves to a service that they are staff, put together for one service.

`Access` signs people in, and `admit` turns a request into who made it: by session cookie, by
bearer token, or by the bootstrap token that the service's settings name, which stands for the
operator before there are accounts and whose every act is logged as `bootstrap`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from audit.errors import NotSignedIn, SignInRefused
from audit.events import EventKind
from audit.http import address_of
from audit.log import EvidenceLog
from audit.portal.accounts import BOOTSTRAP, Accounts
from audit.portal.back_channel import BackChannel
from audit.portal.cookies import Cookies
from audit.portal.diary import UNKNOWN, Diary
from audit.portal.leaked import LeakedPasswords
from audit.portal.ledger import StaffLedger
from audit.portal.passwords import Passwords
from audit.portal.provider_sign_in import ProviderSignIn
from audit.portal.second_factor import SecondFactor
from audit.portal.secrets import Randomness, hash_of, keyed, same
from audit.portal.session import Proof, Sessions, claimed_token
from audit.portal.settings import PortalSettings
from audit.portal.sign_on import SignOn
from audit.portal.sign_ons import SignOns
from audit.portal.tables import AccountRow
from audit.portal.throttle import Throttle, for_account, for_address, for_device, for_questions
from audit.portal.views import Views
from audit.signing import SigningKey
from audit.staff import Staff, StaffRole
from audit.wrong_attempts import WrongAttempts
from policies.clock import Clock

SESSION_COOKIE = Cookies().session
_WRONG = "name, password and code do not belong together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at signing in: what was typed, and from where."""

    name: str
    password: str
    code: str
    address: str = ""
    device: str = ""


class Access:
    """Owner of a service's accounts and sessions; close it with the service."""

    def __init__(
        self,
        *,
        folder: Path,
        log: EvidenceLog,
        key: SigningKey,
        clock: Clock,
        bootstrap_token: str,
        bootstrap_roles: frozenset[StaffRole],
        settings: PortalSettings | None = None,
        randomness: Randomness = secrets.token_bytes,
        passwords: Callable[..., Passwords] = Passwords,
        cookies: Cookies | None = None,
    ) -> None:
        """Open or make the accounts.

        Raises:
            AccountsUnavailable: They, or the file of leaked passwords, cannot be opened.
        """
        settings = settings or PortalSettings()
        self._clock = clock
        self.cookies = cookies or Cookies()
        self._bootstrap_token = bootstrap_token
        self._bootstrap_roles = bootstrap_roles
        self._device_key = key.derive("staff-devices")
        self._second_factor = SecondFactor(key.derive("staff-second-factor"))
        leaked = settings.leaked_passwords
        self._passwords = passwords(leaked=() if leaked is None else LeakedPasswords(leaked))
        self._diary = Diary(log, clock=clock)
        self.ledger = StaffLedger(settings.database_url or f"sqlite:///{folder / 'staff.db'}")
        self._wrong = WrongAttempts(clock=clock)
        self._throttle = Throttle(self.ledger, key=key.derive("staff-throttle"), clock=clock)
        self.accounts = Accounts(
            ledger=self.ledger,
            diary=self._diary,
            clock=clock,
            randomness=randomness,
            passwords=self._passwords,
            second_factor=self._second_factor,
            issuer=key.name,
        )
        self.sessions = Sessions(
            ledger=self.ledger,
            diary=self._diary,
            clock=clock,
            randomness=randomness,
            settings=settings,
        )
        self.provider: ProviderSignIn | None = None
        if settings.provider is not None:
            self.provider = ProviderSignIn(
                settings.provider,
                ledger=self.ledger,
                diary=self._diary,
                throttle=self._throttle,
                clock=clock,
                randomness=randomness,
                key=key.derive("staff-handshakes"),
                sessions=self.sessions,
            )
        self.sign_on: SignOn | None = None
        self._back_channel: BackChannel | None = None
        if settings.single_sign_on is not None:
            self.sign_on = SignOn(
                settings.single_sign_on,
                folder=folder,
                sessions=self.sessions,
                store=SignOns(self.ledger),
                diary=self._diary,
                clock=clock,
                randomness=randomness,
                secret=key.derive("staff-sign-on"),
            )
            self._back_channel = BackChannel(self.sign_on)
        self.views = Views(self.ledger, clock=clock, randomness=randomness)

    def start(self) -> None:
        """Begin to tell the other site who is signed out here, if it takes our word."""
        if self._back_channel is not None:
            self._back_channel.start()

    def close(self) -> None:
        """Release the store."""
        if self._back_channel is not None:
            self._back_channel.close()
        self.ledger.close()

    # -- who is asking ------------------------------------------------------------------

    def admit(self, request: Request) -> Staff:
        """Return who made a request.

        Raises:
            NotSignedIn: Nobody who is known.
            TooManyAttempts: Too many tokens were wrong before, from there or of that id.
        """
        authorization = request.headers.get("authorization")
        if authorization is not None:
            scheme, _, given = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise NotSignedIn("send a bearer token, or sign in")
            return self._bearer(given, address_of(request))
        session = request.cookies.get(self.cookies.session)
        if session is None:
            raise NotSignedIn("this is for staff: sign in first, or send an admin or bearer token")
        return self.sessions.find(session)

    def _bearer(self, given: str, address: str) -> Staff:
        claimed = claimed_token(given)
        self._wrong.check(address, claimed)
        try:
            if same(given, self._bootstrap_token):
                staff = Staff(name=BOOTSTRAP, roles=self._bootstrap_roles)
            else:
                staff = self.sessions.bearer(given)
        except NotSignedIn:
            self._wrong.wrong(address, claimed)
            raise
        self._wrong.right(address, claimed)
        return staff

    def note(self, request: Request, staff: Staff, allowed: bool) -> None:  # noqa: FBT001 (a Note)
        """Log what staff asks to change, before it is done.

        Raises:
            EvidenceUnavailable: It is not recorded, so it is not done.
        """
        route = getattr(request.scope.get("route"), "path", "/")
        act = f"{request.method}:{route.replace('{', ':').replace('}', '')}"
        self._diary.write(EventKind.STAFF_ACTED, staff=staff.name, act=act, allowed=allowed)

    # -- looking people up ----------------------------------------------------------------

    def look_up(self, staff: Staff) -> None:
        """Count a question about one person before it is answered.

        A right pseudonym is taken back (`looked_up`); what is left are guesses, and who guesses
        waits, longer each time.

        Raises:
            TooManyAttempts: Too many questions were about nobody.
        """
        self._throttle.begin([for_questions(staff.name)])

    def looked_up(self, staff: Staff) -> None:
        """Take the question back: there is such a person."""
        self._throttle.forgive([for_questions(staff.name)])

    # -- signing in ---------------------------------------------------------------------

    def sign_in(self, attempt: Attempt) -> AccountRow:
        """Return whose name, password and code these are.

        1. count the attempt; 2. password; 3. second factor, so that a guess uses no code up;
        4. forget the failures; the address, which many share, keeps those that were any.

        Raises:
            SignInRefused: They do not belong together; which is wrong is not said.
            TooManyAttempts: Too many failed before.
        """
        if attempt.device and same(attempt.device, self.device_of(attempt.name)):
            own = shared = [for_device(attempt.device)]
        else:
            own = [for_account(attempt.name)]
            shared = [*own, for_address(attempt.address)]
        blocks = self._throttle.begin(shared)  # 1
        row = self.ledger.account(attempt.name)
        usable = row is not None and row.active and not row.disabled
        known = row.password_hash if row is not None and usable else None
        if not self._passwords.fits(attempt.password, known) or row is None:  # 2
            self._refuse(row, "password", blocks=[(b.what, b.wait_s) for b in blocks])
        elif not self._second(row, attempt.code):  # 3
            self._refuse(row, "code", blocks=[(b.what, b.wait_s) for b in blocks])
        else:
            self._throttle.clear(own)  # 4
            self._throttle.forgive([counted for counted in shared if counted not in own])
            return row
        raise SignInRefused(_WRONG)

    def proven(self) -> Proof:
        """Return how `sign_in` knew somebody just now: two factors, the second good once."""
        return Proof(amr=frozenset({"pwd", "otp", "mfa"}), at=self._clock())

    def device_of(self, name: str) -> str:
        """Return what a browser keeps once this account signed in from it."""
        return keyed(self._device_key, name)

    def _second(self, row: AccountRow, code: str) -> bool:
        """Use a code of the authenticator app, or a recovery code, up."""
        step = self._second_factor.step(row.name, row.totp_salt, code, now=self._clock())
        if step is not None:
            return self.ledger.take_step(row.name, step)
        if self.ledger.take_recovery(row.name, hash_of(code.strip().lower())):
            self._diary.changed(row.name, "recovery-code-used", by=row.name)
            return True
        return False

    def _refuse(
        self, row: AccountRow | None, reason: str, *, blocks: list[tuple[str, float]]
    ) -> None:
        """Log a refusal, and the waits that it began."""
        staff = UNKNOWN if row is None else row.name
        self._diary.write(EventKind.SIGN_IN_REFUSED, staff=staff, method="password", reason=reason)
        for what, wait_s in blocks:
            self._diary.write(EventKind.SIGN_IN_BLOCKED, what=what, staff=staff, wait_s=wait_s)
