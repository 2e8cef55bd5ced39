"""What a supervisor asks the twin in a page: today's floor against one change, on recorded calls.

Played in this process, so little of it: one at a time, some replications of one day, and not while
the node is crowded with turns. `undertone-node whatif` plays as long as one likes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from client_node.call_record import CallRecord
from client_node.errors import Overloaded, ScenarioInvalid
from client_node.load import Load
from client_node.uses.queue_simulation import Policy
from client_node.whatif import Hour, Plan, Scenario, what_if
from client_node.whatif_words import drawn, lines, told_to_dict

REPLICATIONS = 20
MOST_STARTS = 100_000
"""Calls times plans times replications: about a second of one processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A queue, its agents today and as they would be, and how many calls have a cue, as known."""

    queue: str
    ordinary: int
    then_ordinary: int
    then_reserved: int
    cue_share: float
    cue_margin: float


class WhatIf:
    """Answers one question at a time; thread-safe."""

    def __init__(self, record: CallRecord, load: Load) -> None:
        """Take what was recorded from here, and yield to turns there."""
        self._record, self._load, self._busy = record, load, threading.Lock()

    def ask(self, asked: Asked) -> dict[str, Any]:
        """Return what would change, in lines, in figures, and as a picture with its words.

        Raises:
            RecordRefused: Too little is recorded.
            ScenarioInvalid: It would take too long here.
            Overloaded: The node has turns to answer, or a question is being answered.
            VaultError: The disk refuses.
        """
        recorded = self._record.recorded(asked.queue)
        scenario = _scenario(asked, tuple(Hour(calls=c, handling_s=s) for c, s in recorded.day()))
        if self._load.crowded or not self._busy.acquire(blocking=False):
            raise Overloaded("the node is busy: ask again in a while")
        try:
            told = what_if(scenario)
        finally:
            self._busy.release()
        return {
            "days": recorded.days,
            "lines": lines(told),
            "plans": [told_to_dict(one) for one in told],
            "picture": drawn(scenario.name, told),
        }


def _scenario(asked: Asked, hours: tuple[Hour, ...]) -> Scenario:
    today = Plan(name="today", policy=Policy.BLIND, ordinary=asked.ordinary)
    then = Plan(
        name="what if",
        policy=Policy.ROUTED if asked.then_reserved else Policy.BLIND,
        ordinary=asked.then_ordinary,
        reserved=asked.then_reserved,
    )
    starts = sum(hour.calls for hour in hours) * 2 * REPLICATIONS
    if starts > MOST_STARTS:
        raise ScenarioInvalid(
            f"{starts:.0f} calls to play, at most {MOST_STARTS} here: "
            "ask undertone-node whatif --recorded"
        )
    return Scenario(
        name=asked.queue,
        hours=hours,
        plans=(today, then),
        cue_share=asked.cue_share,
        cue_margin=asked.cue_margin,
        replications=REPLICATIONS,
    )
