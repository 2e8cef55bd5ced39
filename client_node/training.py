"""This node's part of a run: what it checks, asks and spends before it opens anything.

A round, in the order that promises 1, 5 and 6 ask for:
1. the coordinator signed the terms, and the weights are those they name;
2. the node's own signed policy allows the terms;
3. this run's enrolment was passed;
4. the budget would cover it, and the gate lets people into the round, as one batch;
5. the budget is spent, durably, and the head of its chain is in the log;
6. the vault opens the records of the people in the permit, and of nobody else;
7. permit and bags go to the node's own executor.

An evaluation goes the same way; its table is made here (`models.private_evaluation`).

Who is held out is measured and never trained on (`client_node.held_out`); all are counted.

A refusal carries a reason of a closed set and no number. How many people there are leaves in
nothing; the cohort's floor is tested once a run, at enrolment, on a noisy and charged count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.errors import AuditError
from audit.events import Event, EventKind
from audit.gate import BATCH_SUBJECT, Gate
from audit.log import EvidenceLog
from audit.signing import SigningKey, VerifyKey, seal, unseal
from client_node.budget_ledger import ENROLMENT, BudgetLedger, Limits, Spending
from client_node.errors import (
    LedgerRolledBack,
    RoundRefusal,
    RoundRefused,
    UpdateRejected,
    VaultError,
)
from client_node.held_out import HeldOut
from client_node.round_answers import RoundAnswers
from client_node.round_inputs import bags_of, batch_context, read_terms, update_of, weights_of
from client_node.round_proofs import prove_batches
from client_node.standing_cache import StandingCache
from client_node.vault import TrainingRecord, Vault
from models.accounting import (
    RdpCurve,
    count_curve,
    evaluation_curve,
    plan_curve,
    round_curve,
)
from models.bags import Bags
from models.features import FEATURES
from models.fusion import text_features, text_head
from models.heads import plan_head, plan_shape
from models.noise import SYSTEM_NOISE, Noise, noisy_count
from models.private_evaluation import evaluate_round
from models.update import Update, update_to_dict, weights_from_bytes
from policies.canonical import digest
from policies.clock import Clock
from policies.decision import Facts, UseRequest
from policies.errors import (
    BudgetExhausted,
    PolicyInvalid,
    PolicyUnavailable,
    Refused,
)
from policies.node_policy import NodePolicy
from policies.permit import Permit
from policies.terms import RoundKind, RoundTerms, terms_from_dict, terms_to_dict
from policies.vocabulary import Action, Digest, NodeId, Purpose, RunId, SubjectId

READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundInputs:
    """What the executor needs for one round; `permit` is signed by this node."""

    terms: RoundTerms
    terms_digest: Digest
    weights: bytes = field(repr=False)
    permit: bytes = field(repr=False)
    bags: Bags = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Takes part in rounds for one node; refuses with `RoundRefused`."""

    node: NodeId
    policy: NodePolicy
    coordinator_key: VerifyKey
    key: SigningKey
    gate: Gate
    cache: StandingCache
    vault: Vault
    ledger: BudgetLedger
    answers: RoundAnswers
    log: EvidenceLog
    clock: Clock
    encoder_digest: Digest
    noise: Noise = SYSTEM_NOISE
    held_out: HeldOut = field(default_factory=HeldOut)

    def enrol(self, envelope: bytes) -> bytes:
        """Answer once whether this node is ready for a run; return the signed "ready".

        The head count is noisy and charged before anybody is counted; asked again, the node
        repeats what it said and spends nothing.

        Raises:
            RoundRefused: The node will not take part in this run.
        """
        terms, terms_digest, _ = self._read("enrolment", envelope)
        said = self.answers.enrolment(terms.run)
        if said is None:
            said = self._count(terms, terms_digest)
        if said != READY:
            raise RoundRefused(RoundRefusal.NOT_READY, "enrolment was answered so for this run")
        return seal(READY, {"terms_digest": terms_digest}, self.key)

    def take_part(self, envelope: bytes) -> RoundInputs:
        """Return what the executor needs for one round; by then the budget is spent.

        Raises:
            RoundRefused: The node does not take part; from step 5 on the budget is spent all
                the same.
        """
        terms, terms_digest, body = self._read("terms", envelope)  # 1, 2
        weights = weights_of(terms, body)
        if self.answers.enrolment(terms.run) != READY:  # 3
            raise RoundRefused(RoundRefusal.NOT_READY, "this run's enrolment was not passed")
        curve = round_curve(terms.plan.mechanism)
        permit = self._permit(terms, curve, terms.round_number)  # 4
        self._spend(terms, terms_digest, curve, terms.round_number, permit)  # 5
        records = self._open(permit, terms)  # 6
        return RoundInputs(  # 7
            terms=terms,
            terms_digest=terms_digest,
            weights=weights,
            permit=self.gate.export_permit(permit),
            bags=bags_of(records, [name for name, _ in terms.plan.labels], terms.plan.modalities),
        )

    def evaluate(self, envelope: bytes) -> bytes:
        """Return the node's signed table of noisy counts; by then the budget is spent.

        Raises:
            RoundRefused: The node does not take part; from step 5 on the budget is spent all
                the same.
        """
        terms, terms_digest, body = self._read("evaluation", envelope)  # 1, 2
        evaluation, plan = terms.plan.evaluation, terms.plan
        if evaluation is None or self.answers.enrolment(terms.run) != READY:  # 3
            raise RoundRefused(RoundRefusal.NOT_READY, "this run's enrolment was not passed")
        weights = weights_from_bytes(weights_of(terms, body), shape=plan_shape(plan))
        curve = evaluation_curve(evaluation)
        permit = self._permit(terms, curve, terms.round_number)  # 4
        self._spend(terms, terms_digest, curve, terms.round_number, permit)  # 5
        records = self._open(permit, terms)  # 6
        table = evaluate_round(  # 7
            text_head(plan_head(plan, weights), plan.modalities),
            bags_of(records, [name for name, _ in plan.labels]),
            evaluation=evaluation,
            max_turns=plan.mechanism.max_turns,
            permit=permit,
            now=self.clock(),
            noise=self.noise,
        )
        update = Update(
            run=terms.run,
            round_number=terms.round_number,
            node=self.node,
            terms_digest=terms_digest,
            weights=table,
        )
        return self._sign("table", update)

    def sign_update(self, value: Mapping[str, Any]) -> bytes:
        """Return the executor's update, signed: one for each spending.

        Raises:
            UpdateRejected: It is not an update of this node for a spent and unanswered round.
            EvidenceUnavailable: The log cannot record it; it does not leave.
        """
        update = update_of(value)
        # The centre holds it to the plan's exact shape: a linear head, or one column.
        if update.node != self.node or not {FEATURES, 1} & set(update.weights.shape):
            raise UpdateRejected("the update is of another node or shape")
        return self._sign("update", update)

    def _sign(self, kind: str, update: Update) -> bytes:
        """Sign what a spending paid for, once for each spending, and log that it leaves."""
        body = update_to_dict(update)
        if self.answers.claim(update.run, update.round_number, update.terms_digest, digest(body)):
            self._record(
                EventKind.TERMS_ANSWERED,
                run=update.run,
                round=update.round_number,
                terms_digest=update.terms_digest,
                answer=kind,
            )
        return seal(kind, body, self.key)

    def refusal(self, kind: str, envelope: bytes, reason: RoundRefusal) -> bytes:
        """Return a refusal, signed; it says one word. Logged where the coordinator did ask."""
        terms_digest = None
        try:
            terms = terms_from_dict(unseal(kind, envelope, self.coordinator_key)["terms"])
            terms_digest = digest(terms_to_dict(terms))
            self._record(
                EventKind.TERMS_ANSWERED,
                run=terms.run,
                round=terms.round_number,
                terms_digest=terms_digest,
                answer=reason.value,
            )
        except (AuditError, PolicyInvalid, KeyError):
            pass  # not the coordinator's, or the log is shut: the refusal leaves all the same
        return seal("refusal", {"terms_digest": terms_digest, "reason": reason.value}, self.key)

    def prove(
        self,
        run: RunId,
        round_number: int,
        subject: SubjectId,
        kind: RoundKind = RoundKind.TRAIN,
    ) -> list[dict[str, Any]]:
        """Return for each batch of a round or evaluation the proof that the person was in it.

        Or that they were not: `audit.batch.verify_batch_proof(root, proof, blinded)` tells
        which, offline, once `receipt` has shown that the root is in this node's log.

        Raises:
            EntryMissing: This node opened no batch for it.
        """
        asked = (run, round_number, kind)
        return prove_batches(self.answers, self.gate, self.log, computation=asked, subject=subject)

    def _read(self, kind: str, envelope: bytes) -> tuple[RoundTerms, Digest, dict[str, Any]]:
        """Verify an envelope and hold its terms against the node's policy."""
        terms, body = read_terms(
            kind, envelope, key=self.coordinator_key, policy=self.policy, now=self.clock()
        )
        if (text_features(terms.plan), terms.plan.encoder_digest) != (
            FEATURES,
            self.encoder_digest,
        ):
            raise RoundRefused(RoundRefusal.MODEL, "the plan is for another encoder")
        return terms, digest(terms_to_dict(terms)), body

    def _count(self, terms: RoundTerms, terms_digest: Digest) -> str:
        """Set the run's budget aside, charge the count, count with noise, record the answer."""
        curve = count_curve(terms.plan.mechanism)
        permit = self._permit(terms, plan_curve(terms.plan), ENROLMENT)
        self._reserve(terms, terms_digest)
        spending = self._spend(terms, terms_digest, curve, ENROLMENT, permit)
        count = noisy_count(
            len(permit.subjects), std=terms.plan.mechanism.count_noise, noise=self.noise
        )
        enough = count >= terms.plan.minimum_people
        said = READY if enough else RoundRefusal.NOT_READY.value
        self.answers.answer_enrolment(spending.number, said)
        return said

    def _permit(self, terms: RoundTerms, curve: RdpCurve, round_number: int) -> Permit:
        self._check_budget(terms, curve, round_number)
        people = (self.cache.standing(subject) for subject in self._asked(terms, round_number))
        request = UseRequest(
            node=self.node,
            action=Action.TRAIN,
            purpose=Purpose.TRAINING,
            subject=BATCH_SUBJECT,
            facts=Facts(leaves_node=True, protected=True, budget_left=True),
        )
        try:
            return self.gate.open_batch(
                request,
                [standing for standing in people if standing is not None],
                self.cache.governance,
                context=batch_context(terms, round_number),
            )
        except (Refused, PolicyUnavailable) as error:
            raise RoundRefused(RoundRefusal.STOPPED, str(error)) from error
        except AuditError as error:
            raise RoundRefused(RoundRefusal.NOT_READY, type(error).__name__) from error

    def _asked(self, terms: RoundTerms, round_number: int) -> list[SubjectId]:
        """Return whom a computation is about: everybody is counted, each is on one side else."""
        everybody = self.vault.trainable()
        if round_number == ENROLMENT:
            return list(everybody)
        return [subject for subject in everybody if self.held_out.takes(subject, terms.kind)]

    def _reserve(self, terms: RoundTerms, terms_digest: Digest) -> None:
        """Set the whole run aside, and say so in the log."""
        try:
            reserved = self.ledger.reserve(
                plan_curve(terms.plan), run=terms.run, terms_digest=terms_digest
            )
            self._record(
                EventKind.BUDGET_RESERVED,
                ledger=Purpose.TRAINING.value,
                run=terms.run,
                epsilon=terms.plan.epsilon,
                delta=terms.plan.delta,
                head=reserved.head,
            )
        except (BudgetExhausted, LedgerRolledBack) as error:
            raise RoundRefused(RoundRefusal.BUDGET, str(error)) from error
        except AuditError as error:
            raise RoundRefused(RoundRefusal.NOT_READY, type(error).__name__) from error

    def _spend(
        self,
        terms: RoundTerms,
        terms_digest: Digest,
        curve: RdpCurve,
        round_number: int,
        permit: Permit,
    ) -> Spending:
        """Spend, remember what for, and put the head into the log."""
        try:
            spending = self.ledger.spend(
                curve, run=terms.run, round_number=round_number, terms_digest=terms_digest
            )
        except (BudgetExhausted, LedgerRolledBack) as error:
            raise RoundRefused(RoundRefusal.BUDGET, str(error)) from error
        try:
            self._record(
                EventKind.BUDGET_SPENT,
                ledger=Purpose.TRAINING.value,
                run=terms.run,
                round=round_number,
                terms_digest=terms_digest,
                epsilon_after=spending.epsilon_after,
                delta=self.policy.maximum_delta,
                head=spending.head,
                decision_id=permit.decision_id,
            )
            self.answers.begin(
                spending.number,
                run=terms.run,
                round_number=round_number,
                terms_digest=terms_digest,
                log_index=permit.log_index,
            )
        except (AuditError, VaultError) as error:
            raise RoundRefused(RoundRefusal.NOT_READY, type(error).__name__) from error
        return spending

    def _check_budget(self, terms: RoundTerms, curve: RdpCurve, round_number: int) -> None:
        """Refuse, and log it, where the budget does not cover one more computation."""
        try:
            passed = self.ledger.passed(curve, run=terms.run)
            if passed is None:
                return
            detail = f"it would pass {passed}"
        except LedgerRolledBack as error:
            detail = str(error)
        self._record(
            EventKind.BUDGET_REFUSED,
            ledger=Purpose.TRAINING.value,
            run=terms.run,
            round=round_number,
        )
        raise RoundRefused(RoundRefusal.BUDGET, detail)

    def _open(self, permit: Permit, terms: RoundTerms) -> list[TrainingRecord]:
        try:
            return self.vault.open_batch(
                permit=permit, max_turns=terms.plan.mechanism.max_turns, now=self.clock()
            )
        except VaultError as error:
            raise RoundRefused(RoundRefusal.NOT_READY, str(error)) from error

    def _record(self, kind: EventKind, **values: Any) -> None:
        self.log.append(Event(kind=kind, at=self.clock(), fields=values))


def limits_of(policy: NodePolicy) -> Limits:
    """Return what the operator's policy lets a person lose in one period."""
    return Limits(
        epsilon=policy.maximum_epsilon,
        delta=policy.maximum_delta,
        period_s=policy.period_s,
        caps=dict(policy.purpose_caps),
    )
