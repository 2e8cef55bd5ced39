"""What requests ask of nodes, and how their answers are taken: never on a node's word alone.

A task goes with the standing that nodes fetch anyway (`consent.feed`), again and again until each
has answered; a node that is away answers when it is back. What a person decided on review goes to
the node whose decision it was, which shows by its own log that it is in force there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from audit.errors import AuditError
from audit.events import EventKind, Value
from audit.keys import LogKeys
from audit.leaf import decode_leaf
from audit.receipt import open_receipt
from audit.signing import VerifyKey
from consent.enrolment import NODE_ORIGIN
from consent.errors import NotFound, RequestInvalid
from consent.rights import Case, EvidenceKind, Outcome, Right, StepKind
from consent.rights_answers import Answers
from consent.rights_own import OWN, OwnPart
from consent.rights_steps import Steps
from consent.tables import NodeRow
from policies.canonical import digest
from policies.vocabulary import NodeId

VERDICT = "verdict"
"""The task, and the word in the node's log, of what a person decided on review."""


class NodeTasks:
    """Hands tasks out and takes answers in."""

    def __init__(
        self,
        *,
        steps: Steps,
        answers: Answers,
        own: OwnPart,
        keys_of: Callable[[VerifyKey], LogKeys],
    ) -> None:
        self._steps, self._answers, self._own = steps, answers, own
        self._keys_of = keys_of
        self._told: set[tuple[str, str, str]] = set()

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered, to go out with its standing."""
        if not self._pending(node):
            return []  # the rule by far: a hundred nodes do not wait for one another
        with self._steps.lock:
            wanted = [one for one in self._pending(node) if not self._overtaken(one[0])]
            self._told |= {(case.case, node.node, what) for case, what in wanted}
        return [
            {
                "request": case.case,
                "right": what,
                "subject": case.subject,
                "about": dict(case.about) | (_verdict(case) if what == VERDICT else {}),
            }
            for case, what in wanted
        ]

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is a task that the node has not heard of yet."""
        return any(
            (case.case, node.node, what) not in self._told for case, what in self._pending(node)
        )

    def receive(self, node: NodeRow, request: str, said: Mapping[str, Any]) -> Case:
        """Take a node's answer, with the entry of its own log that it stands by.

        1. the entry is in the node's log, by its own key; 2. it is about this request and
        commits to this report; 3. an erasure left no key; 4. sealed and recorded. What was decided
        on review is in force by an entry that commits to that decision.

        Raises:
            RequestInvalid: The entry does not show what the node says.
            Conflict: It was not asked, or has answered.
        """
        with self._steps.lock:
            case = self._steps.store.case(request)
            if NodeId(node.node) not in case.nodes:
                raise NotFound("no such request")
            report, fields = dict(said["report"]), shown_entry(node, said, self._keys_of)  # 1
            obeys = NodeId(node.node) in case.obeying()
            right = VERDICT if obeys else case.right.value
            told = {"request": case.case, "right": right, "digest": digest(report)}
            if any(fields.get(name) != value for name, value in told.items()):  # 2
                raise RequestInvalid("the log entry is not of this request and this report")
            if case.right is Right.ERASURE and fields.get("keys_left") != 0:  # 3
                raise RequestInvalid("the log entry does not show that no key is left")
            if obeys:
                return self._obeyed(node, case, report, fields)
            self._answers.keep(
                case, node.node, report | {"leaf": said["leaf"], "receipt": said["receipt"]}
            )
            return self._steps.evidence(  # 4
                case,
                EvidenceKind.NODE_ANSWERED,
                by=node.node,
                node=NodeId(node.node),
                outcome=str(fields["outcome"]),
                shown=str(fields["digest"]),
            )

    def _obeyed(
        self, node: NodeRow, case: Case, report: Mapping[str, Any], fields: Mapping[str, Value]
    ) -> Case:
        decided = case.decided() or {}
        if report.get("verdict") != decided.get("outcome"):
            raise RequestInvalid("the node put in force what was not decided")
        return self._steps.evidence(
            case,
            EvidenceKind.VERDICT_APPLIED,
            by=node.node,
            node=NodeId(node.node),
            outcome=str(fields["outcome"]),
            shown=str(fields["digest"]),
        )

    def _pending(self, node: NodeRow) -> list[tuple[Case, str]]:
        """Return what a node has not answered, with the word for it."""
        mine, found = NodeId(node.node), list[tuple[Case, str]]()
        for case in self._steps.store.requests():
            if case.identity is not None and mine in case.nodes and mine not in case.answered():
                found.append((case, case.right.value))
            elif mine in case.obeying():
                found.append((case, VERDICT))
        return found

    def _overtaken(self, case: Case) -> bool:
        """Close a request whose person has since had everything erased; say whether it was."""
        if case.right is Right.ERASURE or not self._own.is_erased(case.subject):
            return False
        details = {"outcome": Outcome.OVERTAKEN.value, "reason": None}
        self._steps.take(case.case, StepKind.CLOSED, OWN, details)
        self._answers.destroy(case)
        return True


def _verdict(case: Case) -> dict[str, Any]:
    """Return what was decided, without the reasons, which are words for the person."""
    decided = case.decided() or {}
    return {"outcome": decided["outcome"], "decided_at": decided["at"]}


def shown_entry(
    node: NodeRow, said: Mapping[str, Any], keys_of: Callable[[VerifyKey], LogKeys]
) -> Mapping[str, Value]:
    """Return the fields of the node's log entry, once its own key has shown it to be there."""
    try:
        leaf = base64.b64decode(said["leaf"], validate=True)
        keys = keys_of(VerifyKey.parse(node.vkey))
        open_receipt(said["receipt"], leaf, keys, origin=NODE_ORIGIN + node.node)
        event, _ = decode_leaf(leaf)
    except (AuditError, ValueError) as error:
        raise RequestInvalid(f"node {node.node} shows no entry of its log") from error
    if event.kind is not EventKind.REQUEST_ANSWERED:
        raise RequestInvalid(f"node {node.node} shows an entry of another kind")
    return event.fields
