"""A reply to the customer, in words that fit the expressed cue: drafted here, sent by nobody.

A draft is help to the agent, and rests on the same consent. It is an approved text, or a local
model's on top of one where the operator set an endpoint; the guard reads whatever comes, and
where it objects, or nothing comes, the approved text stands. The draft then waits for a person
(rule 23). `ReplyRelease` gives it out, after the guard read it again, and says that a machine
drafted it (rule 20).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from client_node.approvals import Approvals, Waiting
from client_node.errors import ReplyModelFailed, TurnInvalid
from client_node.replies import ReplyTexts, with_origin
from client_node.reply_model import DraftsReplies
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from client_node.vault import Vault
from models.message_guard import MessageGuard
from policies.clock import Clock
from policies.decision import Facts
from policies.errors import MessageBlocked
from policies.messages import CheckedMessage
from policies.permit import Permit
from policies.vocabulary import Emotion, Objective, Purpose, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Drafts a reply and lets it wait; `tell` gets what whoever looks on is told of it."""

    texts: ReplyTexts
    guard: MessageGuard
    model: DraftsReplies | None
    approvals: Approvals
    vault: Vault
    clock: Clock
    new_id: Callable[[], str]
    tell: Callable[[Mapping[str, Any]], None]

    described = Described(
        name="reply_draft",
        use=Use.AGENT_HINT,
        purpose=Purpose.AGENT_HELP,
        objective="the customer gets an answer in words that fit what they wrote",
        serves=Objective.HELP,
        rules=(4, 16, 19, 20, 22, 23, 24, 26),
        abstains="from a tone where the reading abstained: the text is then the neutral one; from "
        "a model's text where the guard objects or none comes in time",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading; none where it abstained, and then the tone rests on none."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Draft, seal, and let it wait; return under which id.

        Raises:
            PermitInvalid: Not a permit for this help now, or the person withdrew meanwhile.
            TurnInvalid: There is no reply about this topic.
            ApprovalRefused, VaultError: Nothing waits.
        """
        self.described.show(permit, asked, now=now)
        state = Emotion.NEUTRAL if asked.emotion is None else asked.emotion
        message, by, because = self._draft(asked, self.texts.at(asked.topic, state))
        approval, seal = self.new_id(), self.vault.enclose
        draft = json.dumps({"text": message.text, "by": by}).encode()
        sealed = seal(approval, draft, permit=permit, subject=asked.subject, now=self.clock())
        item = Waiting(
            approval=approval,
            use=asked.use,
            turn=asked.turn,
            subject=asked.subject,
            topic=asked.topic,
            sealed=sealed,
        )
        kept = self.approvals.put(item)
        waits = {"approval": approval, "waits_until": kept.expires_at, "drafted_by": by}
        about = {"conversation": asked.conversation, "turn": asked.turn, "topic": asked.topic}
        self.tell(about | waits)
        return waits | {"because": because}

    def _draft(self, asked: AskedUse, approved: CheckedMessage) -> tuple[CheckedMessage, str, str]:
        """Return a text that the guard read, who wrote it, and why it is that one."""
        if self.model is None:
            return approved, "approved text", "an approved text in the tone of the expressed cue"
        try:
            text = self.model.draft(approved.text, asked.text)
            return self.guard.check(with_origin(text)), "model", "a model's text, read by the guard"
        except ReplyModelFailed as error:
            return approved, "approved text", str(error)
        except MessageBlocked as error:
            return approved, "approved text", f"the guard refused the model's text: {error.verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRelease:
    """Opens a draft: to be read by who decides, and to be sent once somebody approved it."""

    guard: MessageGuard
    vault: Vault

    described = replace(
        Reply.described,
        name="reply",
        objective="a person reads the draft, and sends it once they approve",
        abstains="where nobody is named, where the guard objects, and after the session",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading, and who approved."""
        return replace(cue_facts(asked), approved_by=asked.approved_by)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return the text.

        Raises:
            PermitInvalid: Not a permit for this help now.
            TurnUnknown: The draft was erased.
            MessageBlocked: The guard objects to it now.
            TurnInvalid: There is no draft.
        """
        self.described.show(permit, asked, now=now)
        if asked.draft is None:
            raise TurnInvalid("a reply is given out from a draft that waited: there is none")
        opened = self.vault.disclose(
            asked.draft.name, asked.draft.sealed, permit=permit, subject=asked.subject, now=now
        )
        kept = json.loads(opened)
        return {
            "text": self.guard.check(kept["text"]).text,
            "drafted_by": kept["by"],
            "origin": "machine",
            "may_be_sent": asked.approved_by is not None,
        }
