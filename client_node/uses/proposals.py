"""From a proposal to what is done: proposed, looked at, approved by somebody named, then the gate.

A campaign is about nobody: there is no person for step 4 to ask about, and who is in its audience
is decided afterwards, by standing (`client_node.uses.segments`).

1. propose    the gate is asked at once, so that what may never be is never put before anybody;
              a compensation that lacks nothing but an approval waits for one
2. show       who looks, and when
3. approve    the same person; the row is decided first, so that nothing is given twice
4. gate       asked again with the approver's name: a withdrawal, a stop or the session's end
              since then refuses it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from client_node.approvals import Approvals, ApprovalState, Waiting, Worded, waiting_to_dict
from client_node.errors import ApprovalRefused
from client_node.redress import RedressTable
from client_node.turn import Ruling, UseAnswer
from client_node.uses.asked import Uses, refusal
from client_node.uses.compensation import Compensation
from client_node.uses.desk import UseDesk
from client_node.uses.reply import Reply, ReplyRelease
from client_node.uses.use import AskedUse, BuiltUse, Draft
from policies.approvals import Approval, is_hasty
from policies.cohorts import CalmCohort, CalmTest, examine_calm
from policies.errors import Refused, UndertoneError
from policies.vocabulary import Emotion, Use

UNAPPROVED = ("r23-offer-unapproved",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Replies and compensations on their way to a person's yes."""

    desk: UseDesk
    uses: Uses
    approvals: Approvals
    reply: Reply
    release: ReplyRelease
    compensation: Compensation
    table: RedressTable
    calm_floor: int
    log: EvidenceLog
    new_id: Callable[[], str]

    def propose_reply(self, turn: str, topic: str) -> UseAnswer:
        """Draft a reply to a kept turn; it waits.

        Raises:
            TurnUnknown: The turn is not kept for service.
            TurnInvalid: There is no reply about this topic.
            ApprovalRefused: Too much waits already.
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing waits.
        """
        self.reply.texts.at(topic, Emotion.NEUTRAL)  # before anything is read
        return self._through(self.reply, turn, topic=topic)

    def propose_compensation(
        self, turn: str, reason: str, value: int | None, *, cancelling: bool = False
    ) -> UseAnswer:
        """Ask the gate; what lacks an approval alone waits for one.

        Raises:
            TurnUnknown: The turn is not kept for service.
            TurnInvalid: The reason is unknown, or the value above the most.
            ApprovalRefused: Too much waits already.
            PolicyUnavailable, EvidenceUnavailable, VaultError: Nothing waits.
        """
        redress = self.table.propose(reason, value)
        answer = self._through(self.compensation, turn, redress=redress, cancelling=cancelling)
        if answer.ruling.rules != UNAPPROVED:
            return answer
        item = Waiting(
            approval=self.new_id(),
            use=Use.COMPENSATION,
            turn=turn,
            subject=self.desk.vault.owner(turn),
            topic=reason,
            redress=redress,
        )
        kept = self.approvals.put(item)
        waits = {"approval": kept.approval, "waits_until": kept.expires_at}
        return replace(answer, outcome={"answer": "waits", **waits})

    def waiting(self) -> list[dict[str, Any]]:
        """Return what waits, oldest first, without what it says."""
        return waiting_to_dict(self.approvals.waiting())

    def show(self, approval: str, to: str) -> dict[str, Any]:
        """Return what waits in full to the person who will decide.

        Raises:
            ApprovalUnknown, ApprovalRefused: Nothing of that id waits.
            Refused, TurnUnknown: The person withdrew, or the session is over.
            MessageBlocked: The guard objects to the text now.
        """
        item = self.approvals.show(approval, to)
        value = waiting_to_dict([item])[0]
        if item.worded is not None:
            return value | {"wording": item.worded.wording, "text": item.worded.text}
        if item.redress is not None:
            redress = item.redress
            offer = {"value": redress.offer_value, "baseline": redress.baseline_value}
            return value | offer | {"currency": self.table.currency}
        answer = self.uses.through(self.release, self._asked(item, None))
        return value | dict(answer.outcome) | {"allowed": answer.ruling.allowed}

    def approve(self, approval: str, by: str) -> UseAnswer:
        """Do what waited, by this person's yes.

        Raises:
            ApprovalUnknown: Nothing of that id waits.
            ApprovalRefused: It is decided, or this person did not look at it.
            TurnUnknown: The session is over.
            PolicyUnavailable, EvidenceUnavailable, VaultError: Not done, and not asked again.
        """
        item = self._decide(approval, by, ApprovalState.APPROVED)  # 3
        if item.worded is not None:
            return self._approved_campaign(item, item.worded)
        use: BuiltUse = self.release if item.redress is None else self.compensation
        try:
            answer = self.uses.through(use, self._asked(item, by))  # 4
        except Refused as error:
            answer = UseAnswer(
                name=use.described.name, use=item.use, ruling=refusal(error.decision)
            )
        except UndertoneError:
            self._refuse(item)
            raise
        if answer.ruling.allowed:
            self._record(item, "approved", decision_id=answer.ruling.decision)
        else:
            self._refuse(item, decision_id=answer.ruling.decision)
        said = {"approved_by": by, "hasty": item.hasty}
        return replace(answer, outcome={**answer.outcome, **said})

    def _approved_campaign(self, item: Waiting, worded: Worded) -> UseAnswer:
        self._record(item, "approved", decision_id=worded.decision)
        return UseAnswer(
            name=item.called,
            use=item.use,
            ruling=Ruling(decision=worded.decision, allowed=True),
            outcome={"approved_by": item.decided_by, "hasty": item.hasty},
        )

    def deny(self, approval: str, by: str) -> None:
        """Drop what waited.

        Raises:
            ApprovalUnknown, ApprovalRefused: As in `approve`.
        """
        self._record(self._decide(approval, by, ApprovalState.DENIED), "denied")

    def test_calm(self, cohorts: Sequence[CalmCohort], by: str) -> CalmTest:
        """Run rule 14's test; a pass opens compensations for its days, a failure closes them.

        Raises:
            PolicyInvalid: A figure is no figure.
        """
        found = examine_calm(cohorts, floor=self.calm_floor)
        if found.passed:
            self.approvals.pass_calm(by)
        elif found.short:
            self.approvals.fail_calm()
        return found

    def _through(self, use: BuiltUse, turn: str, **more: Any) -> UseAnswer:
        described = use.described
        try:
            asked = self.desk.asked(described.use, turn)
        except Refused as error:
            return UseAnswer(name=described.name, use=described.use, ruling=refusal(error.decision))
        return self.uses.through(use, replace(asked, **more))

    def _asked(self, item: Waiting, approved_by: str | None) -> AskedUse:
        draft = Draft(name=item.approval, sealed=item.sealed) if item.redress is None else None
        return replace(
            self.desk.asked(item.use, item.turn),
            draft=draft,
            redress=item.redress,
            approved_by=approved_by,
        )

    def _decide(self, approval: str, by: str, state: ApprovalState) -> Waiting:
        item = self.approvals.find(approval)
        if item.shown_to != by or item.shown_at is None:
            raise ApprovalRefused("whoever decides looks first: show it to them")
        seen = Approval(by=by, shown_at=item.shown_at, approved_at=self.desk.clock())
        return self.approvals.decide(approval, state, hasty=is_hasty(seen))

    def _refuse(self, item: Waiting, **more: Value) -> None:
        self.approvals.refuse(item.approval)
        self._record(item, "refused", **more)

    def _record(self, item: Waiting, step: str, **more: Value) -> None:
        fields: dict[str, Value] = {
            "approval": item.approval,
            "use": item.use.value,
            "step": step,
            "by": item.decided_by,
            "hasty": item.hasty,
            **more,
        }
        event = Event(kind=EventKind.APPROVAL_STEP, at=self.desk.clock(), fields=fields)
        self.log.append(event)
