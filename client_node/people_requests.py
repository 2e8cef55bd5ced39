"""What a node answers to people's requests: what it holds, or that nothing is left.

Tasks come with the signed standing and are asked again until they are answered. For each: 1. what
is asked is done or gathered; 2. an entry of our log commits to the report; 3. report, entry and
its receipt go to the trust service. An erasure is answered only once the standing says erased and
no key of the person is left.

A reading is opened only under the gate's permit, like everywhere: where the rules refuse it
(restricted, objected, expired) the report says that the copy is kept, and by which rules it stays
shut. Where keys are destroyed there is nothing to open.

What a person decided on review comes back the same way, and is answered once it is in force here
(`client_node.reviews`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.considered import COMPLETE, NOTHING_HERE, considered
from audit.decisions_about import decisions_about
from audit.errors import EntryMissing
from audit.events import Event, EventKind, Value
from audit.gate import Gate
from audit.log import EvidenceLog
from client_node.budget_ledger import BudgetLedger
from client_node.corrections import Corrections
from client_node.destroyed import Destroyed
from client_node.errors import LabelUnknown, LedgerRolledBack, TurnUnknown
from client_node.labels import Labels
from client_node.reviews import Outcome, Reviews, Verdict
from client_node.sealed_records import Kept
from client_node.standing_cache import StandingCache
from client_node.thing_store import PURPOSE
from client_node.training import Training
from client_node.trust_client import TrustClient
from client_node.uses.context import EVERY
from client_node.uses.thing_desk import ThingDesk, Where
from client_node.vault import Vault
from models.accounting import NOTHING_SPENT, epsilon
from policies.budget import right_percent
from policies.canonical import digest
from policies.clock import Clock
from policies.decision import UseRequest
from policies.errors import Refused, UndertoneError
from policies.permit import Permit
from policies.vocabulary import Action, DecisionId, NodeId, Provenance, Purpose, SubjectId

_RIGHTS = (
    "access portability rectification erasure restriction objection review verdict facts decisions"
)
KNOWN = frozenset(_RIGHTS.split())
"""What this version can answer; anything else waits for a later one."""
LIMITS_OF_MODELS = (
    "Models that were trained in these rounds are not trained again without this person. "
    "Whoever sees all that left this node in these rounds, and guesses whether this person's "
    "messages were used, is right at most right_percent times in 100; a coin is right 50 times."
)

THINGS = PURPOSE.value
Report = tuple[str, dict[str, Any]]
"""The outcome, and what is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleRequests:
    """Does what the trust service's desk asks on a person's behalf."""

    node: NodeId
    gate: Gate
    cache: StandingCache
    vault: Vault
    destroyed: Destroyed
    labels: Labels
    corrections: Corrections
    reviews: Reviews
    things: ThingDesk
    training: Training
    ledger: BudgetLedger
    delta: float
    log: EvidenceLog
    client: TrustClient
    clock: Clock

    def answer(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Answer what can be answered now; the rest is asked again with the next standing.

        Raises:
            UndertoneError: The first task that failed; those after it are tried all the same.
        """
        failed: UndertoneError | None = None
        for task in (task for task in tasks if task["right"] in KNOWN):
            try:
                self._answer(task)
            except UndertoneError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _answer(self, task: Mapping[str, Any]) -> None:
        done = self._do(task)  # 1
        if done is None:
            return
        (outcome, report), extra = done
        fields: dict[str, Value] = {
            "request": str(task["request"]),
            "right": str(task["right"]),
            "outcome": outcome,
            "digest": digest(report),
        }
        event = Event(kind=EventKind.REQUEST_ANSWERED, at=self.clock(), fields={**fields, **extra})
        index = self.log.append(event)  # 2
        self.client.answer_request(
            str(task["request"]), {"report": report} | self._proof(index)
        )  # 3

    def _do(self, task: Mapping[str, Any]) -> tuple[Report, dict[str, Value]] | None:
        """Return report and further fields of its entry; None where it is too early."""
        right, subject = str(task["right"]), SubjectId(task["subject"])
        if right == "erasure":
            return self._erasure(subject)
        found = self._report(right, subject, task)
        return None if found is None else (found, {})

    def _report(self, right: str, subject: SubjectId, task: Mapping[str, Any]) -> Report | None:
        about: Mapping[str, Any] = task["about"]
        found: Report | None
        match right:
            case "restriction" | "objection":
                found = self._standing(right, subject)
            case "access":
                found = self._access(subject)
            case "portability":
                found = self._portable(subject)
            case "rectification":
                found = self._rectification(subject, about)
            case "facts":
                found = self._facts(about)
            case "decisions":
                found = self._decisions_about(subject)
            case "verdict":
                found = self._verdict(str(task["request"]), subject, about)
            case _:
                found = self._review(subject, about)
        return found

    # -- erasure ------------------------------------------------------------------------

    def _erasure(self, subject: SubjectId) -> tuple[Report, dict[str, Value]] | None:
        standing = self.cache.standing(subject)
        if standing is not None and not standing.erased:
            return None
        self.vault.destroy([subject], None, now=self.clock())  # a refusal since made a key
        self.log.forget(subject)
        left = len(self.vault.purposes_of(subject)) + len(self.vault.kept(subject))
        at = self.destroyed.entry_of(subject)
        report: dict[str, Any] = {
            "node": self.node,
            "keys_left": left,
            "keys_destroyed": None if at is None else self._proof(at),
            "backups": "They hold sealed copies and no key; a destroyed key opens none of them.",
            "models": self.models(subject),
        }
        return (COMPLETE, report), {"keys_left": left, "keys_destroyed_at": at}

    def models(self, subject: SubjectId) -> dict[str, Any]:
        """Return in which rounds the person was, and what those can tell of them at most."""
        spent, rounds = NOTHING_SPENT, list[str]()
        try:
            entries = self.ledger.entries()
        except LedgerRolledBack as error:
            return {"unknown": str(error)}
        for entry in entries:
            if self._took_part(entry.number, subject):
                spent += self.ledger.curve_of(entry)
                rounds.append(f"{entry.run}/{entry.round_number}")
        if not rounds:
            return {"rounds": [], "epsilon": 0.0}
        bound = epsilon(spent, delta=self.delta)
        return {
            "rounds": rounds,
            "epsilon": bound,
            "delta": self.delta,
            "right_percent": right_percent(bound, self.delta),
            "words": LIMITS_OF_MODELS,
        }

    def _took_part(self, spending: int, subject: SubjectId) -> bool:
        """Tell whether a spending paid for a computation over this person."""
        index = self.training.answers.batch_of(spending)
        try:
            return index is not None and self.gate.batches.holds(index, subject)
        except EntryMissing:  # past its retention it counts: the bound may be too large, not small
            return True

    # -- access -------------------------------------------------------------------------

    def _access(self, subject: SubjectId) -> Report:
        decisions, kept = self._decisions(subject), self._kept(subject)
        report: dict[str, Any] = {
            "node": self.node,
            "kept": kept,
            "decisions": decisions,
            "models": self.models(subject),
        }
        return (COMPLETE if decisions or kept else NOTHING_HERE), report

    def _portable(self, subject: SubjectId) -> Report:
        """Return what the person gave: words as they were kept, and their own labels."""
        names = ("turn", "at", "purpose", "text", "own_label", "label_from", "kind", "value")
        kept = [{n: row[n] for n in names if n in row} for row in self._kept(subject)]
        return (COMPLETE if kept else NOTHING_HERE), {"node": self.node, "kept": kept}

    def _kept(self, subject: SubjectId) -> list[dict[str, Any]]:
        turns = [self._copy(subject, row) for row in self.vault.kept(subject)]
        return turns + self._told_by_things(subject)

    def _told_by_things(self, subject: SubjectId) -> list[dict[str, Any]]:
        """Return what devices told around the person; nothing is asked where they told nothing."""
        if not self.things.has(subject, EVERY):
            return []
        shown = self.things.show(Where(subject=subject, conversation=EVERY))
        if not shown.ruling.allowed:
            return [{"purpose": THINGS, "kept_shut_by": list(shown.ruling.rules)}]
        return [{"purpose": THINGS, **one} for one in shown.outcome["context"]]

    def _copy(self, subject: SubjectId, row: Kept) -> dict[str, Any]:
        found: dict[str, Any] = {
            "turn": row.turn,
            "at": row.created_at,
            "purpose": row.purpose,
            "label_from": row.provenance,
        }
        try:
            if row.purpose != Purpose.SERVICE:
                return found | self._learnt_from(subject, row)
            return found | self._opened(subject, row.turn)
        except Refused as error:
            return found | {"kept_shut_by": list(error.decision.rules)}
        except TurnUnknown:
            return found | {"what": "over: deleted with the next clearing"}

    def _learnt_from(self, subject: SubjectId, row: Kept) -> dict[str, Any]:
        """Say what is kept to learn from, with the label that the person gave themselves."""
        what: dict[str, Any] = {"what": "figures computed from the words, without the words"}
        if row.purpose != Purpose.TRAINING or row.provenance is None:
            return what
        permit = self._permit(subject, Action.LABEL, Purpose.TRAINING)
        label = self.vault.own_label(row.turn, permit=permit, now=self.clock())
        return what | {"own_label": label}

    def _permit(self, subject: SubjectId, action: Action, purpose: Purpose) -> Permit:
        request = UseRequest(node=self.node, action=action, purpose=purpose, subject=subject)
        return self.gate.open(request, self.cache.standing(subject), self.cache.governance)

    def _opened(self, subject: SubjectId, turn: str) -> dict[str, Any]:
        """Open a reading under the gate's permit; a cue is expressed, not a truth (rule 26)."""
        permit = self._permit(subject, Action.INFER, Purpose.SERVICE)
        sealed = self.vault.open(turn, action=Action.INFER, permit=permit, now=self.clock())
        copy = self.reviews.sees([subject], {turn: json.loads(sealed)})[turn]
        names = ("conversation", "text", "confidence", "release", "read_at")
        cue = {"expressed_cues_of": copy["label"], "family": copy["emotion"]}
        if copy.get("corrected"):
            cue["corrected_by"] = "the person"
        return {name: copy[name] for name in names} | cue

    def _decisions(
        self, subject: SubjectId, wanted: Callable[[Event], bool] = lambda _: True
    ) -> list[dict[str, Any]]:
        """Return the person's decisions; others' facts are not theirs to see."""
        found = []
        for index in self.log.sealed_for(subject):
            event = self.log.entry(index).event
            if event.kind is not EventKind.DECISION or not wanted(event):
                continue
            facts = self.log.payload(index)
            if facts is not None and facts["request"]["subject"] == subject:
                found.append({"entry": index, "at": event.at} | _told(event))
        return found

    # -- the others ---------------------------------------------------------------------

    def _review(self, subject: SubjectId, about: Mapping[str, Any]) -> Report:
        """Return the facts of one decision, and the entry that shows them."""
        asked = about["decision"]
        found = self._decisions(subject, lambda event: event.fields["decision_id"] == asked)
        if not found:
            return NOTHING_HERE, {"node": self.node}
        index = found[0]["entry"]
        shown = {"facts": self.log.payload(index), "decision": found[0], **self._proof(index)}
        return COMPLETE, {"node": self.node} | shown

    def _facts(self, about: Mapping[str, Any]) -> Report:
        """Return what one decision considered, for a request that an officer named."""
        outcome, report = considered(
            self.log,
            int(about["entry"]),
            str(about["decision"]),
            lambda subject: self._permit(subject, Action.INFER, Purpose.SERVICE),
        )
        return outcome, {"node": self.node} | report

    def _decisions_about(self, subject: SubjectId) -> Report:
        """Return which decisions here are about a person, for a request that an officer named."""
        outcome, report = decisions_about(
            self.log, subject, lambda one: self._permit(one, Action.INFER, Purpose.SERVICE)
        )
        return outcome, {"node": self.node} | report

    def _verdict(self, request: str, subject: SubjectId, about: Mapping[str, Any]) -> Report:
        """Put what a person decided in force; what rests on the reading in memory goes."""
        verdict = Verdict(
            request=request,
            subject=subject,
            decision=DecisionId(about["decision"]),
            outcome=Outcome(about["outcome"]),
            decided_at=float(about["decided_at"]),
        )
        told = {"node": self.node, "decision": verdict.decision, "verdict": verdict.outcome.value}
        if not self.reviews.take(verdict):
            return NOTHING_HERE, told
        if verdict.outcome is not Outcome.UPHELD:
            self.corrections.conversations.drop([subject])
        return COMPLETE, told

    def _rectification(self, subject: SubjectId, about: Mapping[str, Any]) -> Report:
        """Put the person's own word in the place of what was read, and of what follows from it.

        The kept reading is corrected, what was derived of their conversations begins anew, and
        what may be learnt carries their label from the next round, fit and calibration on.
        """
        turn, nothing = str(about["turn"]), (NOTHING_HERE, {"node": self.node})
        try:
            if self.vault.owner(turn) != subject:
                return nothing
            found = self._corrected(turn, str(about["label"]))
        except TurnUnknown:
            return nothing
        except LabelUnknown as error:
            return "label-unknown", {"node": self.node, "what": str(error)}
        except Refused as error:
            return "refused", {"node": self.node, "rules": list(error.decision.rules)}
        return COMPLETE, {"node": self.node, "turn": turn} | found

    def _corrected(self, turn: str, label: str) -> dict[str, Any]:
        """Correct the kept reading; where none is kept any more, what may be learnt alone."""
        try:
            made = self.corrections.record(turn, label)
        except TurnUnknown:
            permit = self.labels.record(turn, label, Provenance.CONSENTED_CORRECTION)
            return {"decision": permit.decision_id, "reading": "not kept", "learnt": True}
        learnt = made.training is not None and made.training.allowed
        return {"decision": made.service.decision, "reading": "corrected", "learnt": learnt}

    def _standing(self, right: str, subject: SubjectId) -> Report | None:
        """Say that the gate knows; None while it does not."""
        standing = self.cache.standing(subject)
        if standing is None:
            return NOTHING_HERE, {"node": self.node}
        known = standing.restricted if right == "restriction" else bool(standing.objected)
        if not (known or standing.erased):
            return None
        return COMPLETE, {"node": self.node, "in_force": right}

    def _proof(self, index: int) -> dict[str, str]:
        leaf = base64.b64encode(self.log.entry(index).leaf).decode()
        return {"leaf": leaf, "receipt": self.log.receipt(index)}


def _told(event: Event) -> dict[str, Any]:
    names = ("decision_id", "action", "purpose", "modality", "use", "allowed", "rules")
    return {name: event.fields[name] for name in names}
