"""The values that go into and come out of a decision.

`policies.engine` decides; nothing here does. A request says everything the rules may weigh
about one use; what it leaves out counts against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from policies.canonical import Encoded, encode
from policies.standing import Governance, Standing
from policies.vocabulary import (
    Action,
    Channel,
    DecisionId,
    Digest,
    Emotion,
    Modality,
    NodeId,
    Objective,
    Purpose,
    Role,
    RuleId,
    Setting,
    SubjectId,
    Use,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a use states of itself. The defaults are those that the rules refuse or ignore.

    `emotion` is the expressed cue the use relies on, None where it relies on none.
    `delayed_calls` is how many other calls would start later than in the emotion-blind
    schedule (rule 13), None when the queue was not computed. `safety_dpia` is the id of the
    DPIA for a medical or safety exception (rule 1). `leaves_node`, `protected` and
    `budget_left` belong to rule 25; for a release, `protected` says that its card states an
    epsilon within its plan, or that it used nobody's data. `approved_by` names the person who
    approved a release or an offer (rule 23).

    `read_at` is the Unix second at which the cue was read (rule 16), `certain` that the reading
    did not abstain (rule 22). Of an offer, `offer_value` and `baseline_value` (what the
    emotion-blind rules would give) are in the smallest unit of one currency (rule 12),
    `due_anyway` says that those rules would make it too (rule 15), and `calm_passed_at` when the
    test over calm customers last passed (rule 14, `policies.cohorts`).

    `objective` is what the use declares to be for (rule 24); `cancelling` says that the person is
    on their way out, where no feeling may add a step (rule 17).
    """

    emotion: Emotion | None = None
    delayed_calls: int | None = None
    safety_dpia: str | None = None
    leaves_node: bool = False
    protected: bool = False
    budget_left: bool = True
    approved_by: str | None = None
    read_at: int | None = None
    certain: bool = False
    offer_value: int | None = None
    baseline_value: int | None = None
    due_anyway: bool = False
    calm_passed_at: int | None = None
    objective: Objective | None = None
    cancelling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRequest:
    """One action for one purpose on one person's data, by one node.

    A release concerns a model and no person: there, `subject` is the release's id.
    """

    node: NodeId
    action: Action
    purpose: Purpose
    subject: SubjectId
    modality: Modality = Modality.TEXT
    setting: Setting = Setting.CUSTOMER_SERVICE
    role: Role = Role.CUSTOMER
    channel: Channel = Channel.CUSTOMER
    use: Use | None = None
    facts: Facts = field(default_factory=Facts)
    _encoded: Encoded | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def encoded(self) -> Encoded:
        """Canonical bytes and digest of `request_to_dict`, made when first asked for."""
        found = self._encoded
        if found is None:
            found = encode(request_to_dict(self))
            object.__setattr__(self, "_encoded", found)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer: allowed or not, by which rules, on which inputs.

    `rules` are the ids that determined the answer (prohibitions when refused, permissions
    when allowed); `reasons` the same in plain words from the catalogue. The digests are over
    the canonical JSON of the inputs, so that anyone holding them can decide again.
    """

    decision_id: DecisionId
    allowed: bool
    rules: tuple[RuleId, ...]
    reasons: tuple[str, ...]
    policy_digest: Digest
    request_digest: Digest
    standing_digest: Digest
    decided_at: int


class Decides(Protocol):
    """Whatever answers as `PolicyEngine` does."""

    @property
    def policy_digest(self) -> Digest:
        """The digest of the rules that answer."""

    def decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
        decision_id: DecisionId | None = None,
    ) -> Decision:
        """Decide one use."""

    def decide_batch(
        self,
        request: UseRequest,
        standings: Iterable[Standing],
        governance: Governance | None,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide one use for many people."""


def request_to_dict(request: UseRequest) -> dict[str, Any]:
    """Return the request as JSON values, ready for canonical bytes."""
    facts = request.facts
    return {
        "node": request.node,
        "action": request.action.value,
        "purpose": request.purpose.value,
        "subject": request.subject,
        "modality": request.modality.value,
        "setting": request.setting.value,
        "role": request.role.value,
        "channel": request.channel.value,
        "use": None if request.use is None else request.use.value,
        "facts": {
            "emotion": None if facts.emotion is None else facts.emotion.value,
            "delayed_calls": facts.delayed_calls,
            "safety_dpia": facts.safety_dpia,
            "leaves_node": facts.leaves_node,
            "protected": facts.protected,
            "budget_left": facts.budget_left,
            "approved_by": facts.approved_by,
            "read_at": facts.read_at,
            "certain": facts.certain,
            "offer_value": facts.offer_value,
            "baseline_value": facts.baseline_value,
            "due_anyway": facts.due_anyway,
            "calm_passed_at": facts.calm_passed_at,
            "objective": None if facts.objective is None else facts.objective.value,
            "cancelling": facts.cancelling,
        },
    }


def request_from_dict(value: dict[str, Any]) -> UseRequest:
    """Rebuild a request from `request_to_dict`.

    Raises:
        KeyError, ValueError, TypeError: The value lacks a field or names something unknown.
    """
    facts = value["facts"]
    return UseRequest(
        node=NodeId(value["node"]),
        action=Action(value["action"]),
        purpose=Purpose(value["purpose"]),
        subject=SubjectId(value["subject"]),
        modality=Modality(value["modality"]),
        setting=Setting(value["setting"]),
        role=Role(value["role"]),
        channel=Channel(value["channel"]),
        use=None if value["use"] is None else Use(value["use"]),
        facts=Facts(
            emotion=None if facts["emotion"] is None else Emotion(facts["emotion"]),
            delayed_calls=facts["delayed_calls"],
            safety_dpia=facts["safety_dpia"],
            leaves_node=facts["leaves_node"],
            protected=facts["protected"],
            budget_left=facts["budget_left"],
            approved_by=facts["approved_by"],
            read_at=facts["read_at"],
            certain=facts["certain"],
            offer_value=facts["offer_value"],
            baseline_value=facts["baseline_value"],
            due_anyway=facts["due_anyway"],
            calm_passed_at=facts["calm_passed_at"],
            objective=None if facts["objective"] is None else Objective(facts["objective"]),
            cancelling=facts["cancelling"],
        ),
    )
