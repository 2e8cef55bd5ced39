"""What rules could ever do, found by partial evaluation: action known, everything else unknown.

Cedar simplifies each rule as far as the action alone decides. What is true then is true of
every request with that action; what is false can never apply; what is left may. It names the
prohibitions that a permission would run into, and finds rules that never apply. Upstream calls
partial evaluation experimental, so nothing here opens anything: a bundle is sound by what
kinds of rules it may hold (`policies.bundle`), and this only says why one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from policies.errors import PolicyInvalid
from policies.parsed import ACTIONS
from policies.rulebook import RuleBook
from policies.vocabulary import RuleId


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One rule as it parses: forbid or permit, and its annotations."""

    rule: RuleId
    forbids: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The rules that hold for every request with one action, and those that may hold for some."""

    always: frozenset[RuleId]
    sometimes: frozenset[RuleId]


def rules_in(text: str) -> tuple[Ruling, ...]:
    """Return the rules of a Cedar text.

    Raises:
        PolicyInvalid: It does not parse, holds a template, or a rule has no id of its own.
    """
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise PolicyInvalid(f"the rules do not parse: {error}") from error
    rows = parsed["staticPolicies"].values()
    names = [row.get("annotations", {}).get("id") for row in rows]
    if parsed["templates"] or not all(names) or len(set(names)) < len(names):
        raise PolicyInvalid("each rule needs an @id of its own, and none may be a template")
    return tuple(
        Ruling(rule=RuleId(name), forbids=row["effect"] == "forbid")
        for name, row in zip(names, rows, strict=True)
    )


def sources_in(text: str) -> Mapping[RuleId, str]:
    """Return each rule's text in one form, so that layout and comments are no difference.

    Raises:
        PolicyInvalid: As in `rules_in`.
    """
    return {rule: cedarpy.format_policies(source) for rule, source in _single_texts(text).items()}


def reach(book: RuleBook, policies: str) -> Mapping[str, Reach]:
    """Return for each action what the rules of a text could do to a request with it.

    Each rule is asked alone, so that none hides behind another.

    Raises:
        PolicyInvalid: The rules do not parse, or Cedar could not simplify them.
    """
    single = _single_rules(policies)
    schema = cedarpy.Schema.from_str(book.schema)
    found: dict[str, Reach] = {}
    for action in ACTIONS:
        holds = {name: _holds(text, action, schema) for name, text in single.items()}
        found[action] = Reach(
            always=frozenset(name for name, value in holds.items() if value is True),
            sometimes=frozenset(name for name, value in holds.items() if value is None),
        )
    return found


def _single_rules(policies: str) -> dict[RuleId, Any]:
    # Asked as a permission: Allow then means that the rule holds, whatever its effect.
    texts = _single_texts(policies, effect="permit")
    return {rule: cedarpy.PolicySet.from_str(text) for rule, text in texts.items()}


def _single_texts(policies: str, **instead: str) -> dict[RuleId, str]:
    """Return each rule as a text of its own, with some of its parts replaced."""
    rules_in(policies)
    parsed = json.loads(cedarpy.policies_to_json_str(policies))["staticPolicies"]
    rest: dict[str, Any] = {"templates": {}, "templateLinks": []}
    return {
        RuleId(row["annotations"]["id"]): cedarpy.policies_from_json_str(
            json.dumps({"staticPolicies": {"rule": row | instead}} | rest)
        )
        for row in parsed.values()
    }


def _holds(rule: Any, action: str, schema: Any) -> bool | None:
    """Return whether a rule always or never holds for an action; None where it depends."""
    asked = {
        "principal": None,
        "action": f'Action::"{action}"',
        "resource": None,
        "context": None,
    }
    try:
        answer = cedarpy.is_authorized_partial(asked, rule, "[]", schema)
    except Exception as error:
        raise PolicyInvalid(f"a rule cannot be analysed ({type(error).__name__})") from error
    return _MEANING.get(answer.decision)


_MEANING = {cedarpy.Decision.Allow: True, cedarpy.Decision.Deny: False}
"""A lone permission allows where it holds and denies where it does not; the rest is open."""
