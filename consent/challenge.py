"""Challenges: a node opens a random sample of its decisions, and we decide them again.

The sample is drawn from the node's last acknowledged checkpoint. An answer agrees when the
standing it used is one that we vouched for at that second, and we, by the rules that the node
had then and under a governance that was in force then, come to the same answer by the same
rules. Anything else is logged and counts as an alarm. What is not an entry of a decision goes
unanswered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from consent.ledger import Ledger
from consent.officer import Officer
from consent.records import Erased, standing_of
from consent.tables import ChallengeRow
from consent.wire import AnswerIn
from policies.clock import Clock
from policies.decision import Decides, UseRequest, request_from_dict
from policies.standing import Standing, erased, standing_from_dict, without
from policies.vocabulary import NodeId, SubjectId

BEFORE_S, AFTER_S = 60, 2
"""How long before its second a record may have been under way to the feed, and how long after
it one may have slipped in: within these, the state before and after it are both honest."""

Sample = Callable[[range, int], list[int]]
"""Draw that many distinct members; `random.SystemRandom().sample` outside tests."""


RulesDuring = Callable[[NodeId, float, float], Sequence[Decides]]
"""The rules that a node may have decided by between two Unix seconds."""


class Challenges:
    """What nodes were asked, and whether their answers agree with ours."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        officer: Officer,
        rules_during: RulesDuring,
        clock: Clock,
        sample: Sample,
        size: int,
        period_s: float,
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._officer = officer
        self._rules_during = rules_during
        self._clock = clock
        self._sample = sample
        self._size = size
        self._period_s = period_s
        self._locks: dict[NodeId, threading.Lock] = {}

    def ask(self, node: NodeId) -> list[int]:
        """Return the log indices the node is to open: a new sample each period.

        Raises:
            LedgerUnavailable: The ledger did not answer.
        """
        now = self._clock()
        with self._locks.setdefault(node, threading.Lock()):
            asked = self._ledger.last_challenge(node)
            if asked and now < asked[0].asked_at + self._period_s:
                return sorted(row.entry for row in asked if row.agrees is None)
            size = self._ledger.last_size(node)
            drawn = sorted(self._sample(range(size), min(self._size, size)))
            self._ledger.add_challenge(
                [ChallengeRow(node=node, entry=entry, asked_at=now) for entry in drawn]
            )
            return drawn

    def judge(self, node: NodeId, answers: Sequence[AnswerIn]) -> int:
        """Decide the answers to what was asked again, log each, return how many disagree.

        Raises:
            EvidenceUnavailable, LedgerUnavailable: Not judged; the node may answer again.
        """
        if not answers:
            return 0
        with self._locks.setdefault(node, threading.Lock()):
            asked = {row.entry: row for row in self._ledger.open_challenges(node)}
            disagreeing = 0
            for answer in answers:
                row = asked.pop(answer.index, None)
                if row is None:
                    continue
                agrees = self._agrees(node, answer)
                fields: dict[str, Value] = {"node": node, "index": answer.index, "agrees": agrees}
                self._log.append(
                    Event(kind=EventKind.CHALLENGE_ANSWERED, at=self._clock(), fields=fields)
                )
                self._ledger.close_challenge(row, agrees=agrees)
                disagreeing += not agrees
            return disagreeing

    def _agrees(self, node: NodeId, answer: AnswerIn) -> bool:
        try:
            request = request_from_dict(answer.request)
            standing = None if answer.standing is None else standing_from_dict(answer.standing)
        except (KeyError, ValueError, TypeError):
            return False
        if request.node != node or not self._vouched_for(standing):
            return False
        return self._same_answer(answer, request, standing)

    def _vouched_for(self, standing: Standing | None) -> bool:
        """Return whether the standing is one that our records gave at its second, or says less.

        A withdrawal that was given at the node counts there before we hear of it.
        """
        if standing is None or self._is_erased(standing.subject):
            return True
        if standing == erased(standing.subject, standing.as_of):
            return True
        return any(
            standing == without(ours, standing.withdrawn - ours.withdrawn)
            for ours in self._standings_at(standing.subject, standing.as_of)
        )

    def _is_erased(self, subject: SubjectId) -> bool:
        # After an erasure nobody can say what stood before; only the rules can be held.
        return any(
            isinstance(record.act, Erased)
            for record in self._ledger.records_of([subject]).get(subject, [])
        )

    def _standings_at(self, subject: SubjectId, second: int) -> list[Standing]:
        """Return each standing that we may have vouched for at that second, oldest first."""
        records = self._ledger.records_of([subject]).get(subject, [])
        records.sort(key=lambda record: record.sequence)
        before = [record for record in records if record.at < second - BEFORE_S]
        during = [record for record in records if second - BEFORE_S <= record.at < second + AFTER_S]
        return [
            standing_of(before + during[:count], subject=subject, as_of=second)
            for count in range(len(during) + 1)
        ]

    def _same_answer(
        self, answer: AnswerIn, request: UseRequest, standing: Standing | None
    ) -> bool:
        vouched_at = self._clock() if standing is None else standing.as_of
        now = vouched_at if answer.now is None else answer.now
        second = int(now if standing is None else vouched_at)
        for governance in self._officer.governances_during(
            second - BEFORE_S, second + AFTER_S, as_of=second
        ):
            for rules in self._rules_during(request.node, second - BEFORE_S, second + AFTER_S):
                ours = rules.decide(request, standing, governance, now=now)
                if (ours.allowed, set(ours.rules)) == (answer.allowed, set(answer.rules)):
                    return True
        return False
