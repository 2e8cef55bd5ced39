"""Hears withdrawals and obeys them: polls the trust service, destroys keys, says so.

One page of the feed: 0. what was withdrawn at this node is told first; 1. the gate closes (the
standing is in memory); 2. what is in memory of their conversations, or was made with their labels,
is dropped, keys of withdrawn purposes and erased people are destroyed, their evidence forgotten;
3. the page is on disk; 4. both are logged; 5. the trust service gets an acknowledgement with the
log's checkpoint and the answers to its challenge; 6. what people asked is answered. Runs in a
thread of its own; whatever fails, the service goes on and standing ages until the rules close the
gate (promise 11).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.hold import Hold
from audit.log import EvidenceLog
from client_node.conversations import Conversations
from client_node.destroyed import Destroyed
from client_node.errors import TrustUnavailable
from client_node.owed import Owed
from client_node.recalibration import Recalibration
from client_node.standing_cache import Feed, StandingCache
from client_node.trust_client import TrustClient
from client_node.vault import Vault
from policies.clock import Clock
from policies.errors import UndertoneError
from policies.rollout import Assignment
from policies.vocabulary import Digest, Purpose, SubjectId

LONGEST_PAUSE_S = 30.0


class GivenHere(Protocol):
    """Withdrawals that were given at this node (`client_node.withdrawing`)."""

    def forward(self) -> None:
        """Tell the trust service what waits; raises `TrustUnavailable`."""
        ...

    def answered(self) -> list[str]:
        """Return what was answered and not heard yet."""
        ...

    def heard(self, records: Sequence[str]) -> None:
        """Let the feed speak for these from now on."""
        ...


class StandingKeeper:
    """Keeps the cache fresh; `poll` is one page, `start` polls until `stop`."""

    def __init__(
        self,
        *,
        client: TrustClient,
        cache: StandingCache,
        vault: Vault,
        conversations: Conversations,
        recalibration: Recalibration,
        owed: Owed,
        destroyed: Destroyed,
        log: EvidenceLog,
        clock: Clock,
        poll_s: float,
        also: Callable[[], None] = lambda: None,
        adopt: Callable[[Assignment], None] = lambda _: None,
        hear_holds: Callable[[Sequence[Hold] | None], None] = lambda _: None,
        learned: Callable[[Feed], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            client: Speaks with the trust service.
            cache: Gets the envelopes.
            vault: Whose keys are destroyed.
            conversations: Whose courses are dropped.
            recalibration: Whose temperature is dropped.
            owed: Keeps what the trust service has not been told yet.
            destroyed: Keeps by which entry of the log an erased person's keys went.
            log: Gets the events.
            clock: Unix seconds.
            poll_s: Longest wait at the service for news; half of it is rested between polls.
            also: Done after each poll, whether or not it succeeded: retention.
            hear_holds: Takes the legal holds that a page says are in force.
            adopt: Changes over to the rules that a page assigns; what it raises leaves the
                page without effect but for what was destroyed.
            learned: Drops what was learned from somebody who says no, before any key is.
        """
        self._client, self._cache, self._vault, self._log = client, cache, vault, log
        self._conversations, self._recalibration = conversations, recalibration
        self._clock, self._poll_s, self._also = clock, poll_s, also
        self.answering: Callable[[Sequence[Mapping[str, Any]]], None] | None = None
        self.withdrawing: GivenHere | None = None
        self.budget: Callable[[], Mapping[str, Any] | None] = lambda: None
        self._adopt, self._hear_holds, self._learned = adopt, hear_holds, learned
        self._owed, self.destroyed = owed, destroyed
        self._destroyed = 0
        self._applying = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0

    @property
    def connected(self) -> bool:
        """Whether the last poll was answered and obeyed."""
        return self._failures == 0 and self._cache.age_s() is not None

    @property
    def keys_destroyed(self) -> int:
        """How many keys were destroyed since this process started."""
        return self._destroyed

    def poll(self, *, wait_s: float = 0.0) -> bool:
        """Fetch, apply and acknowledge one page; return whether another is waiting.

        Raises:
            TrustUnavailable, StandingRejected, VaultError, EvidenceUnavailable: The page does
                not count, or is not acknowledged; poll again.
        """
        told = self._tell()  # 0
        before = self._cache.sequence
        data = self._client.standing(after=before, wait_s=wait_s)
        with self._applying:
            if self._cache.sequence != before:
                return True  # another poll was faster: ask for what came after it
            feed = self._cache.apply(data, obey=self._obey)  # 1, 2, 3
            if feed.sequence != before:
                self._record(
                    EventKind.STANDING_APPLIED,
                    sequence=feed.sequence,
                    envelope_digest=feed.digest,
                    approvals=list(feed.approvals),
                )  # 4
            if not feed.more and self.withdrawing is not None:
                self.withdrawing.heard(told)
            self._acknowledge(feed)  # 5
            self._answer_requests(feed)  # 6
        return feed.more

    def _tell(self) -> list[str]:
        """Tell what was given here; return what the page that follows must know of."""
        if self.withdrawing is None:
            return []
        with suppress(TrustUnavailable):
            self.withdrawing.forward()
        return self.withdrawing.answered()

    def withdraw_here(self, subject: SubjectId, purpose: Purpose | None) -> None:
        """Destroy what a withdrawal that was given here would have destroyed by the feed.

        An erasure leaves the evidence of past decisions, which a legal hold may cover.

        Raises:
            VaultError, EvidenceUnavailable: Not all of it; it is destroyed with the feed.
        """
        governance = self._cache.governance
        if governance is None:
            return  # nothing was heard, so nobody was ever read
        feed = Feed(
            sequence=self._cache.sequence,
            after=None,
            issued_at=int(self._clock()),
            governance=governance,
            standings=(),
            withdrawn=((subject, purpose),),
            more=False,
            challenge=(),
            digest=Digest(""),
        )
        with self._applying:
            self._learned(feed)
            purposes = Purpose if purpose is None else (purpose,)
            entries = [self._destroy_for({subject}, one, feed) for one in purposes]
            told = [entry for entry in entries if entry is not None]
            if purpose is None and told:
                self.destroyed.note({subject}, told[-1])

    def _answer_requests(self, feed: Feed) -> None:
        """Answer people's requests; one that fails is asked again with the next page."""
        if self.answering is None or feed.more:
            return
        with suppress(UndertoneError):
            self.answering(feed.requests)

    def start(self) -> None:
        """Poll in the background until `stop`."""
        self._thread = threading.Thread(target=self._run, name="standing", daemon=True)
        self._thread.start()

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """End the thread after the poll at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                more = self.poll(wait_s=self._poll_s)
                self._failures = 0
            except Exception:  # noqa: BLE001 (the service goes on; standing ages and the gate closes)
                more, self._failures = False, self._failures + 1
            self._tidy()
            if not more:
                self._stop.wait(self._pause_s())

    def _tidy(self) -> None:
        try:
            self._also()
        except Exception:  # noqa: BLE001 (retention is tried again after the next poll)
            self._failures += 1

    def _pause_s(self) -> float:
        """Rest briefly after a long poll, and twice as long after each failure."""
        if self._failures == 0:
            return min(self._poll_s / 2, 0.2)
        return float(min(LONGEST_PAUSE_S, self._poll_s * 2 ** min(self._failures - 1, 8)))

    def _obey(self, feed: Feed) -> None:
        self._learned(feed)
        self._hear_holds(feed.holds)
        self._destroy(feed)
        self._adopt(feed.rules)

    def _destroy(self, feed: Feed) -> None:
        """Destroy what the feed tells; a person's latest standing is obeyed as well."""
        doomed: dict[Purpose | None, set[SubjectId]] = {}
        for subject, purpose in feed.withdrawn:
            doomed.setdefault(purpose, set()).add(subject)
        for standing in feed.standings:
            for purpose in [None] if standing.erased else sorted(standing.withdrawn):
                doomed.setdefault(purpose, set()).add(standing.subject)
        erased = doomed.get(None, set())
        keyed = {subject for subject in erased if self._vault.purposes_of(subject)}
        for purpose, subjects in doomed.items():
            entry = self._destroy_for(
                subjects if purpose is None else subjects - erased, purpose, feed
            )
            if purpose is None and entry is not None:
                self.destroyed.note(keyed, entry)
        for subject in erased:
            self._log.forget(subject)
        self._owed.add(erased=erased)

    def _destroy_for(
        self, subjects: set[SubjectId], purpose: Purpose | None, feed: Feed
    ) -> int | None:
        """Destroy people's keys; return the entry that says so, None where there were none."""
        if purpose in {None, Purpose.SERVICE}:
            self._conversations.withdraw(subjects, now=self._clock())
        if purpose in {None, Purpose.TRAINING} and subjects:
            self._recalibration.withdraw()
        count = self._vault.destroy(subjects, purpose, now=self._clock()) if subjects else 0
        if not count:
            return None
        self._owed.add(keys_destroyed=count)
        self._destroyed += count
        return self._record(
            EventKind.KEYS_DESTROYED,
            reason="erasure" if purpose is None else "withdrawal",
            purpose=None if purpose is None else purpose.value,
            count=count,
            sequence=feed.sequence,
        )

    def _acknowledge(self, feed: Feed) -> None:
        owing = self._owed.now()
        self._client.acknowledge(
            {
                "sequence": feed.sequence,
                "checkpoint": self._log.checkpoint(),
                "keys_destroyed": owing.keys_destroyed,
                "erased": sorted(owing.erased),
                "answers": [a for a in map(self._answer, feed.challenge) if a is not None],
                "budget": self.budget(),
            }
        )
        self._owed.said(owing)

    def _answer(self, index: int) -> Mapping[str, Any] | None:
        """Open one decision of ours for the trust service; None where it is none, or erased."""
        try:
            event, payload = self._log.entry(index).event, self._log.payload(index)
        except AuditError:
            return None
        if event.kind is not EventKind.DECISION or payload is None:
            return None
        return {
            "index": index,
            "request": payload["request"],
            "standing": payload["standing"],
            "allowed": event.fields["allowed"],
            "rules": event.fields["rules"],
            "now": payload["now"],
        }

    def _record(self, kind: EventKind, **fields: Any) -> int:
        return self._log.append(Event(kind=kind, at=self._clock(), fields=fields))
