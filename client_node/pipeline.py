"""A turn of conversation, from the customer's words to the branch's answer.

    receive → gate(infer) → redact → infer → gate(use) → use → seal → answer

The gate comes before redaction: what a person did not allow is not even read. The order is
the promise; its numbers stand beside the steps.

1. receive      size and form only
2. gate(infer)  may these words be read for service, kept for service, kept for training?
3. redact       personal data leaves the text, in memory
4. infer        features, and a reading if service was allowed; what the branch is shown of it
                may be by a head of this node's own, on which nothing below rests
5. gate(use)    may the branch act on the reading, if it asked to?
6. use          the act, as the gate allowed it
7. seal         one copy and one key for each person and purpose; the text itself is dropped,
                and what was read moves the conversation's course, in memory; an alert
                about it, and what things told beside it, are uses with a gate of their own
8. answer       what was read and where it is going, what was removed, what was kept, by which rules
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.events import Event, EventKind, Value
from audit.gate import Gate
from audit.log import Draft, EvidenceLog
from client_node.conversations import Conversations
from client_node.redaction import Redaction, Redacts
from client_node.standing_cache import StandingCache
from client_node.turn import Answer, AnswerKind, Ruling, Turn, UseAnswer, receive
from client_node.uses.asked import Uses, leave, refusal
from client_node.uses.frustration import EarlyFrustration
from client_node.uses.thing_desk import ThingDesk
from client_node.uses.use import AskedUse
from client_node.vault import LITTLE_FLOAT, Vault
from models.conversation import Outlook
from models.inference import Reading, WordWeight
from policies.clock import Clock
from policies.decision import UseRequest
from policies.permit import Permit
from policies.redacted import RedactedText
from policies.vocabulary import Action, NodeId, Purpose, SubjectId, Use

ASKED = (
    (Action.INFER, Purpose.SERVICE),
    (Action.STORE, Purpose.SERVICE),
    (Action.STORE, Purpose.TRAINING),
)
"""What the gate is asked about a turn, in this order: to read it, keep it, train on it."""


class Reads(Protocol):
    """What reads redacted text: the encoder and the release in force."""

    def encode(self, text: RedactedText) -> NDArray[np.float32]:
        """Return the features `(385,)`."""
        ...

    def infer(
        self,
        text: RedactedText,
        features: NDArray[np.float32],
        *,
        permit: Permit,
        subject: SubjectId,
        now: float,
    ) -> Reading:
        """Return the reading of the release in force; it may abstain."""
        ...

    def shown(
        self,
        reading: Reading,
        features: NDArray[np.float32],
        *,
        permit: Permit,
        subject: SubjectId,
        now: float,
    ) -> Reading:
        """Return the reading as the branch is shown it; it leaves nowhere and is not kept."""
        ...

    def explain(
        self, text: RedactedText, *, permit: Permit, subject: SubjectId, now: float
    ) -> tuple[WordWeight, ...]:
        """Return how much each part of the text weighed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """What the gate allows with one turn; a missing permit is a refusal."""

    read: Permit | None
    keep: Permit | None
    train: Permit | None
    ruling: Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is in memory of a turn once it was read: no personal data but by mistake.

    `reading` is the release's own; `shown` goes into the answer and nowhere else.
    """

    redaction: Redaction
    features: NDArray[np.float32]
    reading: Reading | None
    shown: Reading | None
    why: tuple[WordWeight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The journey of a turn, with everything it needs."""

    node: NodeId
    gate: Gate
    cache: StandingCache
    redactor: Redacts
    reader: Reads
    uses: Uses
    early: EarlyFrustration
    things: ThingDesk
    vault: Vault
    conversations: Conversations
    log: EvidenceLog
    clock: Clock
    new_id: Callable[[], str]

    def answer(self, turn: Turn) -> Answer:
        """Take one turn through the journey.

        Raises:
            TurnInvalid: The turn is not well formed; nothing was asked or read.
            NotBuilt: The use it asks for is not built; nothing was asked or read.
            PolicyUnavailable, EvidenceUnavailable: The gate could not answer: nothing was read.
            RedactionUnavailable, VaultError: Nothing was kept.
        """
        turn, turn_id = self._receive(turn), self.new_id()  # 1
        may = self._gate(turn)  # 2
        if may.read is None and may.train is None:
            return Answer(turn=turn_id, answer=AnswerKind.REFUSED, ruling=may.ruling)
        redaction = self.redactor.redact(turn.text)  # 3
        known = self._infer(turn, redaction, may)  # 4
        used = self._use(turn, known)  # 5, 6
        sealed_for = self._seal(turn, turn_id, known, may)  # 7
        outlook = self._follow(turn, turn_id, known.reading, may)
        return Answer(  # 8
            turn=turn_id,
            answer=_kind(known.shown, sealed_for),
            ruling=may.ruling,
            reading=known.shown,
            outlook=outlook,
            why=known.why,
            use=used,
            alert=self._warn(turn, known.reading, outlook),
            context=self.things.beside(turn) if known.reading else None,
            redacted=redaction.counts,
            sealed_for=sealed_for,
            text_redacted=redaction.text.text if turn.show_redacted and known.reading else None,
        )

    def _receive(self, turn: Turn) -> Turn:
        if turn.use is not None:
            self.uses.find(turn.use)
        return receive(turn)

    def _gate(self, turn: Turn) -> Leave:
        """Ask the gate for everything that a turn may need, recorded in one step."""
        asked = [self._request(turn, action, purpose) for action, purpose in ASKED]
        standing = self.cache.standing(turn.subject)
        read, keep, train = self.gate.open_many(asked, standing, self.cache.governance)
        ruling = refusal(read.decision) if read.permit is None else leave(read.permit)
        kept = None if read.permit is None else keep.permit  # nothing read, nothing to keep
        if kept is None:
            self.conversations.drop([turn.subject])
        return Leave(read=read.permit, keep=kept, train=train.permit, ruling=ruling)

    def _request(self, turn: Turn, action: Action, purpose: Purpose) -> UseRequest:
        return UseRequest(
            node=self.node,
            action=action,
            purpose=purpose,
            subject=turn.subject,
            setting=turn.setting,
            role=turn.role,
            channel=turn.channel,
        )

    def _infer(self, turn: Turn, redaction: Redaction, may: Leave) -> Known:
        features = self.reader.encode(redaction.text)
        known = Known(redaction=redaction, features=features, reading=None, shown=None, why=())
        if may.read is None:
            return known
        asked: dict[str, Any] = {"permit": may.read, "subject": turn.subject, "now": self.clock()}
        reading = self.reader.infer(redaction.text, features, **asked)
        shown = self.reader.shown(reading, features, **asked)
        wanted = turn.explain and not shown.abstained
        why = self.reader.explain(redaction.text, **asked) if wanted else ()
        return replace(known, reading=reading, shown=shown, why=why)

    def _use(self, turn: Turn, known: Known) -> UseAnswer | None:
        if turn.use is None or known.reading is None:
            return None
        return self.uses.ask(
            replace(
                self._asked(turn, turn.use, known.reading),
                text=known.redaction.text.text,
                queue=turn.queue,
                step=turn.step,
            )
        )

    def _asked(self, turn: Turn, use: Use, reading: Reading) -> AskedUse:
        return AskedUse(
            use=use,
            subject=turn.subject,
            emotion=reading.emotion,
            read_at=int(self.clock()),
            conversation=turn.conversation,
            cancelling=turn.cancelling,
            channel=turn.channel,
            role=turn.role,
            setting=turn.setting,
        )

    def _warn(
        self, turn: Turn, reading: Reading | None, outlook: Outlook | None
    ) -> UseAnswer | None:
        """Raise or lower the conversation's alert; the turn stands whatever becomes of it."""
        if reading is None or outlook is None:
            return None
        asked = self._asked(turn, self.early.described.use, reading)
        cue = reading.surely_negative
        return self.early.consider(replace(asked, emotion=cue, outlook=outlook), self.uses)

    def _seal(self, turn: Turn, turn_id: str, known: Known, may: Leave) -> tuple[Purpose, ...]:
        service = service_copy(turn, known, at=int(self.clock()))
        train = None if known.redaction.text.unread else may.train  # nothing to learn from
        copies = [(may.keep, service), (train, _bytes(known.features))]
        kept = [(permit, copy) for permit, copy in copies if permit is not None]
        self.vault.seal(turn_id, kept, subject=turn.subject, now=self.clock())
        self.log.append_many([self._sealed(turn_id, permit, may.read, known) for permit, _ in kept])
        return tuple(permit.purpose for permit, _ in kept)

    def _follow(
        self, turn: Turn, turn_id: str, reading: Reading | None, may: Leave
    ) -> Outlook | None:
        if reading is None or may.keep is None:
            return None
        return self.conversations.follow(
            turn.conversation,
            turn_id,
            reading,
            permit=may.keep,
            subject=turn.subject,
            now=self.clock(),
        )

    def _sealed(self, turn_id: str, permit: Permit, read: Permit | None, known: Known) -> Draft:
        fields: dict[str, Value] = {
            "turn": turn_id,
            "decision_id": permit.decision_id,
            "purpose": permit.purpose.value,
            "release": None if known.reading is None else known.reading.release_id,
            "read_by": None if read is None else read.decision_id,
        }
        return Draft(Event(kind=EventKind.TURN_SEALED, at=self.clock(), fields=fields))


def service_copy(turn: Turn, known: Known, *, at: int) -> bytes:
    """Return what is sealed for service: the redacted text and its reading, as JSON."""
    reading, redacted = known.reading, known.redaction.text
    return json.dumps(
        {
            "conversation": turn.conversation,
            "text": redacted.text,
            "kinds": redacted.kinds,
            "label": reading and reading.label,
            "emotion": reading and reading.emotion,
            "confidence": reading and reading.confidence,
            "valence": reading and reading.valence,
            "release": reading and reading.release_id,
            "read_at": at,
        }
    ).encode()


def _bytes(features: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(features, dtype=LITTLE_FLOAT).tobytes()


def _kind(reading: Reading | None, sealed_for: tuple[Purpose, ...]) -> AnswerKind:
    if reading is None:
        return AnswerKind.STORED if sealed_for else AnswerKind.ABSTAINED
    return AnswerKind.ABSTAINED if reading.abstained else AnswerKind.READING
