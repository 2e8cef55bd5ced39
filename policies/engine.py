"""The decision: Cedar asked, and every doubt turned into a no.

Raw Cedar fails open: a prohibition that errors is skipped, and a person who is missing is
nobody to protect. So a use is allowed only where all of this holds:

1. there is a standing, it is this person's, and there is a governance (a release concerns a
   model and no person: there, and only there, no standing is asked for, or taken);
2. the request and the people fit the schema;
3. no rule failed while it was evaluated;
4. Cedar says Allow, and names the permission.

What does not change from turn to turn is asked once (`policies.lasting`): Cedar is then asked
about the other rules alone, and must say Allow to those as well. What was said of a person in this
second is said of everybody whom the rules cannot tell from them (`policies.likeness`).

Only this module, `policies.parsed` and `policies.analysis`, neither of which opens anything, know
cedarpy.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import cedarpy

from policies import catalogue
from policies.canonical import digest
from policies.decision import Decision, UseRequest
from policies.errors import PolicyUnavailable
from policies.lasting import Part
from policies.likeness import Answer, ThisSecond, alike, likeness
from policies.parsed import NOTHING_FLEETING_FORBIDS, parse
from policies.question import (
    Occasion,
    asked_entities,
    asks,
    concerns_a_model,
    entities,
    occasion_of,
    question,
    release_entities,
)
from policies.rulebook import RuleBook
from policies.standing import Governance, Standing
from policies.vocabulary import DecisionId, Digest, RuleId, SubjectId

PREPARED_KEPT = 2048
"""How many people's prepared facts, each on one occasion, stay in memory: every turn asks again."""

SAID_KEPT = 16
"""How many different requests' lasting answers stay with one person's prepared facts."""

NO_STANDING_DIGEST = digest(None)


class Said(NamedTuple):
    """Which rules refused, which permitted (known where none refused), and whether one broke."""

    refusing: frozenset[RuleId] = frozenset()
    permitting: frozenset[RuleId] = frozenset()
    broke: bool = False


class Case(NamedTuple):
    """One person's prepared facts on one occasion, and what the lasting rules said of them."""

    facts: Any
    said: dict[tuple[Any, ...], Said]


class PolicyEngine:
    """The shipped rules, parsed once and asked many times; safe to share between threads."""

    def __init__(self, book: RuleBook) -> None:
        """Parse and check the rules.

        Raises:
            PolicyInvalid: A rule does not parse, does not fit the schema, or has no id of its own.
        """
        self.policy_digest: Digest = book.digest
        self._clocks = book.clocks
        self._schema, self._rules, self.rule_ids, self._tells_apart = parse(book)
        self._this_second = ThisSecond()
        self._prepared = lru_cache(maxsize=PREPARED_KEPT)(self._prepare_people)

    @classmethod
    def load(cls) -> PolicyEngine:
        """Return an engine over the rules that come with this version.

        Raises:
            PolicyInvalid: The installation is damaged.
        """
        return cls(RuleBook.shipped())

    def decide(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        *,
        now: float,
        decision_id: DecisionId | None = None,
    ) -> Decision:
        """Decide one use at `now` (Unix seconds); a refusal is an answer, not an error.

        Raises:
            PolicyUnavailable: Cedar could not answer at all; the use does not happen.
        """
        moment = _whole_second(now)
        allowed, rules, standing_digest = self._answer(request, standing, governance, moment)
        return Decision(
            decision_id=decision_id or DecisionId(secrets.token_hex(16)),
            allowed=allowed,
            rules=rules,
            reasons=tuple(catalogue.explain(rule) for rule in rules),
            policy_digest=self.policy_digest,
            request_digest=request.encoded.digest,
            standing_digest=standing_digest,
            decided_at=moment,
        )

    def decide_batch(
        self,
        request: UseRequest,
        standings: Iterable[Standing],
        governance: Governance | None,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide one use for many people: who may take part, and each distinct decision.

        Decides once for all people whom the rules cannot tell apart, and for each where an
        organisation's own rules can (`policies.apart`). The decisions are under the placeholder
        `request.subject` and name nobody. Without people there is no decision.

        Raises:
            PolicyUnavailable: As in `decide`; then nobody takes part.
        """
        if governance is None:
            return frozenset(), (self.decide(request, _nobody(request), None, now=now),)
        if self._tells_apart:
            return self._decide_each(request, standings, governance, now=now)
        cases: dict[Standing, set[SubjectId]] = {}
        for standing in standings:
            case = alike(request, standing, governance, _whole_second(now))
            cases.setdefault(case, set()).add(standing.subject)
        decisions = {case: self.decide(request, case, governance, now=now) for case in cases}
        sides: dict[bool, set[SubjectId]] = {True: set(), False: set()}
        for case, people in cases.items():
            sides[decisions[case].allowed] |= people
        return frozenset(sides[True] - sides[False]), tuple(decisions.values())

    def _decide_each(
        self,
        request: UseRequest,
        standings: Iterable[Standing],
        governance: Governance,
        *,
        now: float,
    ) -> tuple[frozenset[SubjectId], tuple[Decision, ...]]:
        """Decide as `decide_batch`, each person by name; what is returned still names nobody."""
        sides: dict[bool, set[SubjectId]] = {True: set(), False: set()}
        distinct: dict[tuple[Any, ...], Decision] = {}
        for standing in standings:
            by_name = replace(request, subject=standing.subject)
            decision = self.decide(by_name, standing, governance, now=now)
            sides[decision.allowed].add(standing.subject)
            case = alike(request, standing, governance, _whole_second(now))
            nameless = replace(
                decision,
                request_digest=request.encoded.digest,
                standing_digest=case.encoded.digest,
            )
            distinct.setdefault((case, decision.allowed, decision.rules), nameless)
        return frozenset(sides[True] - sides[False]), tuple(distinct.values())

    def _answer(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        now: int,
    ) -> tuple[bool, tuple[RuleId, ...], Digest]:
        """Return allowed, the rules that determined it, and the standing's digest."""
        if concerns_a_model(request):
            return self._answer_release(request, standing, governance, now)
        if standing is None:
            return False, (catalogue.NO_STANDING,), NO_STANDING_DIGEST
        if standing.subject != request.subject:
            return False, (catalogue.OTHER_PERSON,), standing.encoded.digest
        if governance is None:
            return False, (catalogue.NO_GOVERNANCE,), standing.encoded.digest
        occasion = occasion_of(request)
        asked = question(request, standing, governance, now=now)
        if asks(request):
            facts = self._prepare(asked_entities(occasion, standing, governance, self._clocks))
            return *_conclude(self._ask(asked, facts)), standing.encoded.digest
        answer = self._answer_alike(occasion, standing, governance, asked)
        return *answer, standing.encoded.digest

    def _answer_alike(
        self,
        occasion: Occasion,
        standing: Standing,
        governance: Governance,
        asked: dict[str, Any],
    ) -> Answer:
        """Answer about a person as about anybody alike in this second, where the rules cannot tell.

        What a rule broke over is asked again each time.
        """
        like = None
        if not self._tells_apart:
            like = likeness(occasion, standing, governance, asked)
            if (before := self._this_second.find(like)) is not None:
                return before
        case = self._prepared(occasion, standing.timeless, governance.timeless)
        said = self._ask_again(asked, case)
        answer = _conclude(said)
        if like is not None and not said.broke:
            self._this_second.keep(like, asked["context"]["now"], answer)
        return answer

    def _answer_release(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        now: int,
    ) -> tuple[bool, tuple[RuleId, ...], Digest]:
        """Answer as `_answer` for a model, which has no standing and may bring nobody's."""
        if standing is not None:
            return False, (catalogue.NAMES_A_PERSON,), standing.encoded.digest
        if governance is None:
            return False, (catalogue.NO_GOVERNANCE,), NO_STANDING_DIGEST
        facts = self._prepare(release_entities(request, governance, self._clocks))
        asked = question(request, None, governance, now=now)
        return *_conclude(self._ask(asked, facts)), NO_STANDING_DIGEST

    def _prepare_people(
        self, occasion: Occasion, standing: Standing, governance: Governance
    ) -> Case:
        facts = self._prepare(entities(occasion, standing, governance, self._clocks))
        return Case(facts, {})

    def _prepare(self, facts: list[dict[str, Any]]) -> Any:
        try:
            return cedarpy.Entities.from_json_str(json.dumps(facts), self._schema)
        except Exception as error:
            raise PolicyUnavailable(
                f"the facts do not fit the schema ({type(error).__name__}): nothing is allowed"
            ) from error

    def _ask_again(self, asked: dict[str, Any], case: Case) -> Said:
        """Ask all rules, or where the lasting ones were asked before, the fleeting ones."""
        try:
            action, context = asked["action"]["id"], asked["context"]
            part = self._rules[action].lasting
            read = tuple(context.get(name, ...) for name in part.reads)
            known = action, read, tuple(map(type, read))  # true is not 1
            before = case.said.get(known)
        except Exception as error:
            raise _unanswered(error) from error
        if before is not None:
            return _together(before, self._ask(asked, case.facts, fleeting=True))
        said = self._ask(asked, case.facts)
        kept = _lasting_of(said, part)
        if kept is not None and len(case.said) < SAID_KEPT:
            case.said[known] = kept
        return said

    def _ask(self, asked: dict[str, Any], facts: Any, *, fleeting: bool = False) -> Said:
        try:
            rules = self._rules[asked["action"]["id"]]
            chosen = rules.fleeting if fleeting else rules.all
            return _read(cedarpy.is_authorized(asked, chosen, facts, self._schema))
        except Exception as error:
            raise _unanswered(error) from error


def _read(result: Any) -> Said:
    """Return what Cedar's answer says: a yes only without any doubt."""
    rules = frozenset(map(RuleId, result.diagnostics.id_annotations_by_reason.values()))
    allowed = result.decision is cedarpy.Decision.Allow
    return Said(
        refusing=frozenset() if allowed else rules,
        permitting=rules if allowed else frozenset(),
        broke=bool(result.diagnostics.errors),
    )


def _lasting_of(said: Said, part: Part) -> Said | None:
    """Return what the lasting rules alone said; None where that cannot be told."""
    refusing = said.refusing & part.rules
    if said.broke or (said.refusing and not refusing):
        return None
    return Said(refusing=refusing, permitting=said.permitting & part.rules)


def _together(before: Said, now: Said) -> Said:
    """Return what the lasting rules and the fleeting ones say together."""
    answered = bool(now.refusing) or NOTHING_FLEETING_FORBIDS in now.permitting
    return Said(
        refusing=before.refusing | now.refusing,
        permitting=before.permitting | (now.permitting - {NOTHING_FLEETING_FORBIDS}),
        broke=now.broke or not answered,
    )


def _conclude(said: Said) -> Answer:
    """Return whether the use is allowed, and by which rules."""
    if said.broke:
        return False, tuple(sorted(said.refusing | {catalogue.ENGINE_ERROR}))
    if said.refusing or not said.permitting:
        return False, tuple(sorted(said.refusing)) or (catalogue.NO_PERMISSION,)
    return True, tuple(sorted(said.permitting))


def _unanswered(error: Exception) -> PolicyUnavailable:
    return PolicyUnavailable(f"Cedar did not answer ({type(error).__name__}): nothing is allowed")


def _whole_second(now: float) -> int:
    try:
        return int(now)
    except (OverflowError, ValueError) as error:
        raise PolicyUnavailable("the clock gives no time: nothing is allowed") from error


def _nobody(request: UseRequest) -> Standing:
    return Standing(subject=request.subject, as_of=0)
