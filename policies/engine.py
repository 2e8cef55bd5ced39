"""The decision: Cedar asked, and every doubt turned into a no.

Raw Cedar fails open: a prohibition that errors is skipped, and a person who is missing is
nobody to protect. So a use is allowed only where all of this holds:

1. there is a standing, it is this person's, and there is a governance (a release concerns a
   model and no person: there, and only there, no standing is asked for, or taken);
2. the request and the people fit the schema;
3. no rule failed while it was evaluated;
4. Cedar says Allow, and names the permission.

What does not change from turn to turn is asked once (`policies.lasting`): Cedar is then asked
about the other rules alone, and must say Allow to those as well.

Only this module and `policies.analysis`, which opens nothing, know cedarpy.
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
from policies.apart import tells_apart
from policies.canonical import digest
from policies.decision import Decision, UseRequest
from policies.errors import PolicyInvalid, PolicyUnavailable
from policies.lasting import Part, lasting, speaks_of
from policies.question import (
    Occasion,
    alike,
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
from policies.vocabulary import Action, DecisionId, Digest, RuleId, SubjectId, Use

PREPARED_KEPT = 2048
"""How many people's prepared facts, each on one occasion, stay in memory: every turn asks again."""

SAID_KEPT = 16
"""How many different requests' lasting answers stay with one person's prepared facts."""

NO_STANDING_DIGEST = digest(None)

ACTIONS = frozenset({*(a.value for a in Action), *(u.value for u in Use)})


_NOTHING_FLEETING_FORBIDS = RuleId("nothing-fleeting-forbids")
"""Permits whatever the fleeting rules do not forbid, so that their silence is no leave."""


class Rules(NamedTuple):
    """The rules that speak of one action: all, those that may change their answer, the others."""

    all: Any
    fleeting: Any
    lasting: Part


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
        self._schema, self._rules, self.rule_ids = _prepare(book)
        self._tells_apart = tells_apart(_rows_of(_own(book)))
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
        case = self._prepared(occasion, standing.timeless, governance.timeless)
        return *_conclude(self._ask_again(asked, case)), standing.encoded.digest

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


def _prepare(book: RuleBook) -> tuple[Any, dict[str, Rules], frozenset[RuleId]]:
    """Return the parsed schema, the rules that speak of each action, and their ids, all checked."""
    try:
        schema = cedarpy.Schema.from_str(book.schema)
        parsed = json.loads(cedarpy.policies_to_json_str(book.policies))
        complaints = [str(e) for e in cedarpy.validate_policies(book.policies, schema).errors]
    except ValueError as error:
        raise PolicyInvalid(f"the rules do not parse: {error}") from error
    rules = parsed["staticPolicies"]
    named = [row.get("annotations", {}).get("id") for row in rules.values()]
    if parsed["templates"]:
        complaints.append("a template is no rule: fill it in")
    if not all(named) or len(set(named)) < len(named):
        complaints.append("each rule needs an @id of its own")
    if complaints:
        raise PolicyInvalid(f"the rules are not sound: {'; '.join(complaints)}")
    by_action = {action: _rules_of(action, rules) for action in ACTIONS}
    return schema, by_action, frozenset(RuleId(name) for name in named)


def _rules_of(action: str, rows: dict[str, Any]) -> Rules:
    """Return the rules whose scope holds the action; the rest cannot apply to it."""
    kept = {name: row for name, row in rows.items() if speaks_of(action, row["action"])}
    part = lasting(kept)
    fleeting = {n: row for n, row in kept.items() if row["annotations"]["id"] not in part.rules}
    return Rules(_policy_set(kept), _policy_set(fleeting | _SILENCE), part)


def _own(book: RuleBook) -> str:
    """Return the rules of a book that do not come with this version, as one text."""
    shipped = RuleBook.shipped().files
    return "\n".join(
        text
        for name, text in sorted(book.files.items())
        if name.endswith(".cedar") and shipped.get(name) != text
    )


def _rows_of(text: str) -> dict[str, Any]:
    rows: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    return rows


def _policy_set(rows: dict[str, Any]) -> Any:
    text = json.dumps({"staticPolicies": rows, "templates": {}, "templateLinks": []})
    return cedarpy.PolicySet.from_str(cedarpy.policies_from_json_str(text))


_SILENCE = {
    _NOTHING_FLEETING_FORBIDS: {
        "effect": "permit",
        **{part: {"op": "All"} for part in ("principal", "action", "resource")},
        "conditions": [],
        "annotations": {"id": _NOTHING_FLEETING_FORBIDS},
    }
}


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
    answered = bool(now.refusing) or _NOTHING_FLEETING_FORBIDS in now.permitting
    return Said(
        refusing=before.refusing | now.refusing,
        permitting=before.permitting | (now.permitting - {_NOTHING_FLEETING_FORBIDS}),
        broke=now.broke or not answered,
    )


def _conclude(said: Said) -> tuple[bool, tuple[RuleId, ...]]:
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
