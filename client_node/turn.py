"""A turn of conversation as it is received, and the answer as it leaves: plain values.

`receive` is the pipeline's first step. It looks at size and form only; whether the words may
be read at all is the gate's to say, so nothing here looks into them. Form is that of Unicode text:
what no person can have typed or seen is refused, and the rest is for `client_node.unread`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from client_node.errors import TurnEmpty, TurnGarbled, TurnInvalid, TurnTooLong, TurnUndecodable
from client_node.hints import Step
from client_node.uses.queue import QueueState
from models.conversation import Outlook
from models.inference import Reading, WordWeight
from policies.vocabulary import (
    Channel,
    DecisionId,
    Emotion,
    Purpose,
    Role,
    RuleId,
    Setting,
    SubjectId,
    Use,
)

MAX_TEXT_BYTES = 16 * 1024
_NO_TEXT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
    )
    + "]"
)
"""Control characters but tab and line ends, and what Unicode sets apart as no characters."""
_TURNS_RIGHT = re.compile("[\u202b\u2067]")
_TURNS_LEFT = "\u202d"
_REVERSES = "\u202e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One thing a customer said; `text` and `conversation` are never kept as they are.

    `use` is what the branch would do with the reading, if anything; `queue` goes with a
    hand-over (rule 13). `show_redacted` is for the person at the branch. `cancelling` says that the
    customer is on the way out, where no feeling adds a step (rule 17); without `context` what
    things told is left out.
    """

    subject: SubjectId
    conversation: str
    text: str = field(repr=False)
    channel: Channel = Channel.CUSTOMER
    role: Role = Role.CUSTOMER
    setting: Setting = Setting.CUSTOMER_SERVICE
    explain: bool = False
    show_redacted: bool = False
    use: Use | None = None
    queue: QueueState | None = None
    step: Step = Step.CLARIFYING
    cancelling: bool = False
    context: bool = True


class AnswerKind(StrEnum):
    """What became of a turn."""

    READING = "reading"  # an expressed cue was read
    ABSTAINED = "abstained"  # read, and not sure (rule 22), or nothing trained yet
    STORED = "stored"  # not read for service; kept for training as the person chose
    REFUSED = "refused"  # the rules said no to everything; the words were not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One decision of the gate in plain words; a refusal has reason and statute for each rule.

    `ways` are the smallest sets of steps after which it would be a yes; none where nothing may.
    """

    decision: DecisionId
    allowed: bool
    rules: tuple[RuleId, ...] = ()
    reasons: tuple[str, ...] = ()
    statutes: tuple[str, ...] = ()
    ways: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UseAnswer:
    """What became of a use: refused with its ruling, or done; `outcome` says how.

    `name` is the use's own (`client_node.uses.use.Described`).
    """

    name: str
    use: Use
    ruling: Ruling
    emotion: Emotion | None = None
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the branch gets for a turn. `ruling` is that of reading for service.

    `alert` is what the gate said where the conversation would be warned of now, `context` what it
    said of showing what things told in it.
    """

    turn: str
    answer: AnswerKind
    ruling: Ruling
    reading: Reading | None = None
    outlook: Outlook | None = None
    why: tuple[WordWeight, ...] = ()
    use: UseAnswer | None = None
    alert: UseAnswer | None = None
    context: UseAnswer | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)
    sealed_for: tuple[Purpose, ...] = ()
    text_redacted: str | None = None


def receive(turn: Turn) -> Turn:
    """Return the turn if its form allows a decision about it.

    Raises:
        TurnEmpty, TurnTooLong, TurnUndecodable, TurnGarbled: The text is none, too long, not
            Unicode, or no conversation's.
        TurnInvalid: A hand-over is asked for without the queue's state.
    """
    try:
        size = len(turn.text.encode())
    except UnicodeEncodeError:
        raise TurnUndecodable("the text is not valid Unicode: send UTF-8") from None
    if size > MAX_TEXT_BYTES:
        raise TurnTooLong(f"the text has {size} bytes, at most {MAX_TEXT_BYTES}: split the turn")
    if (written := len(unicodedata.normalize("NFKC", turn.text))) > MAX_TEXT_BYTES:
        raise TurnTooLong(
            f"the text has {written} characters when its ligatures are written out, "
            f"at most {MAX_TEXT_BYTES}: split the turn"
        )
    if not turn.text.strip():
        raise TurnEmpty("the text is empty: send what the customer said")
    if found := _NO_TEXT.search(turn.text):
        raise TurnGarbled(
            f"the text has U+{ord(found[0]):04X}, which nobody types: send plain text, decoded by "
            "the encoding that it was written in"
        )
    if _turned_round(turn.text):
        raise TurnGarbled(
            "the text is turned round by direction overrides, so that it shows other words than "
            "it holds: send it without them"
        )
    if turn.use in {Use.HANDOVER, Use.PRIORITY} and turn.queue is None:
        raise TurnInvalid("hand-over and priority need the queue's state (rule 13): send `queue`")
    return turn


def _turned_round(text: str) -> bool:
    """Return whether direction controls show the text in another order than it has (UAX 9, 2.2).

    A reversal always does; the others do where they go against every letter. Marks, and the
    override that telephones copy around a number, change nothing that is read.
    """
    if _REVERSES in text:
        return True
    right, left = _TURNS_RIGHT.search(text) is not None, _TURNS_LEFT in text
    if not right and not left:
        return False
    from_right = any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text)
    return (right and not from_right) or (left and from_right)
