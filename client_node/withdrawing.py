"""A withdrawal given at this node: in force here at once, and told to the trust service in order.

1. on disk, so that it is told whatever happens next; 2. the gate closes; 3. the trust service is
told, older ones first; 4. where it answered, its feed is heard and obeyed as ever; 5. where it
did not, what it would have had destroyed is destroyed here, and this log says so.

An erasure leaves the sealed facts of past decisions to the trust service, which knows of legal
holds; where this node knows of one that may cover the person, nothing is destroyed before that.
A withdrawal takes the standing at this node back to less than was vouched for; the trust service
takes a stricter standing for honest when it has a decision opened (`consent.challenge`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from client_node.errors import TrustRefused, TrustUnavailable
from client_node.feed_holds import FeedHolds
from client_node.standing_cache import StandingCache
from client_node.standing_keeper import StandingKeeper
from client_node.trust_client import TrustClient
from client_node.withdrawals import Withdrawal, Withdrawals, WithdrawalState
from policies.clock import Clock
from policies.errors import UndertoneError
from policies.vocabulary import Purpose, SubjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawing:
    """Takes withdrawals and carries them; thread-safe."""

    book: Withdrawals
    cache: StandingCache
    keeper: StandingKeeper
    client: TrustClient
    holds: FeedHolds
    log: EvidenceLog
    clock: Clock
    _telling: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def resume(self) -> None:
        """Close the gate again for what was in force here when the node stopped."""
        self.cache.hold_back([(one.subject, one.purpose) for one in self.book.in_force()])

    def finish(self) -> None:
        """Destroy what a stop cut short; what cannot be destroyed now is, with the feed."""
        for one in self.book.in_force():
            if one.purpose is not None or not self._may_be_held(one.subject):
                with suppress(UndertoneError):
                    self.keeper.withdraw_here(one.subject, one.purpose)

    def give(self, subject: SubjectId, purpose: Purpose | None) -> Withdrawal:
        """Withdraw one purpose, or (None) everything; return where it stands.

        Raises:
            VaultError: It was not taken, or keys could not be destroyed: it is in force then.
            TrustRefused: The trust service knows of nothing to withdraw, or has a legal hold.
            EvidenceUnavailable: It is in force and on disk, and this log could not say so.
        """
        taken = self.book.take(subject, purpose)  # 1
        self.resume()  # 2
        with suppress(TrustUnavailable):
            self.forward()  # 3
        now = self.book.find(taken.record)
        if now.state is not WithdrawalState.WAITING:
            self._hear()  # 4
            now = self.book.find(taken.record)
        if not now.heard:
            self._destroy(now)  # 5
        if now.state is WithdrawalState.REFUSED:
            raise TrustRefused("the trust service has nothing of this person to withdraw now")
        return now

    def forward(self) -> None:
        """Tell the trust service what waits, oldest first; stop where it does not answer.

        Raises:
            TrustUnavailable: The rest still waits.
        """
        with self._telling:
            for one in self.book.waiting():
                said = {
                    "subject": one.subject,
                    "purpose": one.purpose and one.purpose.value,
                    "record": one.record,
                    "salt": one.salt,
                }
                try:
                    receipt = self.client.withdraw(said)
                except TrustRefused:
                    self.book.answered(one.record, WithdrawalState.REFUSED)
                else:
                    self.book.answered(one.record, WithdrawalState.TOLD, receipt)

    def answered(self) -> list[str]:
        """Return what was answered and not heard yet: the next whole page has it."""
        known = self.book.in_force()
        return [one.record for one in known if one.state is not WithdrawalState.WAITING]

    def heard(self, records: Sequence[str]) -> None:
        """Let the feed speak for these from now on."""
        if records:
            self.book.heard(records)
            self.book.expire()
            self.resume()

    def _destroy(self, one: Withdrawal) -> None:
        if one.purpose is None and self._may_be_held(one.subject):
            return
        self.keeper.withdraw_here(one.subject, one.purpose)
        fields: dict[str, Value] = {"record": one.record, "erasure": one.purpose is None}
        event = Event(kind=EventKind.WITHDRAWAL_RECORDED, at=self.clock(), fields=fields)
        self.log.append(event)

    def _may_be_held(self, subject: SubjectId) -> bool:
        scopes = [hold.scope for hold in self.holds.in_force()]
        return not self.holds.heard or any(
            scope.anybody or scope.person in {None, subject} for scope in scopes
        )

    def _hear(self) -> None:
        """Fetch standing now; where that fails, the poll in the background comes soon."""
        with suppress(UndertoneError):
            while self.keeper.poll():
                pass
