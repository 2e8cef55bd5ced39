"""Handing a conversation to a person: only where nobody else waits longer for it (rule 13)."""

from __future__ import annotations

from collections.abc import Mapping

from client_node.errors import TurnInvalid
from client_node.uses.queue import QueueState, capacity, delayed_calls
from policies.decision import Facts
from policies.vocabulary import Emotion


def facts(emotion: Emotion | None, queue: QueueState | None, read_at: int | None) -> Facts:
    """Return what the hand-over states of itself to the gate.

    Raises:
        TurnInvalid: The queue's state is missing.
    """
    return Facts(
        emotion=emotion,
        delayed_calls=delayed_calls(_needed(queue)),
        read_at=read_at,
        certain=emotion is not None,
    )


def outcome(queue: QueueState | None) -> Mapping[str, str | int]:
    """Return what the branch is told once the gate allowed it.

    Raises:
        TurnInvalid: The queue's state is missing.
    """
    return {"action": "hand over to a person", "capacity": capacity(_needed(queue)).value}


def _needed(queue: QueueState | None) -> QueueState:
    if queue is None:
        raise TurnInvalid("a hand-over needs the queue's state (rule 13): send `queue`")
    return queue
