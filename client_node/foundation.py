"""What a node stands on: keys, log, vault, standing, ledger; each opens its own file.

Everything that is opened is closed with the node, or when its start is refused.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from audit.archive import Archive
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.refusals import Refusals
from audit.retention import Retention
from audit.retention_keeper import RetentionKeeper
from audit.retention_policy import load_retention
from audit.sealing import Sealing
from audit.signing import SigningKey
from client_node.budget_ledger import BudgetLedger
from client_node.conversations import Conversations
from client_node.destroyed import Destroyed
from client_node.feed_holds import FeedHolds
from client_node.owed import Owed
from client_node.round_answers import RoundAnswers
from client_node.settings import NodeSettings, parse_key
from client_node.standing_cache import StandingCache
from client_node.training import limits_of
from client_node.vault import Vault
from client_node.withdrawals import Withdrawals
from policies.clock import Clock
from policies.node_policy import NodePolicy


class Closes(Protocol):
    """A part that holds something open."""

    def close(self) -> None:
        """Let go of it."""
        ...


_Part = TypeVar("_Part", bound=Closes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """The node's own files, open."""

    clock: Clock
    keystore: Keystore
    log: EvidenceLog
    refusals: Refusals
    holds: FeedHolds
    retention: RetentionKeeper
    vault: Vault
    conversations: Conversations
    cache: StandingCache
    ledger: BudgetLedger
    answers: RoundAnswers
    withdrawals: Withdrawals
    owed: Owed
    destroyed: Destroyed


def open_foundation(
    settings: NodeSettings, policy: NodePolicy, key: SigningKey, clock: Clock, opened: ExitStack
) -> Foundation:
    """Open or make the node's files, the log first.

    Raises:
        KeystoreUnavailable, EvidenceUnavailable, VaultError, StandingRejected, NodeError: One is
            not whole.
    """
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keystore = closing(opened, Keystore(folder / "keystore", clock=clock))
    log = closing(
        opened,
        EvidenceLog(
            folder / "log.db",
            key,
            origin=f"undertone/{policy.node}",
            clock=clock,
            keystore=keystore,
            archive=_archive(settings, key),
        ),
    )
    holds = FeedHolds(clock=clock)
    trust_key = parse_key("trust_key", settings.trust_key)
    return Foundation(
        clock=clock,
        keystore=keystore,
        log=log,
        refusals=closing(opened, Refusals(log, clock=clock)),
        holds=holds,
        retention=closing(opened, _retention(settings, log, holds, keystore, clock)),
        vault=closing(opened, Vault(folder / "records.db", keystore)),
        conversations=Conversations(rule=settings.conversation_rule(), pause_s=settings.pause_s),
        cache=closing(
            opened,
            StandingCache(folder / "standing.db", node=policy.node, key=trust_key, clock=clock),
        ),
        ledger=closing(
            opened, BudgetLedger(folder / "budget.db", limits=limits_of(policy), clock=clock)
        ),
        answers=closing(opened, RoundAnswers(folder / "rounds.db")),
        owed=closing(opened, Owed(folder / "owed.db")),
        destroyed=closing(opened, Destroyed(folder / "destroyed.db")),
        withdrawals=closing(
            opened,
            Withdrawals(
                folder / "withdrawals.db", clock=clock, new_id=lambda: secrets.token_hex(16)
            ),
        ),
    )


def closing(opened: ExitStack, part: _Part) -> _Part:
    """Let the part be closed with the node, or when its start is refused."""
    opened.callback(part.close)
    return part


def _archive(settings: NodeSettings, key: SigningKey) -> Archive | None:
    return None if settings.archive is None else Archive(settings.archive, key.verify_key)


def _retention(
    settings: NodeSettings, log: EvidenceLog, holds: FeedHolds, keystore: Keystore, clock: Clock
) -> RetentionKeeper:
    """Put retention together: the node's own policy, and the holds that it was told."""
    policy, archive = load_retention(settings.retention), _archive(settings, log.key)
    sealing = None
    if archive is not None:
        sealing = Sealing(log=log, archive=archive, policy=policy, clock=clock)
    retention = Retention(log=log, policy=policy, holds=holds, clock=clock, keystore=keystore)
    return RetentionKeeper(retention, sealing, clock=clock, ready=lambda: holds.heard)
