"""People whom the rules cannot tell apart, and what was said of them within one second.

Two adults who agreed to the same notice, one in March and one in May, get the same answer at any
moment after May: what the rules weigh of either is the same. So a batch is decided once for all of
them, and whoever asks about one right after another asked the same about the other gets what Cedar
said then. Where an organisation's own rules weigh more than stays (`policies.apart`), neither is
done.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from policies.decision import UseRequest
from policies.question import Occasion, asks, occasion_of
from policies.standing import Governance, Grant, Standing
from policies.vocabulary import AgeBand, Modality, Role, RuleId, Vulnerability

MOST_KEPT = 4_096
"""Different questions whose answer is kept until the second is over."""

_VOUCHED = "standing_as_of"
"""All that Cedar's context says of one person; `weighed` leaves of it whether it is fresh."""

Answer = tuple[bool, tuple[RuleId, ...]]


class Weighed(NamedTuple):
    """What the rules weigh of a person: times on the same side of `now` are one."""

    as_of: int
    role: Role
    age: AgeBand
    vulnerabilities: frozenset[Vulnerability]
    modalities: frozenset[Modality] | None
    notice_version: int
    explicit: bool
    granted_at: int
    expires_at: int
    informed_at: int | None
    withdrawn: bool
    objected: bool
    restricted: bool
    erased: bool


class Likeness(NamedTuple):
    """Everything that an answer rests on, but for what tells people apart."""

    occasion: Occasion
    governance: Governance
    person: Weighed
    action: str
    context: tuple[tuple[str, type, Any], ...]


def weighed(occasion: Occasion, standing: Standing, governance: Governance, now: int) -> Weighed:
    """Return what the rules weigh of a person on an occasion; of all grants the one that counts."""
    grant = standing.grant_for(occasion.purpose, occasion.modality)
    informed_at, fresh = standing.informed_at, now - standing.as_of
    return Weighed(
        as_of=now if 0 <= fresh <= governance.standing_max_age_s else standing.as_of,
        role=standing.role,
        age=standing.age,
        vulnerabilities=standing.vulnerabilities,
        modalities=None if grant is None else grant.modalities,
        notice_version=0 if grant is None else grant.notice_version,
        explicit=grant is not None and grant.explicit,
        granted_at=0 if grant is None else _past(grant.granted_at, now),
        expires_at=now + 1 if grant is not None and grant.expires_at > now else 0,
        informed_at=None if informed_at is None else _past(informed_at, now),
        withdrawn=occasion.purpose in standing.withdrawn,
        objected=occasion.purpose in standing.objected,
        restricted=standing.restricted,
        erased=standing.erased,
    )


def alike(request: UseRequest, standing: Standing, governance: Governance, now: int) -> Standing:
    """Return a standing, of the request's subject, that the rules cannot tell from this one.

    Thousands of people fall into a few. (A test decides both ways.)
    """
    purpose, found = request.purpose, weighed(occasion_of(request), standing, governance, now)
    grant = (
        None
        if found.modalities is None
        else Grant(
            purpose=purpose,
            modalities=found.modalities,
            notice_version=found.notice_version,
            explicit=found.explicit,
            granted_at=found.granted_at,
            expires_at=found.expires_at,
        )
    )
    return Standing(
        subject=request.subject,
        as_of=found.as_of,
        role=found.role,
        age=found.age,
        vulnerabilities=found.vulnerabilities,
        grants=() if grant is None else (grant,),
        informed_at=found.informed_at,
        withdrawn=frozenset({purpose} if found.withdrawn else ()),
        objected=frozenset({purpose} if found.objected else ()),
        restricted=found.restricted,
        erased=found.erased,
        refused=tuple(r for r in standing.refused if asks(request) and r[0] is purpose),
    )


def likeness(
    occasion: Occasion, standing: Standing, governance: Governance, asked: dict[str, Any]
) -> Likeness:
    """Return what a question shares with that about anybody alike.

    Args:
        occasion: The request's.
        standing: The person's.
        governance: The organisation's.
        asked: The question as Cedar reads it (`policies.question.question`); no asking.
    """
    context = asked["context"]
    return Likeness(
        occasion,
        governance,
        weighed(occasion, standing, governance, context["now"]),
        asked["action"]["id"],
        # Cedar tells true from 1, and Python's comparison does not
        tuple((name, type(v), v) for name, v in context.items() if name != _VOUCHED),
    )


def _past(moment: int, now: int) -> int:
    return 0 if moment <= now else moment


class ThisSecond:
    """Answers of one second; safe to share between threads, each of which may find none."""

    def __init__(self) -> None:
        self._kept = 0, dict[Likeness, Answer]()

    def find(self, question: Likeness) -> Answer | None:
        """Return what was answered to this question, which says its second, if anything was."""
        return self._kept[1].get(question)

    def keep(self, question: Likeness, now: int, answer: Answer) -> None:
        """Keep an answer until somebody asks in another second."""
        second, answers = self._kept
        if second != now:
            answers = {}
            self._kept = now, answers
        if len(answers) < MOST_KEPT:
            answers[question] = answer
