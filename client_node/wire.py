"""The shapes of what integrations send and get, checked by pydantic at the edge.

Unknown fields are refused: a misspelt restriction must not be overlooked in silence. No shape
has an example: examples of personal data end up in logs and demos.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from client_node.errors import TelephoneEventInvalid
from client_node.hints import Step
from client_node.turn import Answer, Turn, UseAnswer
from client_node.uses.queue import QueueState, WaitingCall
from client_node.uses.routing import Agent
from consent.capture import Channel as ConsentChannel
from consent.capture import Layer
from consent.wire import Evidence, Reference, ShownIn
from models.conversation import Outlook
from policies.terms import RoundKind
from policies.vocabulary import (
    AgeBand,
    Channel,
    Modality,
    Provenance,
    Purpose,
    Role,
    Setting,
    SubjectId,
    Use,
    Vulnerability,
)

Id = Annotated[str, Field(min_length=1, max_length=256)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=100_000)]
Skills = Annotated[frozenset[Id], Field(max_length=64)]
HANDLING_S = 300.0
MOST_CONSENTS = 500


class Shape(BaseModel):
    """Stand at the root: frozen, and nothing but the named fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WaitingIn(Shape):
    """One waiting call."""

    call: Id
    since: Seconds
    handling_s: Annotated[Seconds, Field(gt=0)] = HANDLING_S


class AgentIn(Shape):
    """One agent, by what they can do and how much they do now; there is no place for a score."""

    agent: Id
    skills: Skills = frozenset()
    reserved: bool = False
    open: Count = 0
    most: Annotated[int, Field(ge=1, le=100)] = 1


class QueueIn(Shape):
    """The queue as the telephone system sees it; times in seconds on one clock."""

    now: Seconds = 0.0
    idle_agents: Count = 0
    reserved_agents: Count = 0
    busy_until: Annotated[tuple[Seconds, ...], Field(max_length=10_000)] = ()
    waiting: Annotated[tuple[WaitingIn, ...], Field(max_length=10_000)] = ()
    handling_s: Annotated[Seconds, Field(gt=0)] = HANDLING_S
    moved: Id | None = None
    agents: Annotated[tuple[AgentIn, ...], Field(max_length=10_000)] = ()
    needs: Skills = frozenset()

    def state(self) -> QueueState:
        """Return the queue as the node's own value."""
        return QueueState(
            now_s=self.now,
            idle_agents=self.idle_agents,
            reserved_idle=self.reserved_agents,
            busy_until_s=self.busy_until,
            waiting=tuple(
                WaitingCall(call=w.call, since_s=w.since, handling_s=w.handling_s)
                for w in self.waiting
            ),
            handling_s=self.handling_s,
            moved=self.moved,
            agents=tuple(Agent(**one.model_dump()) for one in self.agents),
            needs=self.needs,
        )


class TurnIn(Shape):
    """One thing a customer said."""

    customer: Id
    conversation: Id
    text: str
    channel: Channel = Channel.CUSTOMER
    role: Role = Role.CUSTOMER
    setting: Setting = Setting.CUSTOMER_SERVICE
    explain: bool = False
    show_redacted: bool = False
    use: Use | None = None
    queue: QueueIn | None = None
    step: Step = Step.CLARIFYING
    cancelling: bool = False

    def turn(self, subject: SubjectId) -> Turn:
        """Return the turn under the person's pseudonym."""
        return Turn(
            subject=subject,
            conversation=self.conversation,
            text=self.text,
            channel=self.channel,
            role=self.role,
            setting=self.setting,
            explain=self.explain,
            show_redacted=self.show_redacted,
            use=self.use,
            queue=None if self.queue is None else self.queue.state(),
            step=self.step,
            cancelling=self.cancelling,
        )


class LabelIn(Shape):
    """A customer's own label."""

    turn: Id
    label: Annotated[str, Field(max_length=64)]
    provenance: Provenance


class CorrectionIn(Shape):
    """A reading that the customer says is wrong: their own label, or null for none."""

    turn: Id
    label: Annotated[str, Field(max_length=64)] | None = None


class UseIn(Shape):
    """A use of a turn that was read before."""

    turn: Id
    queue: QueueIn | None = None
    step: Step = Step.CLARIFYING
    cancelling: bool = False


class CaptureIn(Shape):
    """The proof of an answer: a digest of what the company keeps; an agent by their staff id."""

    evidence: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reference: Reference | None = None
    script: Reference | None = None
    agent: Id | None = None


class GuardianIn(Shape):
    """Who says yes for a minor, by their own customer id, and how that was verified."""

    customer: Id
    relation: Annotated[str, Field(max_length=16)]
    verified: Annotated[str, Field(max_length=32)]
    evidence: Annotated[str, Field(max_length=64)]


class AskedIn(Shape):
    """What a person is asked for."""

    purposes: Annotated[frozenset[Purpose], Field(min_length=1)]
    modalities: Annotated[frozenset[Modality], Field(min_length=1)]
    notice_version: Annotated[int, Field(ge=1, lt=2**53)]


class AgreedTo(AskedIn):
    """What a person agrees to, and what the company knows of them."""

    role: Role = Role.CUSTOMER
    age: AgeBand = AgeBand.UNKNOWN
    vulnerabilities: frozenset[Vulnerability] = frozenset()
    valid_days: Annotated[int, Field(ge=1, le=730)]
    jurisdiction: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] = "EU"

    def grant(self) -> dict[str, Any]:
        """Return it as the trust service takes it, without any customer id."""
        apart = {"customer", "channel", "minutes", "confirm_hours"}
        value = self.model_dump(mode="json", exclude=apart, exclude_none=True)
        return value | {
            name: sorted(value[name]) for name in ("purposes", "modalities", "vulnerabilities")
        }


class ConsentIn(AgreedTo):
    """A person's consent, under their customer id; the trust service checks it again."""

    customer: Id
    act: Annotated[str, Field(max_length=64)]
    informed: Annotated[bool, Field(strict=True)]
    shown: ShownIn | None = None
    capture: CaptureIn | None = None
    guardian: GuardianIn | None = None

    @model_validator(mode="after")
    def _not_by_telephone(self) -> Self:
        if self.shown is not None and self.shown.channel is ConsentChannel.IVR:
            raise ValueError("a digit comes as the telephone system's own event")
        return self


class HeardIn(Shape):
    """What of the notice the menu read out."""

    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")]
    text_digest: Evidence
    layer: Layer = Layer.SHORT


class PressedIn(Shape):
    """The body of the envelope."""

    event: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
    at: Annotated[int, Field(ge=0, le=2**40)]
    customer: Id
    call: Reference
    script: Reference
    pressed: Annotated[str, Field(pattern=r"^[0-9*#]$")]
    shown: HeardIn
    consent: AgreedTo


def pressed_in(body: Mapping[str, Any]) -> PressedIn:
    """Read a telephone event's body.

    Raises:
        TelephoneEventInvalid: A field is missing or wrong; it is named, and nothing in it.
    """
    try:
        return PressedIn.model_validate(body)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise TelephoneEventInvalid(f"the telephone event is wrong at {where}") from None


class InvitationIn(AgreedTo):
    """A customer is asked by a page: a kiosk's code or a link. The trust service checks it."""

    customer: Id
    channel: Annotated[str, Field(max_length=8)]
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 14)] = 15
    confirm_hours: Annotated[int, Field(ge=1, le=24 * 14)] | None = None


class UnconfirmedIn(Shape):
    """A yes that counts once its person confirms it, by a token that is sent to them."""

    consent: ConsentIn
    confirm_hours: Annotated[int, Field(ge=1, le=24 * 14)] = 48


class ConsentsIn(Shape):
    """Many people's consents at once, as when a branch joins with its customers."""

    consents: Annotated[tuple[ConsentIn, ...], Field(min_length=1, max_length=MOST_CONSENTS)]


class WithdrawalIn(Shape):
    """A person's withdrawal; `purpose` null, said explicitly, erases everything."""

    customer: Id
    purpose: Purpose | None


class RequestIn(Shape):
    """A customer's request; the trust service's desk knows the rights and what each needs."""

    customer: Id
    right: Annotated[str, Field(max_length=32)]
    about: dict[str, Any] = Field(default_factory=dict)
    jurisdiction: Annotated[str, Field(max_length=6)] = "EU"


class CustomerIn(Shape):
    """One customer id, to get its pseudonym."""

    customer: Id


class ProofIn(Shape):
    """Whether a person was in a round, or in an evaluation of that number."""

    customer: Id
    run: Id
    round: Annotated[int, Field(ge=1, lt=2**53)]
    kind: RoundKind = RoundKind.TRAIN


def answer_to_dict(answer: Answer) -> dict[str, Any]:
    """Return a turn's answer as JSON values; cues are expressed, never a truth (rule 26)."""
    reading = answer.reading
    value: dict[str, Any] = {
        "turn": answer.turn,
        "answer": answer.answer.value,
        "decision": answer.ruling.decision,
        "rules": list(answer.ruling.rules),
        "reasons": list(answer.ruling.reasons),
        "statutes": list(answer.ruling.statutes),
        "redacted": dict(answer.redacted),
        "sealed_for": [purpose.value for purpose in answer.sealed_for],
    }
    if reading is not None:
        value["reading"] = {
            "label": reading.label,
            "emotion": reading.emotion,
            "says": None if reading.label is None else f"expressed cues of {reading.label}",
            "confidence": reading.confidence,
            "because": reading.because,
            "release": reading.release_id,
            "local_head": reading.local_head,
        }
    if answer.outlook is not None:
        value["conversation"] = outlook_to_dict(answer.outlook)
    if answer.why:
        value["why"] = [{"words": w.words, "weight": w.weight} for w in answer.why]
    if answer.use is not None:
        value["use"] = use_to_dict(answer.use)
    if answer.alert is not None:
        value["alert"] = use_to_dict(answer.alert)
    if answer.context is not None:
        value["context"] = use_to_dict(answer.context)
    if answer.text_redacted is not None:
        value["text_redacted"] = answer.text_redacted
    return value


def outlook_to_dict(outlook: Outlook) -> dict[str, Any]:
    """Return where a conversation is going as JSON values; its turns by their ids."""
    return {
        "trend": outlook.trend,
        "says": None if outlook.trend is None else f"expressed cues are {outlook.trend}",
        "warning": outlook.warning,
        "silent": outlook.silent,
        "level": outlook.level,
        "risk": outlook.risk,
        "turns": outlook.turns,
        "because": [{"turn": m.turn, "cue": m.cue, "strain": m.strain} for m in outlook.because],
    }


def use_to_dict(answer: UseAnswer) -> dict[str, Any]:
    """Return a use's answer as JSON values: an action, not a cue (rule 16).

    A refusal's `would_need` lists what would make it a yes, each way a list of steps.
    """
    would_need = {"would_need": [list(way) for way in answer.ruling.ways]}
    return {
        "called": answer.name,
        "use": answer.use.value,
        "answer": "done" if answer.ruling.allowed else "refused",
        "decision": answer.ruling.decision,
        "rules": list(answer.ruling.rules),
        "reasons": list(answer.ruling.reasons),
        "statutes": list(answer.ruling.statutes),
        **({} if answer.ruling.allowed else would_need),
        **answer.outcome,
    }
