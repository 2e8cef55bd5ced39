"""What nodes send back: which standing they applied, their checkpoint, their answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from audit.checkpoint import open_checkpoint
from audit.errors import CheckpointInvalid, SignatureInvalid
from audit.events import Event, EventKind, Value
from audit.keys import LogKeys
from audit.log import EvidenceLog
from audit.signing import VerifyKey
from consent.challenge import Challenges
from consent.errors import RequestInvalid
from consent.ledger import Ledger
from consent.tables import CheckpointRow, NodeRow
from consent.wire import AcknowledgementIn
from policies.budget import BudgetState
from policies.clock import Clock
from policies.vocabulary import NodeId


class Acknowledgements:
    """Keeps nodes' checkpoints, logs their erasures and has their answers judged."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        challenges: Challenges,
        clock: Clock,
        keys_of: Callable[[VerifyKey], LogKeys],
    ) -> None:
        self._keys_of = keys_of
        self._ledger = ledger
        self._log = log
        self._challenges = challenges
        self._clock = clock
        self._budgets: dict[NodeId, BudgetState] = {}
        self._heard: dict[NodeId, float] = {}

    def budgets(self, company: str | None = None) -> list[tuple[NodeRow, BudgetState | None]]:
        """Return the nodes, of one company or all, with what each last said of its budget.

        Kept in memory: a node says it with every acknowledgement, seconds apart, and one that
        was not heard since this service started has said nothing.
        """
        nodes = (n for n in self._ledger.nodes() if company in {None, n.company})
        return [(n, self._budgets.get(NodeId(n.node))) for n in sorted(nodes, key=_name)]

    def last_heard(self, node: NodeRow) -> float | None:
        """Return when a node last acknowledged anything; None where it never did.

        Before this service started it is when its last new checkpoint came.
        """
        name = NodeId(node.node)
        return self._heard.get(name) or self._ledger.last_received(name)

    def receive(self, node: NodeRow, said: AcknowledgementIn) -> dict[str, int]:
        """Take one acknowledgement; return `sequence` and how many answers disagreed.

        1. the checkpoint is verified; 2. erasures are logged; 3. the checkpoint is kept, a
        shrunk log as an alarm; 4. answers are judged.

        Raises:
            RequestInvalid: The checkpoint is not one of this node's key.
            EvidenceUnavailable, LedgerUnavailable: Try again.
        """
        size = self._size(node, said.checkpoint)  # 1
        self._heard[NodeId(node.node)] = self._clock()
        if said.erased or said.keys_destroyed:
            self._log.append(self._erased(node, said))  # 2
        if said.checkpoint not in {None, self._ledger.last_note(NodeId(node.node))}:
            self._keep(node, said, size)  # 3
        if said.budget is not None:
            self._budgets[NodeId(node.node)] = said.budget.state()
        disagreeing = self._challenges.judge(NodeId(node.node), said.answers)  # 4
        return {"sequence": said.sequence, "disagreeing": disagreeing}

    def _size(self, node: NodeRow, checkpoint: str | None) -> int:
        if checkpoint is None:
            return 0
        try:
            return open_checkpoint(checkpoint, self._keys_of(VerifyKey.parse(node.vkey))).size
        except (CheckpointInvalid, SignatureInvalid) as error:
            raise RequestInvalid(f"checkpoint of node {node.node}: {error}") from error

    def _erased(self, node: NodeRow, said: AcknowledgementIn) -> Event:
        fields: dict[str, Value] = {
            "node": node.node,
            "sequence": said.sequence,
            "keys_destroyed": said.keys_destroyed,
        }
        if said.checkpoint is not None:
            fields["checkpoint"] = hashlib.sha256(said.checkpoint.encode()).hexdigest()
        return Event(kind=EventKind.ERASURE_ACKNOWLEDGED, at=self._clock(), fields=fields)

    def _keep(self, node: NodeRow, said: AcknowledgementIn, size: int) -> None:
        self._ledger.add_checkpoint(
            CheckpointRow(
                node=node.node,
                sequence=said.sequence,
                size=size,
                note=said.checkpoint or "",
                received_at=self._clock(),
                shrunk=size < self._ledger.last_size(NodeId(node.node)),
            )
        )


def _name(node: NodeRow) -> tuple[str, str]:
    return node.company, node.node
