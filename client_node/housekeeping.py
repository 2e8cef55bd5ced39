"""What is dropped when somebody withdraws, and what is over after each poll."""

from __future__ import annotations

from dataclasses import dataclass

from client_node.conversations import Conversations
from client_node.personal import Personalisation
from client_node.rules import NodeRules
from client_node.standing_cache import Feed
from client_node.use_room import UseRoom
from client_node.vault import SESSION_S, Vault
from client_node.witnesses import Witnesses
from policies.clock import Clock
from policies.vocabulary import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Housekeeping:
    """Knows everything here that people's data may rest in, but for the vault's keys."""

    vault: Vault
    conversations: Conversations
    witnesses: Witnesses
    rules: NodeRules
    personalisation: Personalisation
    room: UseRoom
    clock: Clock

    def forget(self, feed: Feed) -> None:
        """Drop what rests on somebody who withdraws, before any key is destroyed."""
        self.personalisation.hear(feed)
        less = {s.subject for s in feed.standings if s.erased or s.withdrawn}
        withdrawn = less | {subject for subject, _ in feed.withdrawn}
        gone = {subject for subject, purpose in feed.withdrawn if purpose is None}
        self.room.reviews.drop(gone | {s.subject for s in feed.standings if s.erased})
        self.room.approvals.drop(withdrawn)
        self.room.things.store.drop(withdrawn)
        if withdrawn:
            self.room.replays.forget()

    def tidy(self) -> None:
        """End what is over."""
        now = self.clock()
        self.room.approvals.expire()
        self.room.things.store.expire(now=now)
        self.room.calls.expire()
        self.conversations.expire(now=now)
        self.vault.expire(Purpose.SERVICE, before=now - SESSION_S)
        self.witnesses.meet_when_due()
        self.rules.report()
        self.personalisation.keep_fresh()
