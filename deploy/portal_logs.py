"""Made-up branches' own decisions: by a gate each, into a log each, cosigned and handed over.

Each cosigns the trust service's log in turn, as a node does.

Gate, log, witness and pages are the product's; only nobody stands behind the counter.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.branch_leaves import make_page
from audit.considered import considered
from audit.decisions_about import decisions_about
from audit.events import Event, EventKind, Value
from audit.gate import Gate
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.signing import SigningKey
from audit.submission import read_submission, submission_of
from audit.witness import Witness
from audit.witness_store import WitnessStore
from audit.witnessing import write_cosignatures
from consent.enrolment import NODE_ORIGIN
from consent.facts_desk import FactsDesk
from consent.service import TrustService
from consent.tables import NodeRow
from consent.wire import LeafPageIn
from policies.canonical import digest, digest_bytes
from policies.clock import Clock
from policies.decision import UseRequest
from policies.permit import Permit
from policies.vocabulary import Action, NodeId, Purpose, SubjectId


@dataclass(slots=True, kw_only=True)
class BranchLog:
    """One branch's gate and log, beside a trust service; `close` it in the end."""

    node: NodeRow
    service: TrustService
    clock: Clock
    log: EvidenceLog
    keystore: Keystore
    gate: Gate
    witness: Witness
    store: WitnessStore
    heard: int = -1

    def decide(self, request: UseRequest) -> None:
        """Decide a use by this branch's own gate; allowed or not, it is logged."""
        self._hear()
        standing = self.service.feed.standing(self.node.company, request.subject)
        self.gate.open_many([request], standing, self.service.officer.governance())

    def _hear(self) -> None:
        """Record what was heard from the trust service, where that is something new."""
        sequence = self.service.ledger.head(self.node.company)
        if sequence == self.heard:
            return
        envelope = self.service.feed.envelope(self.node, after=max(self.heard, 0))
        fields: dict[str, Value] = {
            "sequence": sequence,
            "envelope_digest": digest_bytes(envelope),
            "approvals": list(self.service.officer.approvals()),
        }
        self.log.append(Event(kind=EventKind.STANDING_APPLIED, at=self.clock(), fields=fields))
        self.heard = sequence

    def report(self) -> None:
        """Have the log cosigned, then hand over every decision in it, page by page."""
        witness = self.service.witnessing.witness
        last = witness.last_size(self.log.origin)
        witness.add_checkpoint(submission_of(self.log, last), said_at=self.clock())
        state = self.service.branches.state(self.node)
        while state["start"] < state["size"]:
            page = make_page(self.log, state["start"], state["size"])
            state = self.service.branches.receive(self.node, LeafPageIn.model_validate(page))
        self._vouch()

    def _vouch(self) -> None:
        """Cosign the trust service's log as it is now, and bring it the cosignature."""
        theirs = self.service.witnessing
        last = self.witness.last_size(theirs.log.origin)
        body = theirs.answer("GET", "/request", f"old={last}", b"").body
        line = self.witness.add_checkpoint(body, said_at=self.clock())
        theirs.accept(write_cosignatures(read_submission(body).claimed.size, [line]))

    def answer(self) -> None:
        """Answer what an officer asked of this branch, under its own gate's permit."""
        for desk in (self.service.facts, self.service.searches):
            for task in desk.tasks(self.node):
                desk.receive(self.node, task["request"], self._answered(task))

    def _answered(self, task: Mapping[str, Any]) -> dict[str, Any]:
        about = task["about"]
        if task["right"] == FactsDesk.right:
            place, decision = int(about["entry"]), str(about["decision"])
            outcome, report = considered(self.log, place, decision, self._permit)
        else:
            subject = SubjectId(task["subject"])
            outcome, report = decisions_about(self.log, subject, self._permit)
        fields: dict[str, Value] = {
            "request": str(task["request"]),
            "right": str(task["right"]),
            "outcome": outcome,
            "digest": digest(report),
        }
        index = self.log.append(
            Event(kind=EventKind.REQUEST_ANSWERED, at=self.clock(), fields=fields)
        )
        leaf = base64.b64encode(self.log.entry(index).leaf).decode()
        return {"report": report, "leaf": leaf, "receipt": self.log.receipt(index)}

    def _permit(self, subject: SubjectId) -> Permit:
        request = UseRequest(
            node=NodeId(self.node.node),
            action=Action.INFER,
            purpose=Purpose.SERVICE,
            subject=subject,
        )
        standing = self.service.feed.standing(self.node.company, subject)
        return self.gate.open(request, standing, self.service.officer.governance())

    def close(self) -> None:
        """Close the branch's files."""
        self.log.close()
        self.store.close()
        self.keystore.close()


def open_branch_log(
    folder: Path, node: NodeRow, key: SigningKey, *, service: TrustService, clock: Clock
) -> BranchLog:
    """Open a branch's log in a folder of its own, and record its start."""
    folder.mkdir(parents=True)
    keystore = Keystore(folder / "keystore", clock=clock)
    log = EvidenceLog(
        folder / "log.db", key, origin=NODE_ORIGIN + node.node, clock=clock, keystore=keystore
    )
    fields = {
        "service": "undertone-node",
        "version": service.version,
        "policy_digest": service.engine.policy_digest,
        "node": node.node,
    }
    log.append(Event(kind=EventKind.SERVICE_STARTED, at=clock(), fields=fields))
    gate = Gate(engine=service.engine, log=log, clock=clock, batch_key=key.derive("batches"))
    ours, store = service.log, WitnessStore(folder / "witness.db")
    known = {ours.origin: ours.key.verify_key}
    return BranchLog(
        node=node,
        service=service,
        clock=clock,
        log=log,
        keystore=keystore,
        gate=gate,
        witness=Witness(store, key, clock=clock, find_log=known.get),
        store=store,
    )
