"""What every use of a reading has in common: a declared objective, its rules, and a permit.

A use is a module here. It describes itself, states its facts to the gate, and acts; `act` takes
the permit that the gate made of those facts and shows it first. `client_node.uses.asked` is the
only way from a request to an act.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from client_node.hints import Step
from client_node.redress import Redress
from client_node.story import Story
from client_node.uses.queue import QueueState
from models.conversation import Outlook
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import (
    Action,
    Channel,
    Emotion,
    Modality,
    Objective,
    Purpose,
    Role,
    Setting,
    SubjectId,
    Use,
)

Outcome = Mapping[str, Any]
"""What the branch is told of an act, as JSON values: an action, not a cue (rule 16)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A use in plain words, for whoever asks what this node does with a reading.

    `name` is its own, `use` what the gate calls it: several help the agent by one kind of use.
    `objective` says what it is for, and `serves` which of the law's objectives that is: the gate
    weighs it (rule 24). `rules` are the numbers of those that bind it beyond the ones about
    consent; `abstains` says when it does nothing.
    """

    name: str
    use: Use
    purpose: Purpose
    objective: str
    serves: Objective
    rules: tuple[int, ...]
    abstains: str

    def show(self, permit: Permit, asked: AskedUse, *, now: float) -> None:
        """Return if the permit is for this use of this person's data now.

        Raises:
            PermitInvalid: It is for something or someone else, or its seconds are over.
        """
        permit.cover(
            action=Action.USE, purpose=self.purpose, subject=asked.subject, now=now, use=self.use
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A reply that waits, by the name under which it was sealed."""

    name: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedUse:
    """What the branch would do with a reading, and for whom.

    `emotion` is None where the reader abstained (rule 22); `read_at` is the Unix second of the
    reading (rule 16). `text` is what redaction left of the turn, for a use that searches by it;
    `conversation` and `outlook` go with a use that watches a conversation's course. `cancelling`
    says that the person is on their way out (rule 17). `topic` is what a reply is about, `draft`
    one that waits, `redress` what a complaint would be given (rule 12), `approved_by`
    who said yes to either (rule 23), and `story` the readings that a journey shows.
    """

    use: Use
    subject: SubjectId
    emotion: Emotion | None
    read_at: int | None
    text: str = ""
    step: Step = Step.CLARIFYING
    conversation: str = ""
    outlook: Outlook | None = None
    queue: QueueState | None = None
    cancelling: bool = False
    turn: str = ""
    topic: str = ""
    draft: Draft | None = None
    redress: Redress | None = None
    story: Story = field(default_factory=Story)
    approved_by: str | None = None
    modality: Modality = Modality.TEXT
    channel: Channel = Channel.CUSTOMER
    role: Role = Role.CUSTOMER
    setting: Setting = Setting.CUSTOMER_SERVICE


class BuiltUse(Protocol):
    """One use, whole."""

    @property
    def described(self) -> Described:
        """What it is, and by which rules."""
        ...

    def facts(self, asked: AskedUse) -> Facts:
        """Return what this use states of itself to the gate.

        Raises:
            TurnInvalid: What the use needs is missing.
        """
        ...

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Do it, and return what the branch is told.

        Raises:
            PermitInvalid: Not a permit for this use of this person's data now.
        """
        ...


def cue_facts(asked: AskedUse) -> Facts:
    """Return the facts of a use that rests on the reading alone."""
    return Facts(emotion=asked.emotion, read_at=asked.read_at, certain=asked.emotion is not None)


def described_to_dict(described: Described) -> dict[str, Any]:
    """Return the description as JSON values."""
    return {
        "called": described.name,
        "use": described.use.value,
        "purpose": described.purpose.value,
        "objective": described.objective,
        "serves": described.serves,
        "rules": list(described.rules),
        "abstains": described.abstains,
    }
