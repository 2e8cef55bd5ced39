"""Signing in by an identity provider: one browser's attempt, and whose account it ends in.

An attempt is bound to the browser that began it, is good once, and for ten minutes. What is
remembered of it is a hash; nonce and verifier are made from the state by the service's key.
Roles are those that the settings give for the provider's words, at every sign-in anew; a word
that is not in the settings gives nothing, and somebody without a role does not come in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urljoin

from audit.errors import AccountInvalid, NotAdmitted, SecondFactorMissing, SignInRefused
from audit.events import EventKind
from audit.portal.accounts import check_name
from audit.portal.diary import UNKNOWN, Diary, words
from audit.portal.ledger import StaffLedger
from audit.portal.oidc import Handshake, Identity, IdentityProvider
from audit.portal.secrets import Randomness, hash_of, keyed, new_secret, same
from audit.portal.session import PROVIDED, Proof, Sessions
from audit.portal.settings import ProviderSettings
from audit.portal.tables import AccountRow, HandshakeRow
from audit.portal.throttle import Throttle, for_address, for_handshakes
from audit.staff import StaffRole
from policies.clock import Clock

METHOD = PROVIDED
GOOD_FOR_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a browser brings back from the provider."""

    state: str
    code: str
    issuer: str | None
    address: str


class ProviderSignIn:
    """Sends browsers to the provider and takes them back."""

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        ledger: StaffLedger,
        diary: Diary,
        throttle: Throttle,
        clock: Clock,
        randomness: Randomness,
        key: bytes,
        sessions: Sessions,
    ) -> None:
        self._settings = settings
        self._provider = IdentityProvider(settings, clock=clock)
        self._ledger = ledger
        self._diary = diary
        self._throttle = throttle
        self._clock = clock
        self._randomness = randomness
        self._key = key
        self._sessions = sessions

    @property
    def at_once(self) -> bool:
        """Return whether whoever is not signed in is sent there unasked."""
        return self._settings.at_once

    def begin(self, *, visit: str, going: str, address: str, anew: bool = False) -> str:
        """Remember an attempt of this browser; return where it goes.

        Raises:
            TooManyAttempts: Too many were begun from there.
            ProviderUnavailable: The provider does not answer.
        """
        self._throttle.begin([for_handshakes(address)])
        state, now = new_secret(self._randomness), self._clock()
        where = self._provider.address_for(self._handshake(state), anew=anew)
        row = HandshakeRow(
            state_hash=hash_of(state),
            visit_hash=hash_of(visit),
            going=going,
            until=now + GOOD_FOR_S,
        )
        self._ledger.remember_handshake(row, now=now)
        return where

    def finish(self, returned: Returned, *, visit: str) -> tuple[AccountRow, str, Proof]:
        """Return whose attempt it was, where they were going, and how the provider knew them.

        1. the attempt is counted, and used up whatever comes of it; 2. it is this browser's, and
        not old; 3. the provider says who; 4. the settings say what they may do.

        Raises:
            SignInRefused: It is not, or the provider says nothing that holds.
            SecondFactorMissing: It does not say that it asked for a second factor.
            NotAdmitted: Their roles there open nothing here.
            TooManyAttempts: Too many failed before.
            ProviderUnavailable: The provider does not answer.
        """
        blocks = self._throttle.begin([for_address(returned.address)])
        found = self._ledger.take_handshake(hash_of(returned.state))  # 1
        try:
            going = self._going(found, visit)  # 2
            identity = self._identity(returned)  # 3
            account = self._account(identity)  # 4
        except _Refused as refused:
            self._diary.write(
                EventKind.SIGN_IN_REFUSED, staff=refused.staff, method=METHOD, reason=refused.reason
            )
            for block in blocks:
                self._diary.write(
                    EventKind.SIGN_IN_BLOCKED, what=block.what, staff=UNKNOWN, wait_s=block.wait_s
                )
            raise refused.kind(str(refused)) from refused
        self._throttle.forgive([for_address(returned.address), for_handshakes(returned.address)])
        proof = Proof(amr=identity.amr, at=identity.proven_at, provider_sid=identity.sid)
        return account, going, proof

    def end(self, logout_token: str) -> AccountRow | None:
        """End what the provider says is over; nobody's sessions where it knows nobody here.

        Nothing is counted: there is nothing to guess, and nobody may keep the provider waiting by
        what they send beside it.

        Raises:
            SignInRefused: It is no logout token of the provider's for us.
            ProviderUnavailable: The provider's keys cannot be asked for.
            EvidenceUnavailable: It is not recorded, so nothing is ended.
        """
        subject, sid = self._provider.signed_out(logout_token)
        account = self._ledger.account_of(self._settings.issuer, subject)
        if account is not None:
            self._sessions.end_provided(account, sid)
        return account

    def leave(self, *, then: str) -> str | None:
        """Return where one signs out at the provider too, and comes back to a path of this site.

        Where this site is say the settings, never the request. See `IdentityProvider.leave`.
        """
        return self._provider.leave(back_to=urljoin(self._settings.redirect_uri, then))

    # -- inside -------------------------------------------------------------------------

    def _going(self, found: HandshakeRow | None, visit: str) -> str:
        own = found is not None and same(found.visit_hash, hash_of(visit))
        if found is None or not own or self._clock() > found.until:
            raise _Refused("state", "this sign-in is not of this browser, or too old: begin again")
        return found.going

    def _handshake(self, state: str) -> Handshake:
        return Handshake(
            state=state,
            nonce=keyed(self._key, "nonce", state),
            verifier=keyed(self._key, "verifier", state),
        )

    def _identity(self, returned: Returned) -> Identity:
        if not returned.code:
            raise _Refused("code", "the identity provider did not let you in: begin again")
        try:
            return self._provider.identity(
                self._handshake(returned.state), code=returned.code, issuer=returned.issuer
            )
        except SecondFactorMissing as error:
            raise _Refused("second-factor", str(error), kind=SecondFactorMissing) from error
        except SignInRefused as error:
            raise _Refused("token", str(error)) from error

    def _account(self, identity: Identity) -> AccountRow:
        roles = self._roles(identity)
        known = self._ledger.account_of(identity.issuer, identity.subject)
        if known is None:
            return self._new(identity, roles)
        if known.disabled:
            raise _Refused("disabled", "this account is closed: ask your operator", known.name)
        if known.roles != " ".join(words(roles)):
            self._diary.changed(known.name, "roles-mapped", by=METHOD, roles=words(roles))
            known = self._ledger.map_roles(known.name, " ".join(words(roles)))
        if not roles:
            raise _without_role(known.name)
        return known

    def _roles(self, identity: Identity) -> frozenset[StaffRole]:
        given: frozenset[StaffRole] = frozenset()
        for word in identity.words:
            given |= self._settings.roles.get(word, frozenset())
        return given

    def _new(self, identity: Identity, roles: frozenset[StaffRole]) -> AccountRow:
        if not roles:
            raise _without_role(UNKNOWN)
        row = AccountRow(
            name=self._free_name(identity),
            roles=" ".join(words(roles)),
            issuer=identity.issuer,
            subject=identity.subject,
            active=True,
            oversaw=bool(roles & {StaffRole.OFFICER, StaffRole.DPO}),
            made_at=self._clock(),
        )
        self._diary.changed(row.name, "added", by=METHOD, roles=words(roles))
        self._ledger.put(row)
        return row

    def _free_name(self, identity: Identity) -> str:
        """Return the provider's name for somebody, or one that nobody else can have.

        A provider's names can change hands, so none opens an account that is there already.
        """
        name = identity.name.partition("@")[0].lower()
        try:
            check_name(name)
        except AccountInvalid:
            name = ""
        if name and self._ledger.account(name) is None:
            return name
        whole = f"{identity.issuer}\0{identity.subject}".encode()
        return f"person-{hashlib.sha256(whole).hexdigest()[:20]}"


class _Refused(Exception):  # noqa: N818 (never leaves this module)
    """Carry why a sign-in is refused to where it is logged."""

    def __init__(
        self,
        reason: str,
        message: str,
        staff: str = UNKNOWN,
        kind: type[SignInRefused] = SignInRefused,
    ) -> None:
        super().__init__(message)
        self.reason, self.staff, self.kind = reason, staff, kind


def _without_role(staff: str) -> _Refused:
    message = (
        "you are signed in at the identity provider, and the roles that you have there "
        "open nothing here: ask your operator"
    )
    return _Refused("role", message, staff, NotAdmitted)
