"""The rule book as Cedar takes it: parsed once, checked, and apart by the action asked about.

Each action has all the rules that speak of it, and those of them that may change their answer from
turn to turn (`policies.lasting`). Asks nothing: `policies.engine` does.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import cedarpy

from policies.apart import tells_apart
from policies.errors import PolicyInvalid
from policies.lasting import Part, lasting, speaks_of
from policies.rulebook import RuleBook
from policies.vocabulary import Action, RuleId, Use

ACTIONS = tuple(sorted({*(a.value for a in Action), *(u.value for u in Use)}))

NOTHING_FLEETING_FORBIDS = RuleId("nothing-fleeting-forbids")
"""Permits whatever the fleeting rules do not forbid, so that their silence is no leave."""


class Rules(NamedTuple):
    """The rules that speak of one action: all, those that may change their answer, the others."""

    all: Any
    fleeting: Any
    lasting: Part


class ParsedBook(NamedTuple):
    """A rule book in Cedar's own values."""

    schema: Any
    rules: dict[str, Rules]
    rule_ids: frozenset[RuleId]
    tells_apart: bool


def parse(book: RuleBook) -> ParsedBook:
    """Return the rules parsed and checked.

    Raises:
        PolicyInvalid: A rule does not parse, does not fit the schema, or has no id of its own.
    """
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
    rule_ids = frozenset(RuleId(name) for name in named)
    return ParsedBook(schema, by_action, rule_ids, tells_apart(_rows_of(_own(book))))


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
    NOTHING_FLEETING_FORBIDS: {
        "effect": "permit",
        **{part: {"op": "All"} for part in ("principal", "action", "resource")},
        "conditions": [],
        "annotations": {"id": NOTHING_FLEETING_FORBIDS},
    }
}
