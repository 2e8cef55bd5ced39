"""Telling the other site that somebody is signed out here (Back-Channel Logout 1.0).

What is told is read from the store, not from whoever ended a session: so a crash, a closed account
and a site that does not answer are all the same case, tried again until it is heard.
"""

from __future__ import annotations

import logging
import threading

import httpx2

from audit.errors import AuditError
from audit.portal.oidc import trusting
from audit.portal.sign_on import SignOn
from audit.portal.sign_ons import Ended

EVERY_S = 2.0
"""How often it is looked for: with the other site's answer, how long an end takes to reach it."""
TIMEOUT_S = 10.0
_MOST_WAIT_S = 300.0

_log = logging.getLogger(__name__)


class BackChannel:
    """Tells; `start` lets it do so beside everything else."""

    def __init__(self, sign_on: SignOn) -> None:
        """Read the authority.

        Raises:
            AccountsUnavailable: It is no certificate.
        """
        self._sign_on = sign_on
        self._context = trusting(sign_on.settings.authority)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="back-channel", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End, when what was begun has its answer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S)

    def tell(self) -> int:
        """Tell everything that is due; return how much of it was heard."""
        found = self._sign_on.store.ended(now=self._sign_on.clock())
        return sum(self._told(one) for one in found)

    def _told(self, ended: Ended) -> bool:
        """Tell one; log it before it counts as told, so that it is told again rather than not."""
        store, account = self._sign_on.store, ended.account
        token = self._sign_on.logout_token(account, None if ended.whole else ended.sid)
        if not self._heard(token):
            pause_s = min(EVERY_S * 2.0**ended.tries, _MOST_WAIT_S)
            store.failed(ended, again_at=self._sign_on.clock() + pause_s)
            return False
        self._sign_on.ended(account, whole=ended.whole)
        store.told(ended)
        return True

    def _heard(self, token: str) -> bool:
        try:
            with httpx2.Client(
                verify=self._context, timeout=TIMEOUT_S, trust_env=False, follow_redirects=False
            ) as client:
                where = self._sign_on.settings.logout_uri
                return client.post(where, data={"logout_token": token}).is_success
        except httpx2.HTTPError:
            return False

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.tell()
            except AuditError as error:
                _log.warning("the other site was not told of a sign-out: %s", type(error).__name__)
