"""The wording of a campaign: one for a whole cohort, from a private count, or help and no sale.

1. define   by ordinary attributes alone; the three texts pass the guard, before anybody is asked
2. budget   would it cover one more count?
3. gate     count (aggregate reporting) and read (service), each as one batch of the cohort
4. spend    durably, and the head of the ledger is in the log
5. vault    opens the session's readings of those in both permits, and of nobody else
6. count    with noise; the true counts are gone with the call
7. choose   from what came out; the same for everybody
8. answer   at its time, whoever was in it; what was chosen waits for a named person's yes (rule 23)
9. audience once somebody approved it: by standing as it is then, for the same definition

Who gets the campaign is decided by standing alone: an offer needs its own consent, and nobody who
objected, is vulnerable or is not known to be an adult is in it. No feeling of one person changes
anything for that person, and nobody's name is kept here between 8 and 9.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.events import Event, EventKind, Value
from audit.gate import BATCH_SUBJECT, Gate
from audit.log import EvidenceLog
from client_node.approvals import NOBODY, Approvals, ApprovalState, Waiting, Worded
from client_node.budget_ledger import BudgetLedger
from client_node.cohort import Attribute, Criterion, check_definition
from client_node.errors import (
    ApprovalRefused,
    ApprovalUnknown,
    CohortRefused,
    LedgerRolledBack,
)
from client_node.standing_cache import StandingCache
from client_node.turn import Ruling
from client_node.uses.asked import refusal
from client_node.uses.use import Described
from client_node.vault import Vault
from client_node.wording import (
    Because,
    Choice,
    Counted,
    Tally,
    Tone,
    Wording,
    choose,
    tally,
    tally_curve,
    tone_of,
)
from models.message_guard import MessageGuard
from models.noise import SYSTEM_NOISE, Noise
from policies.canonical import digest
from policies.clock import Clock
from policies.decision import Facts, UseRequest
from policies.errors import BudgetExhausted, Refused
from policies.node_policy import NodePolicy
from policies.permit import Permit
from policies.standing import Standing
from policies.vocabulary import (
    Action,
    AgeBand,
    DecisionId,
    Digest,
    Emotion,
    Modality,
    NodeId,
    Objective,
    Purpose,
    RunId,
    SubjectId,
    Use,
)

LEAST_NOISE = 3.0
"""Noise multiplier of a count, unless the node's policy asks for more."""
BY_PERSON_S = 0.01
REFER = "offer a check on well-being or on open concerns; sell nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody whom the branch's own system knows, by ordinary attributes."""

    customer: str
    subject: SubjectId
    attributes: Mapping[Attribute, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What is asked: a definition, the people it is applied to, and three texts."""

    criteria: tuple[Criterion, ...]
    members: tuple[Member, ...]
    texts: Mapping[Wording, str]

    @property
    def cohort(self) -> list[Member]:
        """The members for whom the definition holds."""
        return [m for m in self.members if all(c.holds(m.attributes) for c in self.criteria)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The noisy counts, and the decision by which they were taken."""

    tally: Tally
    decision: DecisionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaigns:
    """Words campaigns at one node. `answer_s` is how long an answer takes, for ten members."""

    node: NodeId
    policy: NodePolicy
    gate: Gate
    cache: StandingCache
    vault: Vault
    ledger: BudgetLedger
    approvals: Approvals
    log: EvidenceLog
    guard: MessageGuard
    clock: Clock
    new_id: Callable[[], str]
    answer_s: float
    noise: Noise = SYSTEM_NOISE
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    described = Described(
        name="campaign",
        use=Use.SEGMENT,
        purpose=Purpose.AGGREGATE_REPORTING,
        objective="a campaign's words do not jar with how a cohort's day went; none is picked "
        "by a feeling, and an exhausted cohort is helped and not sold to",
        serves=Objective.RELIEF,
        rules=(4, 6, 7, 8, 9, 10, 15, 16, 19, 20, 22, 23, 24, 25, 27),
        abstains="where too few are left by the noise, the budget is spent, or standing is stale; "
        "where the noise hides a difference the wording is the plain one",
    )

    @property
    def multiplier(self) -> float:
        """The noise multiplier: ours, or more where the operator's policy says so."""
        return max(LEAST_NOISE, self.policy.minimum_noise_multiplier)

    def word(self, asked: Campaign) -> dict[str, Any]:
        """Return which wording waits for a yes, a referral, or why nothing is said.

        Raises:
            CohortRefused: The definition is none, or names a feeling.
            MessageBlocked: A text manipulates.
            ApprovalRefused: Too much waits already; nothing was counted.
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing is said; from step 4 on
                the budget is spent all the same.
        """
        check_definition(asked.criteria)  # 1
        texts = {which: self.guard.check(asked.texts[which]).text for which in Wording}
        self.approvals.check_room()
        name, until = RunId(f"campaign-{self.new_id()}"), self._until(len(asked.members))
        definition = definition_digest(asked.criteria)
        try:
            found = self._tallied(name, definition, self._standings(asked.cohort))  # 2 to 6
        except Refused as error:
            return _refused(name, refusal(error.decision))
        if isinstance(found, Because):
            return _said(name, Choice(because=found))
        chosen = choose(found.tally, floor=self.policy.minimum_people)  # 7
        if not self._settle(until):  # 8
            return _said(name, Choice(because=Because.LATE))
        if chosen.wording is None:
            return _said(name, chosen, found.tally)
        worded = Worded(
            definition=definition,
            decision=found.decision,
            wording=chosen.wording.value,
            text=texts[chosen.wording],
        )
        return _said(name, chosen, found.tally) | self._wait(name, worded)

    def audience(self, name: str, asked: Campaign) -> dict[str, Any]:
        """Return the approved text and whom it may go to, by standing as it is now.

        Raises:
            ApprovalUnknown: No campaign of that name waits or was approved: its time is over.
            ApprovalRefused: Nobody said yes to it.
            CohortRefused: It was approved for another definition.
        """
        item = self.approvals.find(name)
        worded = item.worded
        if worded is None:
            raise ApprovalUnknown("no campaign has that name")
        if item.state is not ApprovalState.APPROVED:
            raise ApprovalRefused(f"the campaign is {item.state.value}: it needs somebody's yes")
        if definition_digest(asked.criteria) != worded.definition:
            raise CohortRefused("the campaign was approved for another definition: ask for that")
        shut = self._shut()
        if shut is not None:
            return _said(RunId(name), Choice(because=shut))
        standings, now = self._standings(asked.cohort), int(self.clock())
        return {
            "campaign": name,
            "answer": "done",
            "wording": worded.wording,
            "text": worded.text,
            "audience": [
                m.customer
                for m in asked.cohort
                if may_be_offered(standings.get(m.subject), now=now)
            ],
            "approved_by": item.decided_by,
            "hasty": item.hasty,
        }

    def _wait(self, name: RunId, worded: Worded) -> dict[str, Any]:
        item = Waiting(
            approval=name,
            use=self.described.use,
            turn="",
            subject=NOBODY,
            topic=worded.wording,
            worded=worded,
        )
        kept = self.approvals.put(item)
        return {"approval": name, "waits_until": kept.expires_at}

    def _shut(self) -> Because | None:
        """Return why nobody may be written to now, whoever approved it."""
        if self._stale():
            return Because.STALE
        governance = self.cache.governance
        return Because.STOPPED if governance is None or governance.stopped else None

    def _tallied(
        self, name: RunId, definition: Digest, standings: Mapping[SubjectId, Standing]
    ) -> Taken | Because:
        """Return the noisy counts, or why there are none; the reason is about nobody's data."""
        if self._stale():
            return Because.STALE
        if not self._covered(name):  # 2
            return Because.BUDGET
        try:
            return self._count(name, definition, standings)  # 3 to 6
        except BudgetExhausted:
            return Because.BUDGET

    def _standings(self, cohort: Sequence[Member]) -> dict[SubjectId, Standing]:
        found = {member.subject: self.cache.standing(member.subject) for member in cohort}
        return {subject: s for subject, s in found.items() if s is not None}

    def _stale(self) -> bool:
        governance, age_s = self.cache.governance, self.cache.age_s()
        return governance is None or age_s is None or age_s > governance.standing_max_age_s

    def _covered(self, name: RunId) -> bool:
        try:
            passed = self.ledger.passed(
                tally_curve(self.multiplier), run=name, purpose=Purpose.AGGREGATE_REPORTING
            )
        except LedgerRolledBack:
            passed = "what can be trusted"
        if passed is not None:
            ledger = Purpose.AGGREGATE_REPORTING.value
            self._record(EventKind.BUDGET_REFUSED, ledger=ledger, run=name)
        return passed is None

    def _count(
        self, name: RunId, definition: Digest, standings: Mapping[SubjectId, Standing]
    ) -> Taken:
        """Ask the gate, spend, open and count, in this order."""
        counting = self._permit(Action.COUNT, Purpose.AGGREGATE_REPORTING, name, standings)  # 3
        reading = self._permit(Action.INFER, Purpose.SERVICE, name, standings)
        self._spend(name, definition, counting)  # 4
        opened = self.vault.open_readings(reading=reading, counting=counting, now=self.clock())  # 5
        people = [
            Counted(tone=_tone(turns), vulnerable=bool(standings[subject].vulnerabilities))
            for subject, turns in opened.items()
        ]
        found = tally(people, multiplier=self.multiplier, noise=self.noise)  # 6
        return Taken(tally=found, decision=DecisionId(counting.decision_id))

    def _permit(
        self,
        action: Action,
        purpose: Purpose,
        name: RunId,
        standings: Mapping[SubjectId, Standing],
    ) -> Permit:
        request = UseRequest(
            node=self.node,
            action=action,
            purpose=purpose,
            subject=BATCH_SUBJECT,
            facts=Facts(leaves_node=True, protected=True, budget_left=True),
        )
        context = {"campaign": name}
        people = list(standings.values())
        return self.gate.open_batch(request, people, self.cache.governance, context=context)

    def _spend(self, name: RunId, definition: Digest, permit: Permit) -> None:
        purpose, curve = Purpose.AGGREGATE_REPORTING, tally_curve(self.multiplier)
        spending = self.ledger.spend(
            curve, run=name, round_number=1, terms_digest=definition, purpose=purpose
        )
        self._record(
            EventKind.BUDGET_SPENT,
            ledger=purpose.value,
            run=name,
            round=1,
            terms_digest=definition,
            epsilon_after=spending.epsilon_after,
            delta=self.policy.maximum_delta,
            head=spending.head,
            decision_id=permit.decision_id,
        )

    def _until(self, members: int) -> float:
        """Return when the answer is given: by how many were sent, which the asker knows."""
        return self.monotonic() + self.answer_s + BY_PERSON_S * members

    def _settle(self, until: float) -> bool:
        """Wait for the answer's time; False where it is over, told a whole period later."""
        left = until - self.monotonic()
        self.pause(left if left >= 0 else self.answer_s - math.fmod(-left, self.answer_s))
        return left >= 0

    def _record(self, kind: EventKind, **fields: Value) -> None:
        self.log.append(Event(kind=kind, at=self.clock(), fields=fields))


def may_be_offered(standing: Standing | None, *, now: int) -> bool:
    """Return whether somebody may be sold to, by what they chose and by their protections."""
    if standing is None or standing.erased or standing.restricted or standing.vulnerabilities:
        return False
    if Purpose.OFFERS in standing.objected | standing.withdrawn:
        return False
    grant = standing.grant_for(Purpose.OFFERS, Modality.TEXT)
    return standing.age is AgeBand.ADULT and grant is not None and grant.expires_at > now


def definition_digest(criteria: Sequence[Criterion]) -> Digest:
    """Return the digest by which the ledger names a cohort's definition."""
    rows = [[c.attribute.value, sorted(c.is_one_of), c.at_least, c.at_most] for c in criteria]
    return digest({"cohort": sorted(rows, key=str)})


def _tone(turns: Sequence[bytes]) -> Tone | None:
    kept = [json.loads(turn) for turn in turns]
    return tone_of(
        [
            (one.get("valence"), None if one["emotion"] is None else Emotion(one["emotion"]))
            for one in kept
        ]
    )


def _refused(name: RunId, ruling: Ruling) -> dict[str, Any]:
    return {
        "campaign": name,
        "answer": "refused",
        "decision": ruling.decision,
        "rules": list(ruling.rules),
        "reasons": list(ruling.reasons),
        "statutes": list(ruling.statutes),
    }


def _said(name: RunId, chosen: Choice, found: Tally | None = None) -> dict[str, Any]:
    """Return the answer as JSON values: noisy counts, and no person."""
    answer = "refer" if chosen.refer else "abstained" if chosen.wording is None else "waits"
    value: dict[str, Any] = {
        "campaign": name,
        "answer": answer,
        "wording": None if chosen.wording is None else chosen.wording.value,
        "because": chosen.because.value,
    }
    if chosen.refer:
        value["do"] = REFER
    if found is not None:
        tones = {tone.value: round(found.of(tone)) for tone in Tone}
        value["counts"] = {"people": round(found.people), **tones, "noise": round(found.std, 1)}
    return value
