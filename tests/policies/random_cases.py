"""Random people, requests and organisations near the edge of the rules, by the thousand.

Like `strategies`, but from a seeded generator: a hundred thousand cases in seconds. Most
fields are in order most of the time, so that every rule is met alone now and then.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from policies.decision import Facts, UseRequest
from policies.standing import Governance, Grant, Standing
from policies.vocabulary import (
    Action,
    AgeBand,
    Channel,
    Emotion,
    Modality,
    Objective,
    Purpose,
    Role,
    Setting,
    Use,
    Vulnerability,
)
from tests.policies.cases import DAY_S, NODE, NOW, PERSON, Situation

T = TypeVar("T")

USUAL = 0.93
"""How often a field is in order; with some twenty fields about a third of cases are allowed."""

MOMENTS = (0, NOW - DAY_S, NOW - 61, NOW - 60, NOW - 1, NOW, NOW + 1, NOW + 5, NOW + 6, NOW + DAY_S)

FITTING: Sequence[tuple[Action, Use | None, Purpose]] = (
    (Action.INFER, None, Purpose.SERVICE),
    (Action.STORE, None, Purpose.TRAINING),
    (Action.LABEL, None, Purpose.RESEARCH),
    (Action.TRAIN, None, Purpose.TRAINING),
    (Action.COUNT, None, Purpose.AGGREGATE_REPORTING),
    (Action.RELEASE, None, Purpose.TRAINING),
    (Action.USE, Use.HANDOVER, Purpose.HANDOVER),
    (Action.USE, Use.PRIORITY, Purpose.HANDOVER),
    (Action.USE, Use.AGENT_HINT, Purpose.AGENT_HELP),
    (Action.USE, Use.REFERRAL, Purpose.SERVICE),
    (Action.USE, Use.COMPENSATION, Purpose.SERVICE),
    (Action.ASK, None, Purpose.TRAINING),
    (Action.USE, Use.UPSELL, Purpose.OFFERS),
    (Action.USE, Use.OFFER, Purpose.OFFERS),
)


def random_cases(count: int, *, seed: int) -> Iterator[Situation]:
    """Yield that many situations; the same for the same seed."""
    dice = _Dice(random.Random(seed))
    return (dice.case() for _ in range(count))


class _Dice:
    def __init__(self, source: random.Random) -> None:
        self._source = source

    def case(self) -> Situation:
        request = self._request()
        release = request.action is Action.RELEASE and request.use is None
        return Situation(
            request=request,
            standing=None if release else self._standing(),
            governance=self._governance(),
        )

    def _mostly(self, usual: T, others: Iterable[T]) -> T:
        return usual if self._source.random() < USUAL else self._source.choice(list(others))

    def _unless_unlucky(self, *, usual: bool) -> bool:
        return usual if self._source.random() < USUAL else not usual

    def _some(self, members: Iterable[T]) -> frozenset[T]:
        chance = self._source.random()
        return frozenset(m for m in members if self._source.random() < chance)

    def _request(self) -> UseRequest:
        action, use, purpose = self._source.choice(FITTING)
        if self._source.random() > USUAL:
            action = self._source.choice(list(Action))
        if self._source.random() > USUAL:
            use = self._source.choice([None, *Use])
        return UseRequest(
            node=NODE,
            action=action,
            use=use,
            purpose=purpose if self._source.random() < 0.8 else self._source.choice(list(Purpose)),
            subject=PERSON,
            modality=self._mostly(Modality.TEXT, Modality),
            setting=self._mostly(Setting.CUSTOMER_SERVICE, Setting),
            role=self._mostly(Role.CUSTOMER, Role),
            channel=self._mostly(Channel.CUSTOMER, Channel),
            facts=self._facts(),
        )

    def _facts(self) -> Facts:
        return Facts(
            emotion=self._source.choice([None, *Emotion]),
            delayed_calls=self._mostly(0, (None, -1, 0, 1)),
            safety_dpia=self._source.choice([None, "", "dpia-7"]),
            leaves_node=self._source.random() < 0.5,
            protected=self._unless_unlucky(usual=True),
            budget_left=self._unless_unlucky(usual=True),
            approved_by=self._mostly("jo", (None, "")),
            read_at=self._mostly(NOW - 1, (None, NOW - DAY_S - 1, *MOMENTS)),
            certain=self._unless_unlucky(usual=True),
            offer_value=self._mostly(500, (None, -1, 499, 501)),
            baseline_value=self._mostly(500, (None, -1, 499, 501)),
            due_anyway=self._unless_unlucky(usual=True),
            calm_passed_at=self._mostly(NOW - DAY_S, (None, NOW - 32 * DAY_S, *MOMENTS)),
            objective=self._mostly(Objective.RELIEF, (None, *Objective)),
            cancelling=self._unless_unlucky(usual=False),
        )

    def _standing(self) -> Standing:
        return Standing(
            subject=PERSON,
            as_of=self._mostly(NOW - 1, MOMENTS),
            role=self._mostly(Role.CUSTOMER, Role),
            age=self._mostly(AgeBand.ADULT, AgeBand),
            vulnerabilities=self._mostly(frozenset(), [self._some(Vulnerability)]),
            grants=tuple(self._grants()),
            informed_at=self._mostly(NOW - DAY_S, (None, *MOMENTS)),
            withdrawn=self._mostly(frozenset(), [self._some(Purpose)]),
            objected=self._mostly(frozenset(), [self._some(Purpose)]),
            restricted=self._unless_unlucky(usual=False),
            erased=self._unless_unlucky(usual=False),
            refused=tuple(self._refusals()),
        )

    def _refusals(self) -> Iterator[tuple[Purpose, int]]:
        for purpose in self._source.choice([[], [], [Purpose.TRAINING], list(Purpose) * 2]):
            yield purpose, self._source.choice((1, NOW - 183 * DAY_S, NOW - 182 * DAY_S, NOW + 9))

    def _grants(self) -> Iterator[Grant]:
        for place, purpose in enumerate(self._mostly(list(Purpose), [[], [Purpose.SERVICE]])):
            older: dict[str, Any] = {"granted_at": NOW - DAY_S - place, "explicit": False}
            if self._source.random() > USUAL:
                yield self._grant(purpose, **older)
            yield self._grant(purpose)

    def _grant(self, purpose: Purpose, **fixed: Any) -> Grant:
        drawn: dict[str, Any] = {
            "purpose": purpose,
            "modalities": self._mostly(frozenset(Modality), [self._some(Modality)]),
            "notice_version": self._mostly(3, (2, 4)),
            "explicit": self._unless_unlucky(usual=True),
            "granted_at": self._mostly(NOW - DAY_S, MOMENTS),
            "expires_at": self._mostly(NOW + DAY_S, MOMENTS),
        }
        return Grant(**drawn | fixed)

    def _governance(self) -> Governance:
        return Governance(
            as_of=self._mostly(NOW - 1, MOMENTS),
            stopped=self._unless_unlucky(usual=False),
            dpia_purposes=self._mostly(frozenset(Purpose), [self._some(Purpose)]),
            minimum_notice=self._mostly(3, (1, 4)),
            standing_max_age_s=self._mostly(60, (0, 1, 100)),
        )
