"""Keep the governance fresh: ask the trust service again and again, in a thread of its own.

Whatever fails, the coordinator goes on: the governance ages until the rules refuse every
release and every run. A stop rings at the trust service, whose answer is then immediate.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx

from audit.errors import PeerUnavailable
from audit.signing import SigningKey, sign_request
from audit.visible import visible
from audit.witnessing import MAX_BYTES
from coordinator.errors import SettingsInvalid, TrustUnavailable
from coordinator.governance import GovernanceCopy
from policies.clock import Clock
from policies.errors import UndertoneError

TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 2**20
"""A coordinator's envelope names no people, so it is small."""
LONGEST_PAUSE_S = 5.0
REST_S = 0.2

_log = logging.getLogger("undertone")


class Trust(Protocol):
    """Where envelopes come from."""

    def standing(self, *, after: int, wait_s: float) -> bytes:
        """Return the envelope of what came after a sequence, or a fresh one after `wait_s`."""
        ...

    def close(self) -> None:
        """Close the connection, for good."""
        ...


class TrustClient:
    """The coordinator's connection to the trust service; each request signed, over TLS."""

    def __init__(
        self,
        url: str,
        *,
        authority: Path | None,
        key: SigningKey,
        clock: Clock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is opened yet.

        Args:
            url: Where the trust service listens.
            authority: Certificate that the service's is checked against; the system's if None.
            key: Signs each request.
            clock: Time of the signatures.
            transport: Another way to carry requests, for tests.

        Raises:
            SettingsInvalid: The authority's certificate cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=None if authority is None else authority)
        except (OSError, ssl.SSLError) as error:
            raise SettingsInvalid(f"trust_ca {authority}: {type(error).__name__}") from error
        self._key, self._clock = key, clock
        self._http = httpx.Client(
            base_url=url, verify=context, trust_env=False, transport=transport
        )

    def standing(self, *, after: int, wait_s: float) -> bytes:
        """Do as `Trust.standing`.

        Raises:
            TrustUnavailable: No answer, or not one of success.
        """
        path = f"/v1/standing?after={after}&wait_s={wait_s:g}"
        headers = sign_request(self._key, method="GET", path=path, body=b"", now=self._clock())
        try:
            answer = self._http.get(path, headers=headers, timeout=TIMEOUT_S + wait_s)
        except (httpx.HTTPError, ssl.SSLError, RuntimeError) as error:
            raise TrustUnavailable(
                f"the trust service did not answer ({type(error).__name__})"
            ) from error
        if not answer.is_success:
            raise TrustUnavailable(
                f"the trust service answered {answer.status_code}: is this coordinator enrolled?"
            )
        if len(answer.content) > MAX_ANSWER_BYTES:
            raise TrustUnavailable("the trust service's answer is too large")
        return answer.content

    def witness(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Carry one call to the trust service's witness; return status and body.

        Raises:
            PeerUnavailable: No answer, or one that is too large.
        """
        headers = sign_request(self._key, method=method, path=path, body=body, now=self._clock())
        try:
            answer = self._http.request(
                method, path, content=body, headers=headers, timeout=TIMEOUT_S
            )
        except (httpx.HTTPError, ssl.SSLError, RuntimeError) as error:
            raise PeerUnavailable(f"no answer about our log ({type(error).__name__})") from error
        if len(answer.content) > MAX_BYTES:
            raise PeerUnavailable("the answer about our log is too large")
        return answer.status_code, answer.content

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class GovernanceKeeper:
    """Poll until `stop`; `poll` is one question."""

    def __init__(
        self, trust: Trust, copy: GovernanceCopy, *, poll_s: float, also: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            trust: Answers.
            copy: Gets the envelopes.
            poll_s: Longest wait at the service for news.
            also: Done after each poll, whether or not it succeeded, since what was heard
                may have aged meanwhile; it raises only errors of ours.
        """
        self._trust, self._copy, self._poll_s, self._also = trust, copy, poll_s, also
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="governance", daemon=True)
        self._failures = 0

    def start(self) -> None:
        """Poll in the background until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the question at hand, which is bounded, and the connection."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S + self._poll_s)
        self._trust.close()

    def poll(self, *, wait_s: float = 0.0) -> bool:
        """Ask once; return whether more follows at once.

        Raises:
            TrustUnavailable, GovernanceRejected: What is here stays, and ages.
        """
        return self._copy.hear(self._trust.standing(after=self._copy.sequence, wait_s=wait_s)).more

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._run_once():
                self._stop.wait(self._pause_s())

    def _run_once(self) -> bool:
        """Ask and do what follows; return whether more follows at once."""
        failures, more = self._failures, False
        try:
            more = self.poll(wait_s=self._poll_s)
            self._failures = 0
        except Exception as error:  # noqa: BLE001 (the coordinator goes on, and the gate closes)
            self._failed(error)
        try:
            self._also()
        except Exception as error:  # noqa: BLE001 (done again after the next poll)
            self._failures = failures
            self._failed(error)
        return more and self._failures == 0

    def _failed(self, error: Exception) -> None:
        """Count a failure, and note the first of a row; a third party's message is not ours."""
        self._failures += 1
        if self._failures == 1:
            why = str(error) if isinstance(error, UndertoneError) else type(error).__name__
            _log.warning("no fresh governance: %s", visible(why, one_line=True))

    def _pause_s(self) -> float:
        """Rest briefly after an answer, and twice as long after each failure."""
        if self._failures == 0:
            return REST_S
        return float(min(LONGEST_PAUSE_S, REST_S * 2 ** min(self._failures, 8)))
