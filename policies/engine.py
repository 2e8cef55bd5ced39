"""The decision: Cedar asked, and every doubt turned into a no.

Raw Cedar fails open: a prohibition that errors is skipped, and a person who is missing is
nobody to protect. So a use is allowed only where all of this holds:

1. there is a standing, it is this person's, and there is a governance (a release concerns a
   model and no person: there, and only there, no standing is asked for, or taken);
2. the request and the people fit the schema;
3. no rule failed while it was evaluated;
4. Cedar says Allow, and names the permission.

Only this module and `policies.analysis`, which opens nothing, know cedarpy.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import cedarpy

from policies import catalogue
from policies.canonical import digest
from policies.decision import Decision, UseRequest, request_to_dict
from policies.errors import PolicyInvalid, PolicyUnavailable
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
from policies.standing import Governance, Standing, standing_to_dict
from policies.vocabulary import Action, DecisionId, Digest, RuleId, SubjectId, Use

PREPARED_KEPT = 2048
"""How many people's prepared facts, each on one occasion, stay in memory: every turn asks again."""

REQUESTS_KEPT = 4096
"""How many requests' digests stay in memory."""


NO_STANDING_DIGEST = digest(None)

ACTIONS = frozenset({*(a.value for a in Action), *(u.value for u in Use)})


class PolicyEngine:
    """The shipped rules, parsed once and asked many times; safe to share between threads."""

    def __init__(self, book: RuleBook) -> None:
        """Parse and check the rules.

        Raises:
            PolicyInvalid: A rule does not parse, does not fit the schema, or has no id of its own.
        """
        self.policy_digest: Digest = book.digest
        self._clocks = book.clocks
        self._schema, self._policies, self.rule_ids = _prepare(book)
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
            request_digest=_request_digest(request),
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

        Decides once for all people whom the rules cannot tell apart, under the placeholder
        `request.subject`; the decisions name nobody. Without people there is no decision.

        Raises:
            PolicyUnavailable: As in `decide`; then nobody takes part.
        """
        if governance is None:
            return frozenset(), (self.decide(request, _nobody(request), None, now=now),)
        cases: dict[Standing, set[SubjectId]] = {}
        for standing in standings:
            case = alike(request, standing, governance, _whole_second(now))
            cases.setdefault(case, set()).add(standing.subject)
        decisions = {case: self.decide(request, case, governance, now=now) for case in cases}
        sides: dict[bool, set[SubjectId]] = {True: set(), False: set()}
        for case, people in cases.items():
            sides[decisions[case].allowed] |= people
        return frozenset(sides[True] - sides[False]), tuple(decisions.values())

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
            return False, (catalogue.OTHER_PERSON,), digest(standing_to_dict(standing))
        if governance is None:
            return False, (catalogue.NO_GOVERNANCE,), digest(standing_to_dict(standing))
        occasion = occasion_of(request)
        if asks(request):
            asked_one = asked_entities(occasion, standing, governance, self._clocks)
            people, standing_digest = self._prepare(asked_one), digest(standing_to_dict(standing))
        else:
            people, standing_digest = self._prepared(occasion, standing, governance)
        return *_read(self._ask(question(request, standing, now=now), people)), standing_digest

    def _answer_release(
        self,
        request: UseRequest,
        standing: Standing | None,
        governance: Governance | None,
        now: int,
    ) -> tuple[bool, tuple[RuleId, ...], Digest]:
        """Answer as `_answer` for a model, which has no standing and may bring nobody's."""
        if standing is not None:
            return False, (catalogue.NAMES_A_PERSON,), digest(standing_to_dict(standing))
        if governance is None:
            return False, (catalogue.NO_GOVERNANCE,), NO_STANDING_DIGEST
        facts = self._prepare(release_entities(request, governance, self._clocks))
        return *_read(self._ask(question(request, None, now=now), facts)), NO_STANDING_DIGEST

    def _prepare_people(
        self, occasion: Occasion, standing: Standing, governance: Governance
    ) -> tuple[Any, Digest]:
        handle = self._prepare(entities(occasion, standing, governance, self._clocks))
        return handle, digest(standing_to_dict(standing))

    def _prepare(self, facts: list[dict[str, Any]]) -> Any:
        try:
            return cedarpy.Entities.from_json_str(json.dumps(facts), self._schema)
        except Exception as error:
            raise PolicyUnavailable(
                f"the facts do not fit the schema ({type(error).__name__}): nothing is allowed"
            ) from error

    def _ask(self, asked: dict[str, Any], facts: Any) -> Any:
        try:
            rules = self._policies[asked["action"]["id"]]
            return cedarpy.is_authorized(asked, rules, facts, self._schema)
        except Exception as error:
            raise PolicyUnavailable(
                f"Cedar did not answer ({type(error).__name__}): nothing is allowed"
            ) from error


def _prepare(book: RuleBook) -> tuple[Any, dict[str, Any], frozenset[RuleId]]:
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
    by_action = {action: _speaking_of(action, rules) for action in ACTIONS}
    return schema, by_action, frozenset(RuleId(name) for name in named)


def _speaking_of(action: str, rules: dict[str, Any]) -> Any:
    """Return the rules whose scope holds the action; the rest cannot apply to it."""
    kept = {name: row for name, row in rules.items() if _speaks_of(action, row["action"])}
    text = json.dumps({"staticPolicies": kept, "templates": {}, "templateLinks": []})
    return cedarpy.PolicySet.from_str(cedarpy.policies_from_json_str(text))


def _speaks_of(action: str, scope: dict[str, Any]) -> bool:
    """Return whether a scope may hold an action: in doubt it does."""
    named = scope.get("entities") or ([scope["entity"]] if "entity" in scope else [])
    names = {entity["id"] for entity in named}
    is_use = action in set(Use)
    return not names or action in names or (is_use and scope["op"] == "in" and "use" in names)


@lru_cache(maxsize=REQUESTS_KEPT)
def _request_digest(request: UseRequest) -> Digest:
    return digest(request_to_dict(request))


def _read(result: Any) -> tuple[bool, tuple[RuleId, ...]]:
    """Return whether Cedar's answer is a yes without any doubt, and the rules behind it."""
    rules = {RuleId(name) for name in result.diagnostics.id_annotations_by_reason.values()}
    if result.diagnostics.errors:
        refusals = set() if result.allowed else rules
        return False, tuple(sorted(refusals | {catalogue.ENGINE_ERROR}))
    if not rules:
        return False, (catalogue.NO_PERMISSION,)
    return result.decision is cedarpy.Decision.Allow, tuple(sorted(rules))


def _whole_second(now: float) -> int:
    try:
        return int(now)
    except (OverflowError, ValueError) as error:
        raise PolicyUnavailable("the clock gives no time: nothing is allowed") from error


def _nobody(request: UseRequest) -> Standing:
    return Standing(subject=request.subject, as_of=0)
